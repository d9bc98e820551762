"""Data sets in the field's own formats, in and out: `goldloop import` and `goldloop export`."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import yaml

from goldloop import export_records, loop
from goldloop.acts import recorded
from goldloop.blank_recipe import write as write_recipe
from goldloop.catalog.content import items_of
from goldloop.catalog.ledger import entries
from goldloop.errors import GoldloopError, LossRefused, RecipeError, VersionError
from goldloop.export_records import ExportRecord
from goldloop.formats import formats
from goldloop.formats.base import Format, Sample
from goldloop.media import EXTENSIONS
from goldloop.progress import Progress, Silent
from goldloop.recipe import Recipe, load
from goldloop.tasks import tasks
from goldloop.workspace import Workspace

if TYPE_CHECKING:
    from goldloop.dataset.version import Version

SILENT = Silent()
_SPLITS = ("train", "validation", "test")
_PLAIN_NAME = re.compile(r"[^\\/:*?\"<>|\x00-\x1f%#]{1,100}")


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote, and what it could not."""

    version: str
    format: str
    folder: Path
    counts: Mapping[str, int]
    losses: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "folder": str(self.folder)}


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import found.

    Attributes:
        recipe: the recipe that was written.
        kind: the task's.
        outcomes: addresses by what became of them.
        quarantined: address -> why it cannot be used.
        classes: class -> how often it is named by the labels, in the order of ids.
    """

    recipe: Path
    kind: str
    outcomes: Mapping[str, int]
    quarantined: Mapping[str, str]
    classes: Mapping[str, int]

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "recipe": str(self.recipe)}


@recorded
def import_(
    format: str,  # noqa: A002 - what the command calls it
    folder: str | Path,
    name: str,
    *,
    task: str | None = None,
    options: Iterable[str] = (),
    use: str = "imported",
    recipes: Path = Path(),
    workspace: Workspace | None = None,
    progress: Progress = SILENT,
) -> Imported:
    """Write the recipe `NAME.yaml` of a labelled data set, with the classes found, and pull it.

    Args:
        format: such as `coco`.
        folder: where the data set lies on this machine.
        name: the recipe's.
        task: the task kind, where the format holds several and the data do not tell.
        options: `FIELD=VALUE` of the format's own, the value in YAML, such as `void=[11]`.
        use: what the labels are for: `imported`, `annotation` or `truth`.
        recipes: the folder to write the recipe in.
        workspace: where.
        progress: where to tell how far it is.

    Raises:
        SourceError: there is no data set of this format, or it could be of several task kinds.
        RecipeError: the recipe is there already.
        PluginError: no such format, or no such task.
    """
    folder = Path(folder)
    section = _section(format, options)
    form = formats.create(section)
    kind = task or form.kind_of(folder)
    if not form.holds(kind):
        raise RecipeError(
            f"{format} cannot hold {kind}", expected=", ".join(sorted(form.kinds or tasks.names()))
        )
    tasks.get(kind)
    progress.say(f"import: reading {folder} as {format}, {kind}")
    fields = form.task_fields(folder, kind)
    shown = (
        format
        if len(section) == 1
        else yaml.safe_dump(section, default_flow_style=True, width=10_000).strip()
    )
    source = (
        f"  - kind: dataset\n    format: {shown}\n    url: {_quoted(str(folder))}\n    task: {kind}\n"
        f"    label: {{use: {use}}}   # imported: enters versions as it is; annotation: people correct it"
    )
    path = write_recipe(name, kind, recipes, source=source, fields=fields)
    recipe = load(path)
    workspace = workspace or Workspace.open()
    books = loop.pull(recipe, workspace, progress)
    with workspace.engine.connect() as connection:
        refused = entries(connection, recipe.name, "pull", "quarantined")
    return Imported(
        recipe=path,
        kind=kind,
        outcomes=books.outcomes,
        quarantined={entry.subject: entry.reason for entry in refused},
        classes=_class_counts(recipe, workspace),
    )


@recorded
def export(
    version: str,
    format: str,  # noqa: A002 - what the command calls it
    folder: str | Path,
    *,
    split: str | None = None,
    allow_loss: bool = False,
    options: Iterable[str] = (),
    workspace: Workspace | None = None,
    progress: Progress = SILENT,
) -> Exported:
    """Write a dataset version as a data set of another format: all of it, or nothing.

    Args:
        version: `NAME` for the latest, or `NAME@DIGEST`.
        format: such as `coco`.
        folder: where; new, or empty.
        split: this split alone.
        allow_loss: write even what the format cannot hold all of.
        options: `FIELD=VALUE` of the format's own.
        workspace: where.
        progress: where to tell how far it is.

    Raises:
        LossRefused: something would be lost; `losses` says what.
        VersionError: no such version, or nothing in the split.
        RecipeError: the format does not hold this kind of task.
        SourceError: something is in the folder already.
    """
    from goldloop.dataset import version as versions

    folder, workspace = Path(folder), workspace or Workspace.open()
    found = versions.find(workspace.versions, version)
    rows = _Rows(found, split)
    counts = {each: found.counts.get(each, 0) for each in rows.splits if found.counts.get(each, 0)}
    if not counts:
        raise VersionError(
            "nothing is in the split", where=f"{found.ref} {split}", expected=", ".join(found.counts)
        )
    section = _section(format, options)
    form: Format = formats.create(section)
    task = tasks.create(found.task)
    losses = form.losses(task, rows) if form.holds(task.config.kind) else []
    if losses and not allow_loss:
        raise _refused(found.ref, format, losses)
    for loss in losses:
        progress.say(f"export: {format} cannot hold {loss}")
    progress.say(f"export: {found.ref} as {format} to {folder}")
    record = export_records.begin(workspace.exports, found.name, found.digest, section, split, folder)
    try:
        form.write(folder, task, rows)
    except GoldloopError:
        export_records.drop(workspace.exports, record)
        raise
    export_records.finish(workspace.exports, record)
    return Exported(found.ref, format, folder, counts, tuple(losses))


def export_again(record: ExportRecord, key: str, workspace: Workspace) -> None:
    """Bring an export to what its version says, once a content has been taken out of that.

    Files that others have put into its folder stay. Killed and called again, it ends what it began.

    Args:
        record: which export.
        key: of the content.
        workspace: where.
    """
    from goldloop.dataset import version as versions

    folder = Path(record.folder)
    former = record.paths()
    present: set[str] = set()
    if former:
        found = versions.load(workspace.versions, record.name, record.digest)
        rows = _Rows(found, record.split)
        aside = folder.with_name(f".{folder.name}.forgetting")
        shutil.rmtree(aside, ignore_errors=True)
        if any(found.counts.get(each, 0) for each in rows.splits):
            formats.create(record.section).write(aside, tasks.create(found.task), rows)
            present = set(export_records.files_in(aside))
        for path in sorted(present):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (aside / path).replace(folder / path)
        for path in sorted(former - present):
            (folder / path).unlink(missing_ok=True)
        shutil.rmtree(aside, ignore_errors=True)
    forgotten = (*(each for each in record.forgotten if each != key), key)
    files = tuple(sorted(present))
    export_records.save(workspace.exports, replace(record, files=files, forgotten=forgotten))


def _refused(reference: str, form: str, losses: list[str]) -> LossRefused:
    error = LossRefused(
        f"{form} cannot hold all of it, and nothing is written:\n  " + "\n  ".join(losses) + "\n",
        where=reference,
        remedy="`--allow-loss` writes the rest; `jsonl` holds everything",
    )
    error.losses = tuple(losses)
    return error


class _Rows:
    """The samples of a version, from its files each time anew."""

    def __init__(self, version: Version, split: str | None) -> None:
        self.splits = _SPLITS if split is None else (split,)
        self._version = version
        self._task = tasks.create(version.task)
        self._column = self._task.modality
        self._names = _names(self._read(["key", "uri"]))

    def __iter__(self) -> Iterator[Sample]:
        for split, row in self._read(None):
            content = row[self._column]
            yield Sample(
                name=self._named(row["key"], content),
                content=content if isinstance(content, str) else content["bytes"],
                target=self._task.from_row(row),
                split=split,
                group=None if row["group"] == row["key"] else row["group"],
                metadata=_known(row),
            )

    def _named(self, key: str, content: Any) -> str:
        if isinstance(content, str):
            return key
        return f"{self._names[key]}{_extension(content['bytes'])}"

    def _read(self, columns: list[str] | None) -> Iterator[tuple[str, dict[str, Any]]]:
        for split in self.splits:
            rows = self._version.dataset(split)
            for row in rows if columns is None else rows.select_columns(columns):
                yield split, row


def _names(rows: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, str]:
    """Key -> file name without extension: the original's where it has a plain one that no other has."""
    stems = {row["key"]: _stem(row["uri"]) for _, row in rows}
    taken = Counter(stem.casefold() for stem in stems.values())
    return {
        key: stem if stem and taken[stem.casefold()] == 1 else f"{stem or 'image'}-{key[:16]}"
        for key, stem in stems.items()
    }


