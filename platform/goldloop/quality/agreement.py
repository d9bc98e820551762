"""How far annotators agree, by the task's own measure and beyond chance."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import Any

from goldloop.tasks.base import Task

_FEWEST_PAIRS, _MOST_PAIRS = 200, 2_000
"""How many answers to different items are compared: not many more than answers to one item are."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far annotators agree over a whole dataset, items without consensus included.

    Attributes:
        mean: of the items' mean pairwise agreement, in [0, 1]; None without an item answered twice.
        items: how many items have two answers or more.
        alpha: Krippendorff's, by the task's own measure of how unlike two answers are: 1 is perfect, 0 what
            chance gives, below 0 worse than chance. None where all answers are the same.
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
    is_name = bool(task.classes) and all(
        isinstance(target, str) for targets in compared for target in targets
    )
    return Agreement(
        mean=fmean(means) if means else None,
        items=len(compared),
        alpha=nominal_alpha(compared) if is_name else _alpha(task, compared, means),
    )


def _alpha(task: Task[Any], units: Sequence[Sequence[Any]], means: Sequence[float]) -> float | None:
    """Krippendorff's alpha with `1 - agreement` as the difference of two answers.

    It is defined for any difference (Braylan, Alonso and Lease, Measuring annotator agreement generally
    across complex structured, multi-object, and free-text annotation tasks, 2022).

    Args:
        task: compares answers.
        units: per item its answers, two or more.
        means: per item the mean agreement of its pairs.
    """
    counts = [len(unit) for unit in units]
    budget = max(_FEWEST_PAIRS, min(_MOST_PAIRS, sum(count * (count - 1) // 2 for count in counts)))
    expected = _expected_disagreement(task, [target for unit in units for target in unit], budget)
    if expected == 0:
        return None
    observed = sum(count * (1 - mean) for count, mean in zip(counts, means, strict=True)) / sum(counts)
    return 1 - observed / expected


def _expected_disagreement(task: Task[Any], targets: Sequence[Any], budget: int) -> float:
    """How unlike two answers are on average, whichever items they are about.

    Exact where the budget of comparisons allows; else from pairs drawn with a fixed seed, with a standard
    error of at most `0.5 / sqrt(budget)`.
    """
    by_text = {json.dumps(target, sort_keys=True): target for target in targets}
    table = Counter(json.dumps(target, sort_keys=True) for target in targets)
    total = len(targets)
    if math.comb(len(table), 2) <= budget:
        unlike = (
            table[one] * table[other] * (1 - task.agreement(by_text[one], by_text[other]))
            for one, other in combinations(sorted(table), 2)
        )
        return 2 * sum(unlike) / (total * (total - 1)) if total else 0.0
    texts = sorted(table.elements())
    chance = random.Random(0)  # noqa: S311
    drawn = (chance.sample(texts, 2) for _ in range(budget))
    return fmean(1 - task.agreement(by_text[one], by_text[other]) for one, other in drawn)


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
