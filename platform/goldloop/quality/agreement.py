"""How far annotators agree, by the task's own measure and beyond chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import Any

from goldloop.tasks.base import Task


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far annotators agree over a whole dataset, items without consensus included.

    Attributes:
        mean: of the items' mean pairwise agreement, in [0, 1]; None without an item answered twice.
        items: how many items have two answers or more.
        alpha: Krippendorff's, nominal: 1 is perfect, 0 what chance gives, below 0 worse than chance.
            None where a task's answer is not one name, or where all answers are the same.
    """

    mean: float | None
    items: int
    alpha: float | None

    def facts(self) -> dict[str, float | int | None]:
        """As JSON."""
        return {"mean": self.mean, "items": self.items, "alpha": self.alpha}


def pairwise_agreement(task: Task[Any], targets: Sequence[Any]) -> float | None:
    """Mean agreement over all pairs of answers to one item, in [0, 1]; None with fewer than two."""
    if len(targets) < 2:
        return None
    return fmean(task.agreement(one, other) for one, other in combinations(targets, 2))


def agreement_of(task: Task[Any], answers: Iterable[Sequence[Any]]) -> Agreement:
    """The agreement of a dataset.

    Args:
        task: compares answers.
        answers: per item the targets that its annotators gave.
    """
    compared = [targets for targets in answers if len(targets) > 1]
    means = [mean for targets in compared if (mean := pairwise_agreement(task, targets)) is not None]
    single_choice = all(isinstance(target, str) for targets in compared for target in targets)
    return Agreement(
        mean=fmean(means) if means else None,
        items=len(compared),
        alpha=nominal_alpha(compared) if single_choice else None,
    )


def nominal_alpha(units: Iterable[Sequence[Hashable]]) -> float | None:
    """Krippendorff's alpha for names, at most 1; units with fewer than two answers do not count.

    `1 - observed / expected` disagreement (Krippendorff, Content Analysis, 2019, chapter 12); None where
    no disagreement can be expected, since every answer is the same.
    """
    tables = [Counter(unit) for unit in units if len(unit) > 1]
    total = sum(table.total() for table in tables)
    expected = 1 - _same_pairs(sum(tables, Counter())) / (total * (total - 1)) if tables else 0.0
    if expected == 0:
        return None
    observed = sum(table.total() - _same_pairs(table) / (table.total() - 1) for table in tables) / total
    return 1 - observed / expected


def _same_pairs(table: Counter[Hashable]) -> int:
    """Ordered pairs of equal answers."""
    return sum(count * (count - 1) for count in table.values())
