"""Dataset versions: immutable folders, each an ordinary Hugging Face dataset that proves itself.

    <workspace>/versions/NAME/
      log.jsonl                 the commits, oldest first: what is listed is what is here
      <digest, 16 digits>/
        README.md               the dataset card; tells `datasets.load_dataset` where the splits are
        data/<split>-....parquet
        goldloop/version.json   what it is        goldloop/ledger.parquet   one outcome per item
        goldloop/answers.parquet                  what each annotator said of each item, disputed ones too
        goldloop/certificate.json                 what was checked, and the digest of every file

A version is written aside, flushed and renamed; only then is it listed. A kill at any moment leaves what was
listed as it was.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from goldloop.dataset import history
from goldloop.dataset.certificate import DESCRIPTION, verify
from goldloop.dataset.config import DatasetConfig
from goldloop.dataset.digest import version_digest
from goldloop.dataset.draft import Draft, put, sweep
from goldloop.dataset.inspection import WITH_ROW
from goldloop.dataset.shards import Entry, class_counts, counts, features_of
from goldloop.dataset.splits import split_of
from goldloop.errors import LedgerError, VersionError
from goldloop.media import MediaStore
from goldloop.records import Item, Label, Outcome
from goldloop.tasks import tasks
from goldloop.tasks.base import Task

if TYPE_CHECKING:
    import datasets

_NAME_LENGTH = 16
_LONGEST = 8


@dataclass(frozen=True, slots=True)
class Version:
    """One dataset version.

    Attributes:
        name: the recipe's.
        digest: of content, labels, splits and classes (see `digest.py`).
        folder: where it lies.
        classes: names in id order.
        counts: rows per split.
        task: the task's section of the recipe, its classes those of the registry.
        agreement: mean pairwise agreement over items with two answers or more, in [0, 1]; None without.
        created_at: when it was first committed, ISO 8601, UTC.
        message: what its committer said.
        parent: digest of the version before it.
        split: the shares and the seed that it was split by.
        class_counts: split -> class -> rows; empty for a task whose answer is not one class.
    """

    name: str
    digest: str
    folder: Path
    classes: tuple[str, ...]
    counts: Mapping[str, int]
    task: Mapping[str, Any]
    agreement: float | None
    created_at: str
    message: str | None = None
    parent: str | None = None
    split: Mapping[str, float] = field(default_factory=dict)
    class_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def ref(self) -> str:
        """`NAME@DIGEST`, short."""
        return f"{self.name}@{self.digest[:12]}"

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {"version": self.ref, **asdict(self), "folder": str(self.folder)}

    def dataset(self, split: str) -> datasets.Dataset:
        """The rows of a split, images as the bytes of their files; empty if it has none."""
        import datasets

        features = features_of(tasks.create(self.task))
        paths = [str(path) for path in sorted((self.folder / "data").glob(f"{split}-*.parquet"))]
        if not paths:
            rows = datasets.Dataset.from_dict({column: [] for column in features}, features=features)
        else:
            cache = self.folder.parents[2] / "cache" / "arrow"
            with _quietly():
                rows = datasets.Dataset.from_parquet(paths, cache_dir=str(cache))
        for column, feature in features.items():
            if isinstance(feature, datasets.Image):
                rows = rows.cast_column(column, datasets.Image(decode=False))
        return rows

    def sample(self, split: str, count: int) -> datasets.Dataset:
        """Some rows of a split, the longest texts among them; nothing is written.

        The first rows are as good as drawn by lot: they are in the order of their keys, which are digests.
        """
        import datasets

        paths = sorted((self.folder / "data").glob(f"{split}-*.parquet"))
        task = tasks.create(self.task)
        features = features_of(task)
        for column, feature in features.items():
            if isinstance(feature, datasets.Image):
                features[column] = datasets.Image(decode=False)
        rows = _with_longest(paths, count) if task.modality == "text" else _first(paths, count)
        columns = {name: [row[name] for row in rows] for name in features}
        return datasets.Dataset.from_dict(columns, features=features)


def write(
    root: Path,
    name: str,
    task: Task[Any],
    labels: Sequence[Label[Any]],
    items: Mapping[str, Item],
    media: MediaStore,
    config: DatasetConfig,
    *,
    outcomes: Sequence[Outcome],
    balances: Mapping[str, Mapping[str, int]],
    recipe_digest: str,
    message: str | None = None,
    agreement: Mapping[str, float | int | None] | None = None,
    answers: Mapping[str, Mapping[str, Any]] | None = None,
) -> Version:
    """Commit a version; the same labels, splits and classes are the version that is there already.

    The caller holds the recipe's lock.

    Args:
        root: the workspace's versions.
        name: the recipe's.
        task: what the labels are of.
        labels: one per row.
        items: every item that was considered, by key.
        media: where images lie.
        config: the recipe's `dataset:`.
        outcomes: one per item.
        balances: stage -> outcome -> count, of the stages before.
        recipe_digest: of the resolved recipe.
        message: what this version is about.
        agreement: `mean`, `items` and `alpha` over all items; by default what the labels tell.
        answers: key -> annotator -> target: what each said, kept beside the labels.

    Raises:
        VersionError: nothing is labelled, or it cannot be written; nothing is then listed or left over.
        LedgerError: the outcomes do not account for every item.
    """
    _check_books(labels, items, outcomes)
    folder = root / name
    known = history.commits(folder)
    before = known[-1] if known else None
    task = task.with_classes(task.registry(before.classes if before else ()))
    entries = [
        Entry(split_of(items[label.key].group, config.split), items[label.key], label) for label in labels
    ]
    rows = ((entry.item.key, entry.split, task.to_row(entry.label.target)) for entry in entries)
    digest = version_digest(task.config.kind, task.classes, rows)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    commit = history.Commit(digest, now, message, before.digest if before else None, task.classes)
    # What was committed before and is made again, since its folder broke, is what it was.
    first = next((each for each in known if each.digest == digest), commit)
    figures = _agreement(labels) if agreement is None else agreement
    version = _described(name, folder, task, config, entries, figures, first)
    draft = Draft(
        version, task, config.split, entries, outcomes, balances, figures, recipe_digest, answers or {}
    )
    there = version.folder.exists()
    try:
        sweep(folder)
        if not there or verify(version.folder):
            put(draft, media)
        if before is None or before.digest != digest:
            history.add(folder, commit)
    except OSError as error:
        if not there:
            shutil.rmtree(version.folder, ignore_errors=True)
        raise VersionError(
            "the version cannot be written; nothing of it is kept",
            where=folder,
            found=error.strerror or str(error),
            remedy="Make room on the disk, or set GOLDLOOP_HOME to a larger one, then commit again",
        ) from error
    finally:
        with suppress(OSError):
            folder.rmdir()  # which only goes if nothing was ever committed here
    return load(root, name, digest)


def load(root: Path, name: str, digest: str = "latest") -> Version:
    """A version by its digest or the beginning of it; `latest` is the one committed last.

    Raises:
        VersionError: there is none, or several begin so, or it cannot be read.
    """
    known = [commit.digest for commit in _listed(root / name)]
    found = set(known[-1:]) if digest == "latest" else {each for each in known if each.startswith(digest)}
    if len(found) == 1:
        return _read(root / name, found.pop())
    raise VersionError(
        "several versions begin so" if found else "no such version",
        where=f"{name}@{digest}",
        found=", ".join(f"{name}@{each[:12]}" for each in dict.fromkeys(known)) or "no version at all",
        remedy="Commit one with `goldloop commit`" if not known else "`goldloop versions` lists them",
    )


def versions(root: Path, name: str) -> list[Version]:
    """The commits of a name, oldest first; a version that was committed again stands there again.

    One whose folder was deleted is left out.

    Raises:
        VersionError: one of them cannot be read.
    """
    return [_read(root / name, commit.digest) for commit in _listed(root / name)]


def names(root: Path) -> list[str]:
    """Names that have versions."""
    return sorted(path.parent.name for path in root.glob(f"*/{history.LOG}"))


def _check_books(
    labels: Sequence[Label[Any]], items: Mapping[str, Item], outcomes: Sequence[Outcome]
) -> None:
    subjects = Counter(outcome.subject for outcome in outcomes)
    settled = Counter(outcome.subject for outcome in outcomes if outcome.outcome in WITH_ROW)
    keys = Counter(label.key for label in labels)
    wrong = {key for key in subjects.keys() | items.keys() if subjects[key] != 1 or key not in items}
    wrong |= {key for key in keys.keys() | settled.keys() if keys[key] != settled[key]}
    if wrong:
        shown = ", ".join(sorted(wrong)[:3])
        raise LedgerError(
            "the outcomes do not account for every item",
            where="commit",
            found=f"{len(outcomes)} outcomes, {settled.total()} of them labelled; wrong for {shown}",
            expected=f"{len(items)} items, {len(labels)} labels",
            remedy="This is a fault of goldloop itself: please report it with this message",
        )
    if not labels:
        states = sorted(Counter(outcome.outcome for outcome in outcomes).items())
        raise VersionError(
            "nothing is labelled yet",
            found=", ".join(f"{count} {state}" for state, count in states) or "no items",
            remedy="Annotate in Label Studio, then `goldloop collect` and commit again"
            if states
            else "Run `goldloop pull` and `goldloop push` first, then annotate",
        )


def _described(
    name: str,
    folder: Path,
    task: Task[Any],
    config: DatasetConfig,
    entries: Sequence[Entry],
    agreement: Mapping[str, float | int | None],
    commit: history.Commit,
) -> Version:
    return Version(
        name=name,
        digest=commit.digest,
        folder=folder / commit.digest[:_NAME_LENGTH],
        classes=task.classes,
        counts=counts(entries),
        task=task.config.model_dump(mode="json", by_alias=True),
        agreement=agreement["mean"],
        created_at=commit.at,
        message=commit.message,
        parent=commit.parent,
        split=config.split.model_dump(mode="json"),
        class_counts=class_counts(task, entries),
    )


def _listed(folder: Path) -> list[history.Commit]:
    return [each for each in history.commits(folder) if (folder / each.digest[:_NAME_LENGTH]).exists()]


def _read(parent: Path, digest: str) -> Version:
    folder = parent / digest[:_NAME_LENGTH]
    path = folder / DESCRIPTION
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        del fields["goldloop"]
        if fields["digest"] != digest:
            raise ValueError(f"it says that it is {fields['digest']}")
        return Version(**{**fields, "folder": folder, "classes": tuple(fields["classes"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VersionError(
            "the version cannot be read",
            where=path,
            found=str(error) or type(error).__name__,
            remedy="Bring the folder back from a copy; `goldloop commit` makes it again from the same labels",
        ) from error


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the progress bars of `datasets`."""
    from datasets.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

    shown = is_progress_bar_enabled()
    disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            enable_progress_bar()


