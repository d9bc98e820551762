"""`strategy: diversity`: items as unlike as can be of each other, and of what annotators have already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import override

from goldloop.labeling.strategies.base import Pool, Strategy, first
from goldloop.records import Item

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Diversity(Strategy):
    """Greedy k-center (Sener and Savarese, 2018): each next item is the farthest from all chosen so far.

    N = items, k = wanted, T = taken, D = width of a point: time O(N (k + T) D), memory O(N D).
    """

    @override
    def order(self, pool: Pool) -> list[Item]:
        if pool.points is None or not pool.items:
            return list(pool.items)
        points = unit(pool.points(pool.items))
        taken = unit(pool.points(pool.taken)) if pool.taken else None
        return first(pool, k_center(points, taken, pool.wanted))


def k_center(points: NDArray[Any], taken: NDArray[Any] | None, count: int) -> list[int]:
    """Places of `count` points `(N, D)`, each the farthest from those before it and from `taken` `(T, D)`."""
    import numpy

    chosen: list[int] = []
    if taken is None or not len(taken):
        # The one in the midst of all stands for the most.
        chosen.append(int(numpy.argmin(_squared(points, points.mean(0)))))
        nearest = _squared(points, points[chosen[0]])
    else:
        nearest = numpy.full(len(points), numpy.inf)
        for other in taken:
            numpy.minimum(nearest, _squared(points, other), out=nearest)
    nearest[chosen] = -1
    while len(chosen) < min(count, len(points)):
        place = int(numpy.argmax(nearest))
        chosen.append(place)
        numpy.minimum(nearest, _squared(points, points[place]), out=nearest)
        nearest[chosen] = -1
    return chosen[:count]


def unit(points: NDArray[Any]) -> NDArray[Any]:
    """Points `(N, D)` of length 1, so that what counts is their direction; the origin stays."""
    import numpy

    lengths = numpy.linalg.norm(points, axis=1, keepdims=True)
    scaled: NDArray[Any] = points / numpy.where(lengths > 0, lengths, 1)
    return scaled


def _squared(points: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    difference = points - other
    squared: NDArray[Any] = (difference * difference).sum(1)
    return squared
