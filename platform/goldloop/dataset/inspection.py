"""What a version's bytes say: rows and ledger read back, each check made on what was read.

`inspect` reads all of them. `inspect_changes` reads the files that the version before has not: what the two
share was checked when it was made, and is told by the digests of its files.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from goldloop.dataset.apart import groups_torn_from, leaks, moved_rows, torn_groups
from goldloop.dataset.digest import digest_of_leaves, root
from goldloop.dataset.ledger import Ledger
from goldloop.dataset.ledger_lines import FORGOTTEN, NO_ROW, WITH_ROW, Line, tree_of
from goldloop.dataset.manifest import Manifest, Part
from goldloop.dataset.placement import Clique
from goldloop.dataset.policies import Policy
from goldloop.dataset.read_back import UNREADABLE, Row, plain, read_back
from goldloop.dataset.reviewed import REVIEWED
from goldloop.dataset.tally import Tally
from goldloop.tasks.base import Task

LEDGER = "goldloop/ledger"
"""What the names of the ledger's files begin with."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is not as it should be: where (a file, a row), and what."""

    where: str
    problem: str

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked, and of how many rows, items or files.

    `carried` of them were checked when an earlier version was made, and their files are the same.
    """

    name: str
    count: int
    passed: bool
    carried: int = 0


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

    def add(self, name: str, count: int, faults: Iterable[Fault], carried: int = 0) -> None:
        """Note a check and what it found."""
        found = list(faults)
        self.checks.append(Check(name, count, passed=not found, carried=carried))
        self.faults += found


def inspect(
    folder: Path, task: Task[Any], policies: Sequence[Policy], cliques: Sequence[Clique] | None = None
) -> Inspection:
    """Read a version back and check it.

    Args:
        folder: the version's.
        task: with the version's class registry.
        policies: what its rows were placed by.
        cliques: near-duplicates among its items; None: they were not looked for.

    Raises:
        VersionError: there is no telling which files it has.
    """
    manifest = Manifest.load(folder)
    rows, unreadable = _rows(folder, task, manifest)
    lines, ledger_fault = _lines(folder, manifest)
    # Of what was forgotten the ledger has kept the leaves.
    stones = [(line.key, line.row) for line in lines if line.outcome == FORGOTTEN and line.row != NO_ROW]
    leaves = [(row.key, row.digest) for row in rows] + stones
    found = Inspection(digest_of_leaves(task.config.kind, task.classes, leaves), len(rows))
    _check_rows(found, rows, unreadable, folder, manifest)
    if ledger_fault is not None:
        found.add("the ledger can be read", 0, [ledger_fault])
        return found
    found.add("every item has exactly one outcome", len(lines), _outcome_faults(lines))
    labelled = {line.key: line for line in lines if line.outcome in WITH_ROW}
    faults = _balance_faults(rows, labelled, whole=not unreadable)
    found.add("labelled and imported items are the rows, each as it was settled", len(labelled), faults)
    _check_splits(found, rows, labelled, policies, cliques)
    known = [(line.key, line.row) for line in labelled.values()] + stones
    tree = tree_of(((bytes.fromhex(key), row) for key, row in known), len(known))
    fits = tree.buckets == Ledger([folder / part.path for part in manifest.ledger]).tree().buckets
    wrong = [] if fits else [Fault(LEDGER, "has other buckets than its lines make")]
    found.add("the ledger's buckets are those of its lines", len(lines), wrong)
    return found


def _lines(folder: Path, manifest: Manifest) -> tuple[list[Line], Fault | None]:
    """The lines of the ledger, and why it cannot be read."""
    try:
        ledger = Ledger([folder / part.path for part in manifest.ledger])
        ledger.tree()
        return list(ledger.lines()), None
    except UNREADABLE as error:
        return [], Fault(LEDGER, f"cannot be read: {plain(error)}")


def inspect_changes(
    folder: Path,
    task: Task[Any],
    policies: Sequence[Policy],
    new: Container[str],
    keys: Collection[str],
    tally: Tally,
    cliques: Sequence[Clique] | None = None,
) -> Inspection:
    """Read back what of a version the one before has not, and check it.

    Args:
        folder: the version's.
        task: with the version's class registry.
        policies: what its rows were placed by.
        new: the paths of the files to read.
        keys: of the items of which it says something else.
        tally: what all of it adds up to.
        cliques: near-duplicates, those among them that have such an item; None: they were not looked for.

    Raises:
        VersionError: there is no telling which files it has.
        OSError, ValueError: the ledger cannot be read.
    """
    manifest = Manifest.load(folder)
    rows, unreadable = _rows(folder, task, manifest, new)
    ledger = Ledger([folder / part.path for part in manifest.ledger])
    held = sum(part.rows for part in _shards(manifest)) - len(manifest.dead)
    found = Inspection(root(task.config.kind, task.classes, ledger.tree().buckets), held)
    _check_rows(found, rows, unreadable, folder, manifest, carried=held - len(rows))
    found.faults += (Fault(*each) for each in groups_torn_from(folder, manifest, rows, new))
    fresh = {row.key for row in rows}
    lines = ledger.find(fresh.union(keys))
    labelled = {key: line for key, line in lines.items() if line.outcome in WITH_ROW}
    items = tally.outcomes.total()
    found.add(
        "every item has exactly one outcome", items, _outcome_faults(lines.values()), items - len(lines)
    )
    faults = list(_balance_faults(rows, labelled, whole=True))
    if held != tally.rows:
        faults.append(Fault("data", f"{held} rows, {tally.rows} were settled"))
    name = "labelled and imported items are the rows, each as it was settled"
    found.add(name, tally.rows, faults, tally.rows - len(labelled))
    others = ledger.find({key for clique in cliques or () for key in clique} - lines.keys())
    beside = {key: line for key, line in others.items() if line.outcome in WITH_ROW}
    _check_splits(found, rows, {**beside, **labelled}, policies, cliques, tally.rows - len(rows))
    return found


def _check_rows(
    found: Inspection,
    rows: Sequence[Row],
    unreadable: Iterable[Fault],
    folder: Path,
    manifest: Manifest,
    carried: int = 0,
) -> None:
    """Check rows by themselves; so many others were checked before."""
    every = len(rows) + carried
    found.add("every shard can be read", len(_shards(manifest)), unreadable)
    found.add("every file is one of the version's", len(list(manifest.parts())), _strays(folder, manifest))
    found.add("content has the key that names it", every, _content_faults(rows), carried)
    found.add("no key stands twice", every, _repeated(rows), carried)
    found.add("every label means something in the class registry", every, _meaningless(rows), carried)
    found.add("every label fits its item: places inside, quotes equal", every, _misfits(rows), carried)


def _check_splits(
    found: Inspection,
    rows: Sequence[Row],
    labelled: Mapping[str, Line],
    policies: Sequence[Policy],
    cliques: Sequence[Clique] | None,
    carried: int = 0,
) -> None:
    """Check that what must be apart is apart; so many other rows were checked before."""
    every = len(rows) + carried
    torn = (Fault(*each) for each in torn_groups(rows))
    found.add("every group is in one split", every, torn, carried)
    moved = (Fault(*each) for each in moved_rows(rows, labelled, policies))
    found.add("every row is in the split that a policy of the version gives it", every, moved, carried)
    if cliques is not None:
        places = {key: str(line.split) for key, line in labelled.items()} | {
            row.key: row.split for row in rows
        }
        leaked = (Fault(*each) for each in leaks(cliques, places))
        found.add("near-duplicates are in one split", every, leaked, carried)


def _strays(folder: Path, manifest: Manifest) -> Iterator[Fault]:
    """Files of rows, lines or answers that the manifest does not know: `datasets` would read them too."""
    known = {REVIEWED, *(part.path for part in manifest.parts())}
    for pattern in ("data/*", "goldloop/*.arrow", "goldloop/*.parquet"):
        for path in sorted(folder.glob(pattern)):
            name = path.relative_to(folder).as_posix()
            if name not in known:
                yield Fault(name, "is not in the manifest")


def _shards(manifest: Manifest) -> list[Part]:
    return [part for parts in manifest.shards.values() for part in parts]


def _rows(
    folder: Path, task: Task[Any], manifest: Manifest, new: Container[str] | None = None
) -> tuple[list[Row], list[Fault]]:
    rows, unreadable = read_back(folder, task, manifest, new)
    return rows, [Fault(*each) for each in unreadable]


def _content_faults(rows: Iterable[Row]) -> Iterator[Fault]:
    for row in rows:
        if row.lost is not None:
            yield Fault(row.where, row.lost)
        elif row.content != row.key:
            yield Fault(row.where, "its content has another digest than its key")


def _repeated(rows: Iterable[Row]) -> Iterator[Fault]:
    first: dict[str, str] = {}
    for row in rows:
        if row.key in first:
            yield Fault(row.where, f"stands in {first[row.key].partition(' ')[0]} too")
        first.setdefault(row.key, row.where)


def _meaningless(rows: Iterable[Row]) -> Iterator[Fault]:
    for row in rows:
        if row.judged.meaningless is not None:
            yield Fault(row.where, f"its label means nothing: {row.judged.meaningless}")


def _misfits(rows: Iterable[Row]) -> Iterator[Fault]:
    for row in rows:
        if row.judged.misfit is not None:
            yield Fault(row.where, f"its label does not fit: {row.judged.misfit}")


def _outcome_faults(lines: Iterable[Line]) -> Iterator[Fault]:
    for line in lines:
        if line.outcome != FORGOTTEN and (line.outcome in WITH_ROW) != (line.row != NO_ROW):
            yield Fault(
                LEDGER,
                f"item {line.key} is {line.outcome}, and has {'no' if line.row == NO_ROW else 'a'} row",
            )


def _balance_faults(rows: Iterable[Row], labelled: Mapping[str, Line], *, whole: bool) -> Iterator[Fault]:
    present = {row.key: row for row in rows}
    for row in present.values():
        line = labelled.get(row.key)
        if line is None:
            yield Fault(row.where, "its item has no label in the ledger")
        elif (row.digest, row.split) != (line.row, line.split):
            yield Fault(row.where, "its label or its split is not what was settled")
        elif row.number != line.number:
            yield Fault(row.where, f"has the number {row.number}, in the ledger {line.number}")
    missing = sorted(labelled.keys() - present.keys())
    if whole:
        yield from (Fault(f"row {key}", "is missing") for key in missing)
    elif missing:
        yield Fault("data", f"{len(missing)} of {len(labelled)} rows cannot be read")
