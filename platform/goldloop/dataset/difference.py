"""What one version says that another does not: items, labels, splits, classes, agreement.

What two versions share is not read. The files of their ledgers that differ tell which items may, the digests
of those items' rows tell which do; and of their rows alone the labels are read, a portion at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from goldloop.dataset.ledger_difference import Pair, Spot, compare
from goldloop.dataset.manifest import Manifest
from goldloop.dataset.shards import ROW, rows_numbered, target_columns
from goldloop.dataset.version import Version
from goldloop.errors import VersionError
from goldloop.tasks import tasks
from goldloop.tasks.base import Task

KINDS = ("added", "removed", "relabelled", "moved")
"""What may have become of an item; one that was relabelled and moved is told of twice."""

_PORTION = 2_000
_BESIDE_TARGET = ("key", "uri", "annotators", "agreement")


@dataclass(frozen=True, slots=True)
class Row:
    """What a version says of one item.

    Attributes:
        split: where it is.
        target: its label, with the names that classes have in that version.
        words: the same for people.
        annotators: pseudonyms.
        agreement: mean over pairs of answers, in [0, 1]; None without.
        uri: where the content was found.
        number: of the row in the version's shards.
    """

    split: str
    target: Any
    words: str
    annotators: tuple[str, ...]
    agreement: float | None
    uri: str
    number: int = field(compare=False)

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        names = ("split", "target", "words", "annotators", "agreement", "uri")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one item; `before` is None where it was added, `after` where it was removed."""

    key: str
    before: Row | None
    after: Row | None

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        sides = {"before": self.before, "after": self.after}
        return {"key": self.key, **{name: row and row.facts() for name, row in sides.items()}}