def _first(paths: Sequence[Path], count: int) -> list[dict[str, Any]]:
    """No more than these rows is read."""
    from pyarrow.parquet import ParquetFile

    rows: list[dict[str, Any]] = []
    for path in paths:
        with ParquetFile(path) as file:
            for block in file.iter_batches(batch_size=64):
                rows += block.slice(0, count - len(rows)).to_pylist()
                if len(rows) == count:
                    return rows
    return rows


def _with_longest(paths: Sequence[Path], count: int) -> list[dict[str, Any]]:
    import pyarrow
    from pyarrow import compute
    from pyarrow.parquet import read_table

    if not paths:
        return []
    table = pyarrow.concat_tables(read_table(path) for path in paths)
    lengths: Any = compute
    order = compute.sort_indices(lengths.utf8_length(table["text"]), sort_keys=[("", "descending")])
    longest = order[: min(count, _LONGEST)].to_pylist()
    others = (place for place in range(len(table)) if place not in longest)
    chosen = [*longest, *islice(others, count - len(longest))]
    return list(table.take(sorted(chosen)).to_pylist())


def _agreement(labels: Sequence[Label[Any]]) -> dict[str, float | int | None]:
    known = [label.agreement for label in labels if label.agreement is not None]
    return {"mean": fmean(known) if known else None, "items": len(known), "alpha": None}
