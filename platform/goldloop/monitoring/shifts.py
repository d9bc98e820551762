"""One look: what is known of two samples of items, and each way in which they may differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Any, Literal

from goldloop.monitoring.two_samples import (
    Apart,
    categories,
    held_together,
    mean_discrepancy,
    numbers,
    told_apart,
)

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

State = Literal["drift", "none", "unknown"]

MEASURES = {
    "input": "discrepancy",
    "input-classifier": "area under the curve over 1/2",
    "predicted-classes": "total variation",
    "confidence": "difference of shares",
    "labels": "total variation",
}
"""What is looked at -> what its distance is measured in."""
_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Sides:
    """What is held against each other.

    Attributes:
        points: `(M, D)` and `(N, D)`; None where there are too few.
        classes: what the champion says of each item, in words.
        confidence: how sure it is.
        labels: what people say: those of the champion's version, and those that came since.
    """

    points: tuple[NDArray[Any], NDArray[Any]] | str
    classes: tuple[Sequence[str], Sequence[str]] | str
    confidence: tuple[Sequence[float], Sequence[float]] | str
    labels: tuple[Sequence[str], Sequence[str]] | str


@dataclass(frozen=True, slots=True)
class Shift:
    """One thing that may have drifted.

    Attributes:
        what: a name of `MEASURES`.
        state: `unknown` where it could not be tested.
        reference, recent: how many items it was tested on.
        distance: how far the two are apart, in its own measure; None where unknown.
        chance: the p-value of its test alone, in (0, 1].
        adjusted: the p-value held together with those of all others of this look: drift if it is at most the
            rate of false alarms.
        why: why it is unknown.
    """

    what: str
    state: State
    reference: int = 0
    recent: int = 0
    distance: float | None = None
    chance: float | None = None
    adjusted: float | None = None
    why: str = ""


def look(sides: Sides, false_alarms: float, seed: int) -> tuple[tuple[Shift, ...], tuple[int, ...]]:
    """Test everything that can be tested.

    Args:
        sides: a word of why stands in place of what is not known.
        false_alarms: how often at most any of the tests may find drift where there is none.
        seed: of what is drawn.

    Returns:
        What was found, and places of the recent items that are least like the reference.
    """
    import numpy

    # Fine enough that the smallest p-value of all tests together is half of what is asked for.
    permutations = ceil(2 * len(MEASURES) / false_alarms) - 1
    tests: dict[str, tuple[tuple[Any, Any] | str, Callable[[Any, Any, Generator], Apart]]] = {
        "input": (sides.points, lambda old, new, draws: mean_discrepancy(old, new, permutations, draws)),
        "input-classifier": (sides.points, told_apart),
        "predicted-classes": (
            sides.classes,
            lambda old, new, draws: categories(old, new, permutations, draws),
        ),
        "confidence": (sides.confidence, lambda old, new, _draws: numbers(old, new)),
        "labels": (sides.labels, lambda old, new, draws: categories(old, new, permutations, draws)),
    }
    found: list[Shift] = []
    typical: tuple[int, ...] = ()
    for number, (what, (both, test)) in enumerate(tests.items()):
        if isinstance(both, str):
            found.append(Shift(what, "unknown", why=both))
            continue
        old, new = both
        apart = test(old, new, numpy.random.default_rng((seed, number)))
        typical = typical or apart.typical
        found.append(Shift(what, "none", len(old), len(new), apart.distance, apart.chance))
    return _judged(found, false_alarms), typical[:_SHOWN]


def _judged(found: Sequence[Shift], false_alarms: float) -> tuple[Shift, ...]:
    adjusted = iter(held_together([each.chance for each in found if each.chance is not None]))
    judged = []
    for each in found:
        if each.chance is not None:
            level = next(adjusted)
            each = replace(each, adjusted=level, state="drift" if level <= false_alarms else "none")
        judged.append(each)
    return tuple(judged)
