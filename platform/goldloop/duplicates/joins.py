"""Equal keys in large arrays: which of one are which of the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy
from numpy.typing import NDArray

_MOST_AT_ONCE = 4_000_000


def equal(
    few: NDArray[Any], many: NDArray[Any], *, below: int | None = None
) -> Iterator[tuple[NDArray[numpy.int64], NDArray[numpy.int64]]]:
    """Every pair of places `(i, j)` with `few[i] == many[j]`, some millions at once.

    Args:
        few: keys that are held in order.
        many: keys that are gone through.
        below: what all keys are below, where a table of that size is at hand for the asking.
    """
    order = numpy.argsort(few, kind="stable")
    if below is None:
        keys = few[order]
        start = numpy.searchsorted(keys, many, "left")
        count = numpy.searchsorted(keys, many, "right") - start
        found = numpy.flatnonzero(count)
        start, count = start[found], count[found]
    else:
        sizes = numpy.bincount(few, minlength=below)
        found = numpy.flatnonzero(sizes[many])
        count = sizes[many[found]]
        start = (numpy.cumsum(sizes) - sizes)[many[found]]
    total = numpy.cumsum(count)
    begun = 0
    while begun < len(found):
        done = total[begun - 1] if begun else 0
        ended = max(int(numpy.searchsorted(total, done + _MOST_AT_ONCE, "right")), begun + 1)
        sizes = count[begun:ended]
        within = numpy.arange(sizes.sum()) - numpy.repeat(total[begun:ended] - done - sizes, sizes)
        yield (
            order[numpy.repeat(start[begun:ended], sizes) + within],
            numpy.repeat(found[begun:ended], sizes),
        )
        begun = ended