@dataclass(frozen=True, slots=True)
class ClassChanges:
    """What became of the class registry.

    Attributes:
        added, removed: names.
        renamed: former and present name of classes that kept their id.
        counts: class -> how often labels named it before and after; of those for which that is another.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...]
    counts: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Difference:
    """What became of one version on the way to another.

    Attributes:
        before, after: `NAME@DIGEST`.
        task: the kind.
        rows: split -> how many there were and are.
        counts: `added`, `removed`, `relabelled`, `moved` -> items, all of them.
        changes: the same -> some of these items, or all.
        answers: former class, present class and how many items, the most frequent first; of tasks whose
            answer is one class.
        moves: former split, present split and how many items.
        classes: what became of them.
        agreement: the mean before and after; None where there was none.
    """

    before: str
    after: str
    task: str
    rows: Mapping[str, tuple[int, int]]
    counts: Mapping[str, int]
    changes: Mapping[str, tuple[Change, ...]]
    answers: tuple[tuple[str, str, int], ...]
    moves: tuple[tuple[str, str, int], ...]
    classes: ClassChanges
    agreement: tuple[float | None, float | None]

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "before": self.before,
            "after": self.after,
            "task": self.task,
            "rows": {split: list(counts) for split, counts in self.rows.items()},
            "counts": dict(self.counts),
            "answers": [list(each) for each in self.answers],
            "moves": [list(each) for each in self.moves],
            "classes": {
                "added": list(self.classes.added),
                "removed": list(self.classes.removed),
                "renamed": [list(each) for each in self.classes.renamed],
                "counts": {name: list(counts) for name, counts in self.classes.counts.items()},
            },
            "agreement": list(self.agreement),
            "changes": {kind: [each.facts() for each in found] for kind, found in self.changes.items()},
        }


def difference(before: Version, after: Version, *, limit: int | None = 100) -> Difference:
    """Compare two versions.

    Args:
        before: the older one, as a rule.
        after: the other one.
        limit: so many changed items of each kind are told of, by their keys' order; None: all.

    Raises:
        VersionError: they are of different kinds of task, or one cannot be read.
    """
    if before.task["kind"] != after.task["kind"]:
        raise VersionError(
            "versions of different kinds of task cannot be compared",
            where=f"{before.ref}, {after.ref}",
            found=f"{before.task['kind']} and {after.task['kind']}",
        )
    sides = (_Side.of(before), _Side.of(after))
    found = compare(
        before.folder, after.folder, sides[0].manifest, sides[1].manifest, _same_ids(before, after)
    )
    book = _Book(limit)
    book.put(
        "removed", found.removed, (Change(key, row, None) for key, row in sides[0].rows(found.removed, limit))
    )
    book.put("added", found.added, (Change(key, None, row) for key, row in sides[1].rows(found.added, limit)))
    for start in range(0, len(found.pairs), _PORTION):
        book.compare(sides, found.pairs[start : start + _PORTION], _same_ids(before, after))
    return Difference(
        before=before.ref,
        after=after.ref,
        task=after.task["kind"],
        rows={
            split: (before.counts.get(split, 0), after.counts.get(split, 0))
            for split in dict.fromkeys((*before.counts, *after.counts))
        },
        counts={kind: book.counts[kind] for kind in KINDS},
        changes={kind: tuple(book.changes[kind]) for kind in KINDS},
        answers=_by_frequency(book.answers),
        moves=_by_frequency(book.moves),
        classes=_classes(before, after),
        agreement=(before.agreement, after.agreement),
    )


@dataclass(frozen=True, slots=True)
class _Side:
    """One of the two versions."""

    version: Version
    task: Task[Any]
    manifest: Manifest
    columns: tuple[str, ...]

    @classmethod
    def of(cls, version: Version) -> _Side:
        task = tasks.create(version.task)
        columns = tuple(target_columns(task))
        return cls(version, task, Manifest.load(version.folder), columns)

    def rows(self, spots: Sequence[Spot], limit: int | None) -> Iterator[tuple[str, Row]]:
        """The first of some rows."""
        chosen = spots[:limit]
        for start in range(0, len(chosen), _PORTION):
            portion = chosen[start : start + _PORTION]
            read = self.read(portion)
            for spot in portion:
                yield spot.key, self.row(spot, read[spot.number])

    def read(self, spots: Iterable[Spot]) -> dict[int, dict[str, Any]]:
        """The columns of some rows by their numbers, without the content."""
        wanted = {spot.number for spot in spots}
        shards = [part for parts in self.manifest.shards.values() for part in parts]
        found = rows_numbered(self.version.folder, shards, wanted, [*_BESIDE_TARGET, *self.columns])
        read = {row[ROW]: row for row in found}
        if read.keys() != wanted:
            raise VersionError(
                "rows that the ledger tells of are in no file",
                where=self.version.folder,
                found=f"{len(wanted - read.keys())} are missing",
                remedy=f"`goldloop verify {self.version.ref}` tells which",
            )
        return read

    def row(self, spot: Spot, fields: Mapping[str, Any]) -> Row:
        target = self.task.from_row(fields)
        return Row(
            split=spot.split,
            target=target,
            words=self.task.describe(target) or "nothing",
            annotators=tuple(fields["annotators"]),
            agreement=fields["agreement"],
            uri=fields["uri"],
            number=spot.number,
        )


class _Book:
    """What was found so far."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.counts: Counter[str] = Counter()
        self.changes: dict[str, list[Change]] = {kind: [] for kind in KINDS}
        self.answers: Counter[tuple[str, str]] = Counter()
        self.moves: Counter[tuple[str, str]] = Counter()

    def put(self, kind: str, spots: Sequence[Spot], changes: Iterable[Change]) -> None:
        self.counts[kind] += len(spots)
        self.changes[kind] += changes

    def compare(self, sides: tuple[_Side, _Side], pairs: Sequence[Pair], same_ids: bool) -> None:
        """Tell of items that are in both."""
        before, after = sides
        old = before.read(pair.before for pair in pairs)
        new = after.read(pair.after for pair in pairs)
        for pair in pairs:
            raw = old[pair.before.number], new[pair.after.number]
            rows = before.row(pair.before, raw[0]), after.row(pair.after, raw[1])
            change = Change(pair.before.key, *rows)
            if rows[0].split != rows[1].split:
                self._note("moved", change)
                self.moves[rows[0].split, rows[1].split] += 1
            # Ids never move, so that a class that was renamed is no other label.
            said = [[each[column] for column in before.columns] for each in raw]
            if said[0] == said[1] if same_ids else rows[0].target == rows[1].target:
                continue
            self._note("relabelled", change)
            names = [side.task.classes_in(row.target) for side, row in zip(sides, rows, strict=True)]
            if all(isinstance(row.target, str) for row in rows) and all(len(each) == 1 for each in names):
                self.answers[names[0][0], names[1][0]] += 1

    def _note(self, kind: str, change: Change) -> None:
        self.counts[kind] += 1
        if self.limit is None or len(self.changes[kind]) < self.limit:
            self.changes[kind].append(change)


def _same_ids(before: Version, after: Version) -> bool:
    """Whether a class has one id in both, so that rows with the same digest have the same label."""
    pairs = zip(before.classes, after.classes, strict=False)
    return before.name == after.name or all(one == other for one, other in pairs)


def _classes(before: Version, after: Version) -> ClassChanges:
    renamed: tuple[tuple[str, str], ...] = ()
    if _same_ids(before, after):
        pairs = zip(before.classes, after.classes, strict=False)
        renamed = tuple((one, other) for one, other in pairs if one != other)
    former = dict(renamed)
    old = [former.get(name, name) for name in before.classes]
    was, now = _named(before), _named(after)
    was = Counter({former.get(name, name): count for name, count in was.items()})
    return ClassChanges(
        added=tuple(name for name in after.classes if name not in old),
        removed=tuple(name for name in old if name not in after.classes),
        renamed=renamed,
        counts={
            name: (was[name], now[name])
            for name in dict.fromkeys((*after.classes, *old))
            if was[name] != now[name]
        },
    )


def _named(version: Version) -> Counter[str]:
    counts: Counter[str] = Counter()
    for classes in version.class_counts.values():
        counts.update(classes)
    return counts


def _by_frequency(counts: Counter[tuple[str, str]]) -> tuple[tuple[str, str, int], ...]:
    return tuple(
        (*pair, count) for pair, count in sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    )
