"""What a version says that the one before did not: all that a commit has to write."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from goldloop.dataset.digest import canonical, row_digest
from goldloop.dataset.ledger_lines import Line, State
from goldloop.dataset.placement import Place
from goldloop.dataset.shards import Entry, in_order
from goldloop.records import Label, Outcome
from goldloop.tasks.base import Task

Answers = Mapping[str, Mapping[str, Any]]
"""Key -> annotator -> target."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be written.

    Attributes:
        entries: rows, in order; they have the numbers from `first` on.
        first: the number of the first.
        lines: of the ledger, with the numbers of their rows; of items that are gone, too.
        answers: of the items whose answers changed; of one without any answer left, none.
        dead: numbers of rows that these take the place of, or that are gone.
    """

    entries: Sequence[Entry]
    first: int
    lines: Sequence[Line]
    answers: Answers
    dead: frozenset[int]

    @property
    def next(self) -> int:
        """The number after the last."""
        return self.first + len(self.entries)


@dataclass(frozen=True, slots=True)
class Told:
    """What is to be said of some items.

    Attributes:
        rows: key -> its row, of the items that have one.
        lines: key -> its line in the ledger, its row without a number.
        answers: key -> annotator -> target.
        held: key -> where it was when it had a row, of all that ever had one.
    """

    rows: Mapping[str, Entry]
    lines: Mapping[str, Line]
    answers: Answers
    held: Mapping[str, Place]

    @classmethod
    def of(
        cls,
        task: Task[Any],
        entries: Iterable[Entry],
        outcomes: Iterable[Outcome],
        answers: Answers,
        held: Mapping[str, Place],
    ) -> Told:
        """Rows, outcomes and answers as lines of the ledger; every row has an outcome."""
        rows = {entry.item.key: entry for entry in entries}
        lines = {}
        for outcome in outcomes:
            key = outcome.subject
            lines[key] = _line(task, outcome, rows.get(key), answers.get(key, {}), held.get(key))
        return cls(rows, lines, answers, held)

    def all(self) -> Changes:
        """Everything, for a version that shares nothing with another."""
        found = self.since({})
        gone = (_held(Line(key, None), place) for key, place in self.held.items() if key not in self.lines)
        return replace(found, lines=[*found.lines, *gone])

    def since(self, known: Mapping[str, State | Line], gone: Iterable[str] = (), first: int = 0) -> Changes:
        """What of it is not known yet.

        Args:
            known: what the version before says of these items, and of those that are gone.
            gone: keys of items that are no longer considered.
            first: the number that the first new row gets.
        """
        lines = {key: line for key, line in self.lines.items() if _is_new(line, known.get(key))}
        lines |= {key: _held(Line(key, None), self.held.get(key)) for key in gone if key in known}
        written = in_order(self.rows[key] for key in lines if key in self.rows)
        for place, entry in enumerate(written):
            lines[entry.item.key] = replace(lines[entry.item.key], number=first + place)
        before = [known[key] for key in lines if key in known]
        return Changes(
            entries=written,
            first=first,
            lines=list(lines.values()),
            answers={
                key: self.answers.get(key, {}) for key in lines if key in known or self.answers.get(key)
            },
            dead=frozenset(each.number for each in before if each.number >= 0),
        )


_BESIDE_TARGET = tuple(field.name for field in fields(Label) if field.name not in ("key", "target"))


def _is_new(line: Line, known: State | Line | None) -> bool:
    return known is None or (known.row, known.mark) != (line.row, line.mark)


def _line(
    task: Task[Any], outcome: Outcome, entry: Entry | None, given: Mapping[str, Any], held: Place | None
) -> Line:
    """A line whose row has no number yet."""
    told: list[Any] = [outcome.outcome, outcome.reason, given]
    if entry is None:
        line = _held(Line(outcome.subject, outcome.outcome, outcome.reason), held)
        return replace(line, mark=_mark([*told, line.held, line.group, line.policy, line.basis]))
    item, label, place = entry.item, entry.label, entry.place
    told += [place.group, item.uri, *(getattr(label, name) for name in _BESIDE_TARGET)]
    told += [place.policy, place.basis]
    return Line(
        key=item.key,
        outcome=outcome.outcome,
        reason=outcome.reason,
        split=place.split,
        row=row_digest(item.key, place.split, task.to_row(label.target)),
        mark=_mark(told),
        group=None if place.group == item.key else place.group,
        policy=place.policy,
        basis=place.basis,
    )


def _held(line: Line, place: Place | None) -> Line:
    """A line without a row that says where its item was when it had one."""
    if place is None:
        return line
    group = None if place.group == line.key else place.group
    return replace(line, held=place.split, group=group, policy=place.policy, basis=place.basis)


def _mark(told: Sequence[Any]) -> int:
    return int.from_bytes(hashlib.sha256(canonical(told)).digest()[:8], "big")
