"""What a version's bytes say: every row and the ledger read back, each check made on what was read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from goldloop.dataset.config import Split
from goldloop.dataset.digest import row_digest, version_digest
from goldloop.dataset.shards import read_rows, split_of_file
from goldloop.dataset.splits import split_of
from goldloop.errors import GoldloopError
from goldloop.records import content_key
from goldloop.tasks.base import Task

LEDGER = "goldloop/ledger.parquet"
WITH_ROW = frozenset({"labelled", "imported"})
"""The outcomes of items that have a row."""

_UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, MemoryError)
"""What reading bytes that are not as they should be raises; pyarrow's errors derive from these.

Among them what a file claims wrongly: of a type that pyarrow does not know, of a size that no memory holds.
"""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is not as it should be: where (a file, a row), and what."""

    where: str
    problem: str

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked, and of how many rows, items or files."""

    name: str
    count: int
    passed: bool


@dataclass(frozen=True, slots=True)
class Row:
    """What matters of one row that was read.

    Attributes:
        where: file and key.
        key: what it says that its content is.
        split: by the name of its file.
        group: what keeps items in one split.
        content: `content_key` of its content as it is.
        target: the columns of its label.
        digest: of key, split and target.
    """

    where: str
    key: str
    split: str
    group: str
    content: str
    target: Mapping[str, Any]
    digest: str


@dataclass(slots=True)
class Inspection:
    """The outcome of all checks.

    Attributes:
        digest: the version's, from the bytes.
        rows: how many were read.
        checks: what was looked at.
        faults: what is wrong.
    """

    digest: str
    rows: int
    checks: list[Check] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def add(self, name: str, count: int, faults: Iterable[Fault]) -> None:
        """Note a check and what it found."""
        found = list(faults)
        self.checks.append(Check(name, count, passed=not found))
        self.faults += found


def inspect(folder: Path, task: Task[Any], split: Split) -> Inspection:
    """Read a version back and check it.

    Args:
        folder: the version's.
        task: with the version's class registry.
        split: the shares that it was split by.
    """
    rows, unreadable = _rows(folder, task)
    shards = list((folder / "data").glob("*.parquet"))
    digest = version_digest(
        task.config.kind, task.classes, ((row.key, row.split, row.target) for row in rows)
    )
    found = Inspection(digest, len(rows))
    found.add("every shard can be read", len(shards), unreadable)
    found.add("content has the key that names it", len(rows), _content_faults(rows))
    found.add("no key stands twice", len(rows), _repeated(rows))
    found.add("every label means something in the class registry", len(rows), _label_faults(task, rows))
    found.add("every group is in one split", len({row.group for row in rows}), _torn_groups(rows))
    found.add("every row is in the split of its group", len(rows), _moved_rows(rows, split))
    try:
        ledger = list(read_rows(folder / LEDGER))
        found.add("every item has exactly one outcome", len(ledger), _repeated_outcomes(ledger))
        labelled = {line["key"]: line["row"] for line in ledger if line["outcome"] in WITH_ROW}
        faults = _balance_faults(rows, labelled, whole=not unreadable)
        found.add("labelled and imported items are the rows, each as it was settled", len(labelled), faults)
    except _UNREADABLE as error:
        found.add("the ledger can be read", 0, [Fault(LEDGER, f"cannot be read: {_plain(error)}")])
    return found


def _rows(folder: Path, task: Task[Any]) -> tuple[list[Row], list[Fault]]:
    columns = list(task.to_row(task.examples()[0].target))
    rows: list[Row] = []
    faults: list[Fault] = []
    for path in sorted((folder / "data").glob("*.parquet")):
        name = f"data/{path.name}"
        try:
            for read in read_rows(path, ["key", "group", task.modality, *columns]):
                target = {column: read[column] for column in columns}
                rows.append(_row(read, target, name, split_of_file(path)))
        except _UNREADABLE as error:
            faults.append(Fault(name, f"cannot be read: {_plain(error)}"))
    return rows, faults


def _row(read: Mapping[str, Any], target: Mapping[str, Any], name: str, split: str) -> Row:
    key, group = read["key"], read["group"]
    if not (isinstance(key, str) and isinstance(group, str)):
        raise ValueError("a row has no key or no group")
    content = read["text"].encode() if "text" in read else read["image"]["bytes"]
    return Row(
        where=f"{name} row {key}",
        key=key,
        split=split,
        group=group,
        content=content_key(content),
        target=target,
        digest=row_digest(key, split, target),
    )


def _content_faults(rows: Iterable[Row]) -> Iterator[Fault]:
    for row in rows:
        if row.content != row.key:
            yield Fault(row.where, "its content has another digest than its key")


def _repeated(rows: Iterable[Row]) -> Iterator[Fault]:
    first: dict[str, str] = {}
    for row in rows:
        if row.key in first:
            yield Fault(row.where, f"stands in {first[row.key].partition(' ')[0]} too")
        first.setdefault(row.key, row.where)


def _label_faults(task: Task[Any], rows: Iterable[Row]) -> Iterator[Fault]:
    for row in rows:
        try:
            task.from_row(row.target)
        except (GoldloopError, ValueError, LookupError, TypeError) as error:
            yield Fault(row.where, f"its label means nothing: {error}")


def _torn_groups(rows: Iterable[Row]) -> Iterator[Fault]:
    splits: dict[str, set[str]] = {}
    for row in rows:
        splits.setdefault(row.group, set()).add(row.split)
    for group, found in sorted(splits.items()):
        if len(found) > 1:
            yield Fault(f"group {group}", f"is in {' and in '.join(sorted(found))}")


def _moved_rows(rows: Iterable[Row], split: Split) -> Iterator[Fault]:
    for row in rows:
        expected = split_of(row.group, split)
        if row.split != expected:
            yield Fault(row.where, f"belongs to {expected}")


def _repeated_outcomes(ledger: Iterable[Mapping[str, Any]]) -> Iterator[Fault]:
    for key, count in Counter(line["key"] for line in ledger).items():
        if count > 1:
            yield Fault(LEDGER, f"item {key} has {count} outcomes")


def _balance_faults(rows: Iterable[Row], labelled: Mapping[str, str], *, whole: bool) -> Iterator[Fault]:
    present = {row.key: row for row in rows}
    for row in present.values():
        if row.key not in labelled:
            yield Fault(row.where, "its item has no label in the ledger")
        elif row.digest != labelled[row.key]:
            yield Fault(row.where, "its label or its split is not what was settled")
    missing = sorted(labelled.keys() - present.keys())
    if whole:
        yield from (Fault(f"row {key}", "is missing") for key in missing)
    elif missing:
        yield Fault("data", f"{len(missing)} of {len(labelled)} rows cannot be read")


def _plain(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