def _stem(uri: str) -> str:
    path = PurePosixPath(uri)
    known = {*EXTENSIONS.values(), ".jpeg", ".tif"}
    stem = path.stem if path.suffix.lower() in known else ""
    return stem if _PLAIN_NAME.fullmatch(stem) and stem.strip(". ") == stem else ""


def _extension(content: bytes) -> str:
    import io

    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        return EXTENSIONS[Image.MIME[image.format or ""]]


def _known(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a version knows of a label beside it, where that is more than that it was imported."""
    found: dict[str, Any] = {}
    if row["provenance"] != "imported":
        found["provenance"] = row["provenance"]
    for name in ("annotators", "shown_models"):
        if row[name]:
            found[name] = list(row[name])
    if row["agreement"] is not None:
        found["agreement"] = row["agreement"]
    return found


def _class_counts(recipe: Recipe, workspace: Workspace) -> dict[str, int]:
    task = tasks.create(recipe.task)
    with workspace.engine.connect() as connection:
        labels = [item.label for item in items_of(connection, recipe.name)]
    counts = Counter(name for label in labels if label is not None for name in task.classes_in(label))
    return {name: counts[name] for name in task.classes}


def _section(kind: str, options: Iterable[str]) -> dict[str, Any]:
    section: dict[str, Any] = {"kind": kind}
    for option in options:
        field, separator, text = option.partition("=")
        if not separator or not field:
            raise RecipeError("an option of a format has the form FIELD=VALUE", found=repr(option))
        try:
            section[field] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise RecipeError("the value of an option is not YAML", where=field, found=repr(text)) from error
    return section


def _quoted(text: str) -> str:
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=10_000).strip()
