"""Items that are far from all others: wrong uploads, test pictures, another language, one of its kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from goldloop.quality.findings import Example, Finding

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NEIGHBOURS = 10
_FEWEST = 30
_FAR = 3.5
"""A modified z-score above which a value is an outlier (Iglewicz and Hoaglin 1993)."""
_SHOWN = 24


def outliers(keys: Sequence[str], points: NDArray[Any], seen_by: str) -> Finding:
    """Items whose nearest neighbours are far away.

    Args:
        keys: of N items.
        points: `(N, D)`.
        seen_by: what has made the points, in a few words.
    """
    if len(keys) < _FEWEST:
        return Finding(
            kind="outliers",
            state="unknown",
            title="Too few items to tell which are unlike all others",
            meaning="",
            certainty=f"{len(keys)} items; it takes {_FEWEST}",
            remedy="Label more items",
        )
    distances, scores = far_away(points)
    order = [int(place) for place in (-scores).argsort(kind="stable") if scores[place] > _FAR]
    usual = float(sorted(distances.tolist())[len(distances) // 2])
    examples = [
        Example(
            keys[place], f"{distances[place] / max(usual, 1e-12):.1f} times as far from the others as usual"
        )
        for place in order[:_SHOWN]
    ]
    return Finding(
        kind="outliers",
        state="look" if order else "fine",
        title=f"{len(order):,} items are unlike all others" if order else "No item is unlike all others",
        meaning="Such items are often wrong uploads, empty or broken content, or a kind of case that is too "
        "rare for a model to learn."
        if order
        else "",
        certainty=f"Judged by the mean distance to {_neighbours(len(keys))} nearest neighbours, as "
        f"{seen_by} sees "
        f"them; what is called an outlier lies more than {_FAR} robust deviations above the usual distance.",
        remedy="Look at them: take out of the source what does not belong there; of what does, collect more."
        if order
        else "",
        examples=examples,
        count=len(order),
    )


def far_away(points: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Of each item the mean distance to its neighbours, and how unusual that is: `(N,)` each."""
    import numpy
    from sklearn.neighbors import NearestNeighbors

    lengths = numpy.linalg.norm(points, axis=1, keepdims=True)
    ready = points / numpy.maximum(lengths, 1e-12)
    count = _neighbours(len(ready))
    found, _ = NearestNeighbors(n_neighbors=count).fit(ready).kneighbors()
    distances = found.mean(1)
    logarithms = numpy.log(numpy.maximum(distances, 1e-6))
    middle = numpy.median(logarithms)
    spread = numpy.median(numpy.abs(logarithms - middle))
    return distances, 0.6745 * (logarithms - middle) / max(float(spread), 1e-3)


def _neighbours(count: int) -> int:
    return min(_NEIGHBOURS, count - 1)
