"""Dataset versions: immutable folders, each an ordinary Hugging Face dataset that proves itself.

    <workspace>/versions/NAME/
      log.jsonl                 the commits, oldest first: what is listed is what is here
      <digest, 16 digits>/
        README.md               the dataset card; tells `datasets.load_dataset` where the splits are
        data/<split>-....parquet
        goldloop/version.json   what it is        goldloop/ledger.parquet   one outcome per item
        goldloop/certificate.json                 what was checked, and the digest of every file

A version is written aside, flushed and renamed; only then is it listed. A kill at any moment leaves what was
listed as it was.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from goldloop import __version__
from goldloop.dataset.card import write_card
from goldloop.dataset.certificate import certify, verify
from goldloop.dataset.classes import extended
from goldloop.dataset.config import DatasetConfig
from goldloop.dataset.digest import version_digest
from goldloop.dataset.shards import Entry, counts, features_of, flush, write_shards
from goldloop.dataset.splits import split_of
from goldloop.errors import LedgerError, VersionError
from goldloop.media import MediaStore
from goldloop.records import Item, Label, Outcome
from goldloop.tasks import tasks
from goldloop.tasks.base import Task

if TYPE_CHECKING:
    import datasets

_NAME_LENGTH = 16


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

    Raises:
        VersionError: nothing is labelled, or it cannot be written; nothing is then listed or left over.
        LedgerError: the outcomes do not account for every item.
    """
    _check_books(labels, items, outcomes)
    folder = root / name
    known = versions(root, name)
    before = known[-1] if known else None
    task = task.with_classes(extended(before.classes if before else (), task.classes))
    entries = [
        Entry(split_of(items[label.key].group, config.split), items[label.key], label) for label in labels
    ]
    digest = version_digest(
        task.config.kind,
        task.classes,
        ((entry.item.key, entry.split, task.to_row(entry.label.target)) for entry in entries),
    )
    version = Version(
        name=name,
        digest=digest,
        folder=folder / digest[:_NAME_LENGTH],
        classes=task.classes,
        counts=counts(entries),
        task=task.config.model_dump(mode="json", by_alias=True),
        agreement=_mean_agreement(labels),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        message=message,
        parent=before.digest if before else None,
    )
    if not (version.folder.exists() and not verify(version.folder)):
        try:
            _write_aside(version, task, entries, media, outcomes, balances, recipe_digest)
        except OSError as error:
            raise VersionError(
                "the version cannot be written; nothing of it is kept",
                where=folder,
                found=error.strerror or str(error),
                remedy="Make room on the disk, or set GOLDLOOP_HOME to a larger one, then commit again",
            ) from error
    if before is None or before.digest != digest:
        _list(folder, version)
    return load(root, name, digest)


def load(root: Path, name: str, digest: str = "latest") -> Version:
    """A version by its digest or the beginning of it; `latest` is the one committed last.

    Raises:
        VersionError: there is none, or several begin so.
    """
    known = versions(root, name)
    if digest == "latest" and known:
        return known[-1]
    found = {version.digest: version for version in known if version.digest.startswith(digest)}
    if len(found) == 1:
        return next(iter(found.values()))
    raise VersionError(
        "several versions begin so" if found else "no such version",
        where=f"{name}@{digest}",
        found=", ".join(version.ref for version in known) or "no version at all",
        remedy="Commit one with `goldloop commit`" if not known else "`goldloop versions` lists them",
    )


def versions(root: Path, name: str) -> list[Version]:
    """The commits of a name, oldest first; a version that was committed again stands there again."""
    try:
        lines = (root / name / "log.jsonl").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [_read(root / name / json.loads(line)["digest"][:_NAME_LENGTH]) for line in lines]


def names(root: Path) -> list[str]:
    """Names that have versions."""
    return sorted(path.parent.name for path in root.glob("*/log.jsonl"))


def _check_books(
    labels: Sequence[Label[Any]], items: Mapping[str, Item], outcomes: Sequence[Outcome]
) -> None:
    named = {"labelled", "imported"}
    subjects = [outcome.subject for outcome in outcomes]
    rows = {outcome.subject for outcome in outcomes if outcome.outcome in named}
    if (
        sorted(subjects) != sorted(items)
        or rows != {label.key for label in labels}
        or len(rows) != len(labels)
    ):
        raise LedgerError(
            "the outcomes do not account for every item",
            where="commit",
            found=f"{len(subjects)} outcomes, {len(rows)} of them labelled",
            expected=f"{len(items)} items, {len(labels)} labels",
        )
    if not labels:
        states = sorted({outcome.outcome for outcome in outcomes})
        raise VersionError(
            "nothing is labelled yet",
            found=", ".join(f"{sum(o.outcome == state for o in outcomes)} {state}" for state in states),
            remedy="Annotate in Label Studio, then `goldloop collect` and commit again",
        )


def _write_aside(
    version: Version,
    task: Task[Any],
    entries: Sequence[Entry],
    media: MediaStore,
    outcomes: Sequence[Outcome],
    balances: Mapping[str, Mapping[str, int]],
    recipe_digest: str,
) -> None:
    parent = version.folder.parent
    for left in parent.glob(".writing-*"):
        # We hold the lock, so whoever wrote it is dead.
        shutil.rmtree(left)
    aside = parent / f".writing-{version.folder.name}"
    try:
        write_shards(aside / "data", task, entries, media)
        (aside / "goldloop").mkdir()
        _write_ledger(aside / "goldloop" / "ledger.parquet", outcomes)
        description = {**asdict(version), "goldloop": __version__}
        del description["folder"]
        _write_json(aside / "goldloop" / "version.json", description)
        write_card(aside / "README.md", version, entries)
        certify(aside, task, version.digest, entries, balances, outcomes, recipe_digest)
        for path in (aside / "README.md", aside / "goldloop", aside / "data", aside):
            flush(path)
        if version.folder.exists():
            # It is there and does not verify: what is broken gives way to what is whole.
            shutil.rmtree(version.folder)
        aside.replace(version.folder)
        flush(parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _list(folder: Path, version: Version) -> None:
    """Add a commit to the log, which is replaced whole so that no line of it can be half-written."""
    log = folder / "log.jsonl"
    before = log.read_text(encoding="utf-8") if log.exists() else ""
    line = {"digest": version.digest, "at": version.created_at, "message": version.message}
    aside = folder / f".log.{os.getpid()}"
    try:
        aside.write_text(before + json.dumps(line, ensure_ascii=False) + "\n", encoding="utf-8")
        flush(aside)
        aside.replace(log)
        flush(folder)
    finally:
        aside.unlink(missing_ok=True)


def _read(folder: Path) -> Version:
    path = folder / "goldloop" / "version.json"
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        del fields["goldloop"]
        return Version(**{**fields, "folder": folder, "classes": tuple(fields["classes"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VersionError(
            "the version cannot be read",
            where=path,
            found=str(error) or type(error).__name__,
            remedy="Bring the folder back from a copy; `goldloop commit` makes it again from the same labels",
        ) from error


def _write_ledger(path: Path, outcomes: Sequence[Outcome]) -> None:
    import pyarrow
    from pyarrow import parquet

    rows = [asdict(outcome) for outcome in sorted(outcomes, key=lambda outcome: outcome.subject)]
    schema = pyarrow.schema([(name, pyarrow.string()) for name in ("subject", "outcome", "reason")])
    parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), path, compression="zstd")
    flush(path)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
    flush(path)


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


def _mean_agreement(labels: Sequence[Label[Any]]) -> float | None:
    known = [label.agreement for label in labels if label.agreement is not None]
    return fmean(known) if known else None
