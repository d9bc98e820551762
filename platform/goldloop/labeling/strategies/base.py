"""What every selection strategy has in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from goldloop.plugins import Plugin
from goldloop.records import Item, Prediction

if TYPE_CHECKING:
    from numpy.typing import NDArray

Predictions = Callable[[Sequence[Item]], Sequence[Prediction[Any]]]
"""What the champion says of each item, in order."""

Points = Callable[[Sequence[Item]], "NDArray[Any]"]
"""Each item as a point, float32 `(N, D)`, in order: what is alike is near."""


@dataclass(frozen=True, slots=True)
class Pool:
    """What there is to choose from, and what can be asked about it.

    Attributes:
        items: those that no annotator has been sent yet, in an order of chance.
        wanted: how many are looked for; the order of what comes behind them does not matter.
        taken: items that annotators have already, to be unlike of.
        predictions: None while there is no champion.
        points: None where items cannot be made points of.
    """

    items: Sequence[Item]
    wanted: int
    taken: Sequence[Item] = ()
    predictions: Predictions | None = None
    points: Points | None = None


class Strategy(Plugin):
    """One way to put items in order.

    The same pool gives the same order; what a strategy would need and the pool does not have makes it random.
    """

    @abstractmethod
    def order(self, pool: Pool) -> list[Item]:
        """All items of the pool, the most useful first."""


def by_score(pool: Pool, score: Callable[[Prediction[Any]], float]) -> list[Item]:
    """Items by what a score makes of the champion's answers, the lowest first."""
    if pool.predictions is None:
        return list(pool.items)
    scores = [score(prediction) for prediction in pool.predictions(pool.items)]
    places = sorted(range(len(scores)), key=scores.__getitem__)
    return [pool.items[place] for place in places]


def first(pool: Pool, places: Sequence[int]) -> list[Item]:
    """The items at some places, then all others as they are."""
    chosen = set(places)
    others = (item for place, item in enumerate(pool.items) if place not in chosen)
    return [*(pool.items[place] for place in places), *others]
