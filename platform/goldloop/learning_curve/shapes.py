"""The forms that a learning curve may have: three families, each on a grid.

    power     a - b n^-c, and as c goes to 0 a + b log n     (Hestness et al., 2017)
    stretched a - b exp(-(n / k)^d)                          (Weibull's; Viering and Loog, 2023)
    hill      a - b / (1 + (n / k)^d)                        (Morgan, Mercer and Flodin's)

Which of them holds cannot be told from the labels at hand, and beyond these they part: that they do is the
larger part of what is not known. `a` and `b` follow from the value at two sizes, so a form is what lies
between: it is 0 at the smallest size that was measured and 1 at the largest.

S = sizes, F = forms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

Rise = Callable[["NDArray[Any]"], "NDArray[Any]"]
"""Sizes -> something that grows with them."""

_EXPONENTS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0, 1.25, 1.5, 2.0)
_STRETCHES = (0.35, 0.5, 0.7, 1.0)
_STEEPNESSES = (0.5, 0.75, 1.0, 1.5, 2.0)
_SCALES = 12
_REACH = 4.0
"""A curve's own scale lies between the smallest size / 4 and the largest x 4."""


def forms(measured: Sequence[int], asked: Sequence[int]) -> tuple[NDArray[Any], NDArray[Any], list[float]]:
    """Every form at the sizes that were measured `(F, S)` and at those asked about, and how likely each is.

    The families are equally likely before anything is measured, and so are the forms of one.

    Args:
        measured: rising, two at least.
        asked: any sizes.
    """
    import numpy

    sizes, wanted = numpy.asarray(measured, dtype=float), numpy.asarray(asked, dtype=float)
    inside, outside, prior = [], [], []
    for family in (_power(), _stretched(sizes), _hill(sizes)):
        members = list(family)
        for rise in members:
            low, high = rise(sizes[:1]), rise(sizes[-1:])
            if high > low:
                inside.append((rise(sizes) - low) / (high - low))
                outside.append((rise(wanted) - low) / (high - low))
                prior.append(1 / len(members))
    return numpy.array(inside), numpy.array(outside), prior


def _power() -> Iterator[Rise]:
    import numpy

    def rise(sizes: NDArray[Any], exponent: float) -> NDArray[Any]:
        found: NDArray[Any] = -(sizes**-exponent) if exponent else numpy.log(sizes)
        return found

    for exponent in _EXPONENTS:
        yield partial(rise, exponent=exponent)


def _stretched(sizes: NDArray[Any]) -> Iterator[Rise]:
    import numpy

    def rise(sizes: NDArray[Any], scale: float, stretch: float) -> NDArray[Any]:
        found: NDArray[Any] = -numpy.exp(-((sizes / scale) ** stretch))
        return found

    for scale in _scales(sizes):
        for stretch in _STRETCHES:
            yield partial(rise, scale=scale, stretch=stretch)


def _hill(sizes: NDArray[Any]) -> Iterator[Rise]:
    def rise(sizes: NDArray[Any], scale: float, steepness: float) -> NDArray[Any]:
        found: NDArray[Any] = -1 / (1 + (sizes / scale) ** steepness)
        return found

    for scale in _scales(sizes):
        for steepness in _STEEPNESSES:
            yield partial(rise, scale=scale, steepness=steepness)


def _scales(sizes: NDArray[Any]) -> list[float]:
    import numpy

    found: list[float] = numpy.geomspace(sizes[0] / _REACH, sizes[-1] * _REACH, _SCALES).tolist()
    return found
