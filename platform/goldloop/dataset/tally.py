"""How many rows and items of each sort a version has: counted, or carried on from the version before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum
from statistics import fmean
from typing import Any

from goldloop.dataset.splits import SPLITS
from goldloop.records import Label
from goldloop.tasks.base import Task

AS_OF = "as_of"
"""Names, among figures of agreement, the version of whose answers all but `mean` and `items` are."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts over the rows of a version, and over the items that it considered.

    Attributes:
        splits: rows of each split.
        classes: (split, class) -> how often its rows name it.
        annotators, provenance, shown_models: rows by each.
        outcomes: items by what became of them.
    """

    splits: Counter[str] = field(default_factory=Counter)
    classes: Counter[tuple[str, str]] = field(default_factory=Counter)
    annotators: Counter[str] = field(default_factory=Counter)
    provenance: Counter[str] = field(default_factory=Counter)
    shown_models: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, task: Task[Any], rows: Iterable[tuple[str, Label[Any]]], outcomes: Iterable[str]) -> Tally:
        """Count split and label of each row, and the outcome of each item."""
        tally = cls()
        for split, label in rows:
            tally.splits[split] += 1
            tally.classes.update((split, name) for name in task.classes_in(label.target))
            tally.annotators.update(label.annotators)
            tally.provenance[label.provenance] += 1
            tally.shown_models.update(label.shown_models)
        tally.outcomes.update(outcomes)
        return tally

    @property
    def rows(self) -> int:
        """How many there are."""
        return self.splits.total()

    def changed(self, *, less: Tally, plus: Tally) -> Tally:
        """Without some rows and items, and with others."""

        def changed(name: str) -> Counter[Any]:
            counts: Counter[Any] = Counter(getattr(self, name))
            counts.update(getattr(plus, name))
            counts.subtract(getattr(less, name))
            return +counts

        return Tally(*(changed(name) for name in Tally.__slots__))

    def counts(self) -> dict[str, int]:
        """Rows per split, in the splits' order."""
        return {split: self.splits[split] for split in SPLITS}

    def class_counts(self, classes: Iterable[str]) -> dict[str, dict[str, int]]:
        """Split -> class -> how often its rows name it; empty for a task whose answers name no class."""
        if not self.classes:
            return {}
        return {split: {name: self.classes[split, name] for name in classes} for split in SPLITS}

    def facts(self) -> dict[str, Mapping[str, int]]:
        """What a certificate tells of it, sorted by name."""
        names = ("annotators", "provenance", "shown_models", "outcomes")
        return {name: dict(sorted(getattr(self, name).items())) for name in names}


def agreement_of(labels: Sequence[Label[Any]]) -> dict[str, Any]:
    """The mean agreement of labels, and how many have one; `alpha` is not known of labels alone."""
    known = [label.agreement for label in labels if label.agreement is not None]
    return {"mean": fmean(known) if known else None, "items": len(known), "alpha": None}


def agreement_carried(
    before: Mapping[str, Any], less: Sequence[Label[Any]], plus: Sequence[Label[Any]]
) -> dict[str, Any]:
    """The mean agreement once some labels are gone and some are new; to within rounding."""
    known = [[label.agreement for label in labels if label.agreement is not None] for labels in (less, plus)]
    items = before["items"] - len(known[0]) + len(known[1])
    if not items:
        return {"mean": None, "items": 0, "alpha": None}
    total = (before["mean"] or 0.0) * before["items"] - fsum(known[0]) + fsum(known[1])
    return {"mean": min(max(total / items, 0.0), 1.0), "items": items, "alpha": None}
