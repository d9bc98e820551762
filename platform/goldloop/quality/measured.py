"""How far someone's answers are those that they are held against, beyond chance, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from goldloop.quality.alpha import Interval, alpha, mean_interval
from goldloop.quality.kappa import cohen
from goldloop.tasks.base import Task

_BUDGET = 200


@dataclass(frozen=True, slots=True)
class Measured:
    """Answers against others; intervals of 95%.

    Attributes:
        items: how many were compared.
        agreement: the mean, in [0, 1], by the task's own measure.
        interval: of that: Wilson's where an answer is right or wrong, else over resampled items.
        beyond_chance: Cohen's kappa where an answer is one class, else Krippendorff's alpha: 1 is perfect, 0
            what chance gives; None where all answers are the same.
        beyond_interval: of that.
    """

    items: int
    agreement: float
    interval: Interval | None
    beyond_chance: float | None
    beyond_interval: Interval | None


def measured(task: Task[Any], pairs: Sequence[tuple[Any, Any]]) -> Measured | None:
    """Answers beside what they are held against; None without any."""
    if not pairs:
        return None
    alike = [task.agreement(one, other) for one, other in pairs]
    found: Any
    if task.classes and all(isinstance(each, str) for pair in pairs for each in pair):
        found = cohen([one for one, _ in pairs], [other for _, other in pairs])
    else:
        unlike = [1 - each for each in alike]
        found = alpha(pairs, lambda one, other: 1 - task.agreement(one, other), budget=_BUDGET, inside=unlike)
    value, interval = (None, None) if found is None else (found.value, found.interval)
    return Measured(len(pairs), fmean(alike), share_interval(alike), value, interval)


def share_interval(values: Sequence[float]) -> Interval | None:
    """The 95% interval of a mean of figures in [0, 1]; None with none, or with too few to tell."""
    if not values:
        return None
    if all(value in (0, 1) for value in values):
        from scipy.stats import binomtest

        # Resampling would be certain of those who were never wrong in three answers.
        found = binomtest(round(sum(values)), len(values)).proportion_ci(method="wilson")
        return float(found.low), float(found.high)
    return mean_interval(values)
