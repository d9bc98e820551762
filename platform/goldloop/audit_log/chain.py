"""The lines of the audit log, chained by digests: what is changed, taken out or put in breaks the chain.

A line is JSON in canonical form (keys sorted, no blanks): the fields of `Entry`; `previous` is the hash of
the line before and `hash` the SHA-256 of the rest of the line. Lines hold names, digests and counts, never
content or labels, so that nothing must ever be taken out of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

START = "0" * 64
"""What the first line has for the hash of the line before it."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where a log ends: how many lines it has, and the hash of the last."""

    number: int = 0
    hash: str = START

    def __str__(self) -> str:
        return f"{self.number}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """A head in its text form.

        Raises:
            ValueError: it is none.
        """
        number, _, hashed = text.strip().partition(":")
        if not number.isdecimal() or len(hashed) != len(START):
            raise ValueError(f"{text!r} is no NUMBER:HASH")
        return cls(int(number), hashed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One act.

    Attributes:
        number: its place in the log, from 1.
        id: random; `within` of another act names it.
        began, ended: ISO 8601, UTC.
        actor: who; a pseudonym unless GOLDLOOP_ACTOR says it.
        command: the name of its command.
        recipe: its name, where there is one.
        recipe_digest: of the resolved recipe.
        inputs, outputs: references, digests and counts.
        outcome: `done`, `failed`, `stopped` (by a person) or `cut off` (its process was killed).
        error: the kind of error, of one that failed.
        within: the act that it was part of.
        goldloop: the version.
        gap: where the log should have ended when this line was written, if it did not.
        previous: the hash of the line before.
        hash: of this line.
    """

    number: int
    id: str
    began: str
    ended: str
    actor: str
    command: str
    recipe: str | None
    recipe_digest: str | None
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    outcome: str
    error: str | None
    within: str | None
    goldloop: str
    gap: str | None
    previous: str
    hash: str

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def next_line(fields: Mapping[str, Any], before: Head) -> tuple[bytes, Head]:
    """The line, with its end, that follows on a head, and the head that it makes.

    Args:
        fields: of the entry, but for its number and its hashes.
        before: where the log ends.
    """
    content = {**fields, "number": before.number + 1, "previous": before.hash}
    hashed = _hash(content)
    return _canonical({**content, "hash": hashed}) + b"\n", Head(before.number + 1, hashed)


def head_of(line: bytes, place: int) -> Head:
    """The head that a line makes; of one that cannot be read, that another may follow on."""
    try:
        return Head(place, str(json.loads(line)["hash"]))
    except (ValueError, KeyError, TypeError):
        return Head(place, hashlib.sha256(line).hexdigest())


def number_of(line: bytes) -> int | None:
    """The place that a line says it has; None where it cannot be read."""
    try:
        return int(json.loads(line)["number"])
    except (ValueError, KeyError, TypeError):
        return None


def faults_of(lines: Iterable[bytes], anchors: Mapping[str, Head]) -> list[str]:
    """What is wrong with a log; empty if nothing is.

    Args:
        lines: all of it.
        anchors: who has seen it end where, at any time.
    """
    faults: list[str] = []
    heads = [Head()]
    for line in lines:
        place = len(heads)
        problem = _problem(line, place, heads[-1])
        if problem is not None:
            faults.append(f"line {place}: {problem}")
        heads.append(head_of(line, place))
    for who, seen in anchors.items():
        if seen.number >= len(heads):
            faults.append(f"the end is cut off: {len(heads) - 1} lines, where {who} has seen {seen.number}")
        elif heads[seen.number] != seen:
            faults.append(f"line {seen.number}: is not the one that {who} has seen")
    return faults


def _problem(line: bytes, place: int, before: Head) -> str | None:
    try:
        fields = json.loads(line)
        hashed = fields.pop("hash")
        if _hash(fields) != hashed:
            return "was changed: its hash does not fit"
        if fields["number"] != place or fields["previous"] != before.hash:
            return "does not follow on the line before it: one was changed, taken out or put in"
        if fields["gap"] is not None:
            return f"when it was written, the log should have ended {fields['gap']}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return "cannot be read"
    return None


def _hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(content)).hexdigest()


def _canonical(value: Mapping[str, Any]) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return text.encode()
