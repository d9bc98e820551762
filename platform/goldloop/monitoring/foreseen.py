"""How often a model is right on items that nobody has labelled, by how sure it is of them.

Where confidence is calibrated, its mean is the accuracy to be expected (Guillory et al., Predicting with
confidence on unseen distributions, 2021, average confidence). That holds while what an input means has not
changed (no concept drift), which nothing but labels can tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

CONDITION = "holds while the temperature fits and the same input still means the same (no concept drift)"
_NORMAL = 1.96
_TOO_FAR = 3.0
"""Standard errors by which confidence may miss accuracy on the test split and still count as calibrated."""


@dataclass(frozen=True, slots=True)
class Foreseen:
    """An accuracy that nobody has measured.

    Attributes:
        value: the share of right answers to be expected, in [0, 1].
        low, high: its 95% interval, while the condition holds.
        items: how many recent items it is about.
        tested: on labelled items that the model has not learned from: expected, and measured.
        holds: whether there is reason to believe it.
        condition: what it rests on; where it does not hold, why not.
    """

    value: float
    low: float
    high: float
    items: int
    tested: tuple[float, float]
    holds: bool
    condition: str


def foreseen(
    recent: Sequence[float],
    tested: Sequence[float],
    right: Sequence[float],
    *,
    tempered: bool,
    drifted: bool,
) -> Foreseen | None:
    """What a model's confidence promises; None where it is of nothing.

    Args:
        recent: the confidence in each answer to a recent item, in [0, 1].
        tested: the same of labelled items that the model has not learned from.
        right: whether it was right on each of those, 0 or 1.
        tempered: whether a temperature was found for it.
        drifted: whether the input has drifted: calibration may then be another.
    """
    if not recent or not tested:
        return None
    value, promised, measured = fmean(recent), fmean(tested), fmean(right)
    spread = _variance(recent) + _variance(tested)
    width = _NORMAL * spread**0.5
    problem = None
    if not tempered:
        problem = "the model has no temperature: its validation split is too small, or its answers have none"
    elif abs(promised - measured) > _TOO_FAR * max(_variance(tested), 1 / len(tested) ** 2) ** 0.5:
        problem = "on the test split the model is not right as often as it is sure"
    elif drifted:
        problem = "the input has drifted, so that the calibration of before may not hold"
    return Foreseen(
        value, max(value - width, 0.0), min(value + width, 1.0), len(recent), (promised, measured),
        problem is None, problem or CONDITION,
    )  # fmt: skip


def _variance(confidence: Sequence[float]) -> float:
    """Of the share of right answers, where each is right as often as is promised."""
    return sum(each * (1 - each) for each in confidence) / len(confidence) ** 2
