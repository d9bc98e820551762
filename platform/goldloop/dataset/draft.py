"""A version on its way to the disk: written aside, flushed, certified from its bytes, then renamed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop import __version__
from goldloop.dataset.card import dataset_card
from goldloop.dataset.certificate import DESCRIPTION, certify
from goldloop.dataset.config import Split
from goldloop.dataset.digest import canonical, row_digest
from goldloop.dataset.inspection import LEDGER
from goldloop.dataset.shards import Entry, write_shards
from goldloop.durable import flush, write_json, write_text
from goldloop.media import MediaStore
from goldloop.records import Outcome
from goldloop.tasks.base import Task

if TYPE_CHECKING:
    from goldloop.dataset.version import Version

ANSWERS = "goldloop/answers.parquet"

ASIDE = ".writing-"
"""How the names of all begin that is not yet what it is to be."""


@dataclass(frozen=True, slots=True)
class Draft:
    """All that goes into a version's folder.

    Attributes:
        version: what it will be.
        task: with the version's class registry.
        split: the shares that it is split by.
        entries: its rows.
        outcomes: one per item that was considered.
        balances: stage -> outcome -> count, of the stages before.
        agreement: `mean`, `items` and `alpha`.
        recipe_digest: of the resolved recipe.
        answers: key -> annotator -> target, disputed items included.
    """

    version: Version
    task: Task[Any]
    split: Split
    entries: Sequence[Entry]
    outcomes: Sequence[Outcome]
    balances: Mapping[str, Mapping[str, int]]
    agreement: Mapping[str, float | int | None]
    recipe_digest: str
    answers: Mapping[str, Mapping[str, Any]]


def put(draft: Draft, media: MediaStore) -> None:
    """Make the version's folder; whole or not at all. What is there and broken gives way to it.

    Raises:
        OSError: the disk does not take it.
        CertificateError: what was written is not what was meant.
        VersionError, WorkspaceError: an image is missing or was changed.
    """
    folder = draft.version.folder
    aside = folder.parent / f"{ASIDE}{folder.name}"
    try:
        _write_into(aside, draft, media)
        if folder.exists():
            folder.replace(folder.parent / f"{ASIDE}broken")
        aside.replace(folder)
        flush(folder.parent)
    finally:
        sweep(folder.parent)


def sweep(folder: Path) -> None:
    """Take away what killed writers left: we hold the lock, so none of them lives."""
    for left in folder.glob(f"{ASIDE}*"):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()


def _write_into(aside: Path, draft: Draft, media: MediaStore) -> None:
    version, task, entries, outcomes = draft.version, draft.task, draft.entries, draft.outcomes
    write_shards(aside / "data", task, entries, media)
    (aside / "goldloop").mkdir()
    _write_ledger(aside / LEDGER, task, entries, outcomes)
    _write_answers(aside / ANSWERS, draft.answers)
    description = {**asdict(version), "goldloop": __version__}
    del description["folder"]
    write_json(aside / DESCRIPTION, description)
    write_text(aside / "README.md", dataset_card(version, task, entries, outcomes, draft.agreement))
    certify(
        aside,
        task,
        draft.split,
        version.digest,
        entries,
        outcomes=outcomes,
        balances=draft.balances,
        agreement=draft.agreement,
        recipe_digest=draft.recipe_digest,
    )
    for folder in (aside / "goldloop", aside / "data", aside):
        flush(folder)


def _write_answers(path: Path, answers: Mapping[str, Mapping[str, Any]]) -> None:
    """A line per answer: what each annotator said of an item, in canonical JSON with class names."""
    import pyarrow
    from pyarrow import parquet

    lines = [
        {"key": key, "annotator": annotator, "answer": canonical(target).decode()}
        for key, given in sorted(answers.items())
        for annotator, target in sorted(given.items())
    ]
    schema = pyarrow.schema([(name, pyarrow.string()) for name in ("key", "annotator", "answer")])
    parquet.write_table(pyarrow.Table.from_pylist(lines, schema=schema), path, compression="zstd")
    flush(path)


def _write_ledger(path: Path, task: Task[Any], entries: Sequence[Entry], outcomes: Sequence[Outcome]) -> None:
    """A line per item: key, outcome, reason; and for an item with a row, that row's digest."""
    import pyarrow
    from pyarrow import parquet

    rows = {
        entry.item.key: row_digest(entry.item.key, entry.split, task.to_row(entry.label.target))
        for entry in entries
    }
    lines = [
        {"key": each.subject, "outcome": each.outcome, "reason": each.reason, "row": rows.get(each.subject)}
        for each in sorted(outcomes, key=lambda outcome: outcome.subject)
    ]
    schema = pyarrow.schema([(name, pyarrow.string()) for name in ("key", "outcome", "reason", "row")])
    parquet.write_table(pyarrow.Table.from_pylist(lines, schema=schema), path, compression="zstd")
    flush(path)
