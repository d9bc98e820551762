"""Kappa: agreement on names beyond chance, for two annotators (Cohen 1960) and for more (Fleiss 1971)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
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
    places = {name: place for place, name in enumerate(names)}
    cells = numpy.array(
        [places[one] * len(names) + places[other] for one, other in zip(ours, theirs, strict=True)]
    )

    def of(weights: NDArray[Any] | None) -> float:
        counts = numpy.bincount(cells, weights=weights, minlength=len(names) ** 2)
        return _cohen(counts.reshape(len(names), len(names)))

    value = of(None)
    if not math.isfinite(value):
        return None
    found = [of(row) for block in resamples(len(cells), 0) for row in block]
    return Kappa("cohen", value, interval_of(found), len(cells))


def _cohen(table: NDArray[Any]) -> float:
    """From counts `(C, C)` of what one and the other said."""
    import numpy

    shares = numpy.asarray(table, dtype=float)
    shares = shares / shares.sum()
    chance = float(shares.sum(0) @ shares.sum(1))
    return (float(shares.trace()) - chance) / (1 - chance) if chance < 1 else math.nan


def _fleiss(units: Sequence[Sequence[str]]) -> Kappa | None:
    import numpy

    if not units:
        return None
    usual = max(Counter(map(len, units)).items(), key=lambda each: (each[1], each[0]))[0]
    kept = [unit for unit in units if len(unit) == usual]
    names = sorted({name for unit in kept for name in unit})
    tables = numpy.array([[unit.count(name) for name in names] for unit in kept], dtype=float)
    alike = (tables * (tables - 1)).sum(1) / (usual * (usual - 1))

    def of(weights: NDArray[Any] | None) -> float:
        rows = numpy.ones(len(kept)) if weights is None else numpy.asarray(weights)
        shares = rows @ tables / (rows.sum() * usual)
        chance = float((shares**2).sum())
        return float(rows @ alike / rows.sum() - chance) / (1 - chance) if chance < 1 else math.nan

    value = of(None)
    if not math.isfinite(value):
        return None
    found = [of(row) for block in resamples(len(kept), 0) for row in block]
    return Kappa("fleiss", value, interval_of(found), len(kept))
