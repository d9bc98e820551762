"""Kappa: agreement on names beyond chance, for two annotators (Cohen 1960) and for more (Fleiss 1971)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from goldloop.quality.alpha import Interval, interval_of, resamples

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Kappa:
    """At most 1: perfect; 0 is what chance gives.

    Attributes:
        kind: `cohen`, where two annotators answered all items; else `fleiss`.
        value: the figure.
        interval: over resampled items.
        items: how many it is of; Fleiss' takes the items with the most usual number of answers.
    """

    kind: Literal["cohen", "fleiss"]
    value: float
    interval: Interval | None
    items: int


def kappa(answers: Sequence[Mapping[str, str]]) -> Kappa | None:
    """The kappa of a dataset.

    Args:
        answers: per item annotator -> name; items with one answer do not count.

    Returns:
        None where chance alone explains it all: no item answered twice, or every answer the same.
    """
    compared = [given for given in answers if len(given) > 1]
    people = sorted({annotator for given in compared for annotator in given})
    if len(people) == 2:
        return cohen([given[people[0]] for given in compared], [given[people[1]] for given in compared])
    return _fleiss([list(given.values()) for given in compared])


def cohen(ours: Sequence[str], theirs: Sequence[str]) -> Kappa | None:
    """Of two annotators, over the items that both answered."""
    import numpy

    names = sorted({*ours, *theirs})
    if len(names) < 2:
        return None
    ones = numpy.eye(len(names))
    mine = ones[[names.index(name) for name in ours]]
    others = ones[[names.index(name) for name in theirs]]
    same = (mine * others).sum(1)

    def of(weights: NDArray[Any]) -> NDArray[Any]:
        count = weights.sum(1)
        chance = ((weights @ mine) * (weights @ others)).sum(1) / count**2
        return _beyond(weights @ same / count, chance)

    return _kappa("cohen", of, len(same))


def _beyond(observed: NDArray[Any], chance: NDArray[Any]) -> NDArray[Any]:
    """Agreement beyond chance; no number where chance alone explains it all."""
    import numpy

    with numpy.errstate(divide="ignore", invalid="ignore"):
        return numpy.where(chance < 1, (observed - chance) / (1 - chance), numpy.nan)


def _kappa(
    kind: Literal["cohen", "fleiss"], of: Callable[[NDArray[Any]], NDArray[Any]], items: int
) -> Kappa | None:
    """From a function of how often each item was drawn `(R, U)`, which gives `(R,)`."""
    import numpy

    value = float(of(numpy.ones((1, items)))[0])
    if not math.isfinite(value):
        return None
    found = numpy.concatenate([of(weights) for weights in resamples(items, 0)])
    return Kappa(kind, value, interval_of(found.tolist()), items)


def _fleiss(units: Sequence[Sequence[str]]) -> Kappa | None:
    import numpy

    if not units:
        return None
    usual = max(Counter(map(len, units)).items(), key=lambda each: (each[1], each[0]))[0]
    kept = [unit for unit in units if len(unit) == usual]
    names = sorted({name for unit in kept for name in unit})
    tables = numpy.array([[unit.count(name) for name in names] for unit in kept], dtype=float)
    alike = (tables * (tables - 1)).sum(1) / (usual * (usual - 1))

    def of(weights: NDArray[Any]) -> NDArray[Any]:
        count = weights.sum(1)
        shares = weights @ tables / (count * usual)[:, None]
        return _beyond(weights @ alike / count, (shares**2).sum(1))

    return _kappa("fleiss", of, len(kept))
