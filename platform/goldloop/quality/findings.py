"""What a look at the quality of a version found: each finding in words that need no background."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

State = Literal["act", "look", "fine", "unknown"]


@dataclass(frozen=True, slots=True)
class Example:
    """An item that shows a finding, and what is to be said of it."""

    key: str
    note: str
    labels: Mapping[str, Any] = field(default_factory=dict)
    """What each of several says of it: a word for who -> a target; the first is the label."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        kind: `agreement`, `sway`, `suspects`, `conflicts`, `outliers`, `imbalance` or `shortcuts`.
        state: `act`: it harms a model; `look`: it may; `fine`; `unknown`: it could not be told.
        title: the finding in a line.
        meaning: what it means for someone who uses the model.
        certainty: how sure it is, and from what.
        remedy: what to do about it.
        columns, rows: figures.
        examples: items that show it, the clearest first.
        count: how many items it is about.
    """

    kind: str
    state: State
    title: str
    meaning: str
    certainty: str
    remedy: str
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()
    examples: Sequence[Example] = ()
    count: int = 0


@dataclass(frozen=True, slots=True)
class Findings:
    """All that was found of a version.

    Attributes:
        version: `NAME@DIGEST`.
        task: the task's configuration.
        counts: items in each split.
        findings: the ones to act on first.
        page: where the page lies.
    """

    version: str
    task: Mapping[str, Any]
    counts: Mapping[str, int]
    findings: tuple[Finding, ...]
    page: Path

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "page": str(self.page)}


_ORDER = {"act": 0, "look": 1, "unknown": 2, "fine": 3}


def by_urgency(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Those to act on first, otherwise as they came."""
    return tuple(sorted(findings, key=lambda finding: _ORDER[finding.state]))
