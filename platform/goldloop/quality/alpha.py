"""Krippendorff's alpha for any measure of how unlike two answers are, with intervals over resampled items.

U = items with two answers or more, K = distinct answers, R = resamples. Alpha is `1 - observed / expected`
disagreement (Krippendorff, Content Analysis, 2019, chapter 12); it is defined for any difference of two
answers (Braylan, Alonso and Lease, Measuring annotator agreement generally across complex structured,
multi-object, and free-text annotation tasks, 2022). Resampling draws whole items, as answers to one item
belong together.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

Interval = tuple[float, float]
"""The bounds of a figure's 95% interval over resampled items."""

Unlike = Callable[[Any, Any], float]
"""How unlike two answers are, in [0, 1]; symmetric, 0 for equal ones."""

RESAMPLES = 400
_SHARES = (2.5, 97.5)
_MOST_WEIGHTS = 4_000_000
"""Weights in memory at once; 8 bytes each."""


@dataclass(frozen=True, slots=True)
class Alpha:
    """At most 1: perfect; 0 is what chance gives, below 0 is worse than chance.

    `interval` is None where resampled items leave nothing to tell.
    """

    value: float
    interval: Interval | None


def alpha(
    units: Sequence[Sequence[Any]],
    unlike: Unlike,
    *,
    budget: int,
    inside: Sequence[float] | None = None,
    seed: int = 0,
) -> Alpha | None:
    """Alpha by a difference of answers.

    Args:
        units: per item its answers, two or more, JSON values.
        unlike: the difference.
        budget: how many pairs of answers to different items may be compared: where that is enough for all
            distinct ones, the expected disagreement is exact, else from pairs drawn with a fixed seed, with
            a standard error of at most `0.5 / sqrt(budget)`.
        inside: per item how unlike its answers are in the mean of all pairs, where that is known.
        seed: of the resampling.

    Returns:
        None where no disagreement can be expected, since every answer is the same.
    """
    import numpy

    if not units:
        return None
    if inside is None:
        inside = [fmean(unlike(one, other) for one, other in combinations(unit, 2)) for unit in units]
    sizes = numpy.array([len(unit) for unit in units], dtype=float)
    return _alpha(sizes, numpy.array(inside), expected_disagreement(units, unlike, budget), seed)


def nominal(units: Iterable[Sequence[Hashable]], *, seed: int = 0) -> Alpha | None:
    """Alpha of names, which are the same or not; exact for any number of them."""
    import numpy

    tables = [Counter(unit) for unit in units if len(unit) > 1]
    if not tables:
        return None
    places = {
        name: place for place, name in enumerate(dict.fromkeys(name for table in tables for name in table))
    }
    counts = numpy.zeros((len(tables), len(places)))
    for row, table in enumerate(tables):
        for name, count in table.items():
            counts[row, places[name]] = count
    sizes = counts.sum(1)
    inside = 1 - (counts * (counts - 1)).sum(1) / (sizes * (sizes - 1))

    def expected(weights: NDArray[Any]) -> NDArray[Any]:
        totals = weights @ counts
        whole = totals.sum(1)
        mean: NDArray[Any] = 1 - (totals * (totals - 1)).sum(1) / (whole * (whole - 1))
        return mean

    return _alpha(sizes, inside, expected, seed)


def resamples(count: int, seed: int, number: int = RESAMPLES) -> Iterator[NDArray[Any]]:
    """How often each of `count` items is drawn: blocks `(r, count)` of `number` resamples in all."""
    import numpy

    chance = numpy.random.default_rng(seed)
    rows = max(1, min(number, _MOST_WEIGHTS // max(count, 1)))
    shares = numpy.full(count, 1 / count)
    for start in range(0, number, rows):
        yield chance.multinomial(count, shares, size=min(rows, number - start)).astype(float)


def interval_of(values: Sequence[float]) -> Interval | None:
    """The middle 95% of a figure over resamples; None where too few of them have one."""
    import numpy

    known = [value for value in values if math.isfinite(value)]
    if len(known) < RESAMPLES // 2:
        return None
    low, high = numpy.percentile(known, _SHARES).tolist()
    return low, high


def mean_interval(values: Sequence[float], *, seed: int = 0) -> Interval | None:
    """The interval of a mean over items; None with fewer than two."""
    import numpy

    if len(values) < 2:
        return None
    whole = numpy.asarray(values, dtype=float)
    means = [weights @ whole / len(whole) for weights in resamples(len(whole), seed)]
    return interval_of(numpy.concatenate(means).tolist())


def _alpha(
    sizes: NDArray[Any], inside: NDArray[Any], expected: Callable[[NDArray[Any]], NDArray[Any]], seed: int
) -> Alpha | None:
    """From each item's number of answers and their mean difference `(U,)`, and the expected difference."""
    import numpy

    def of(weights: NDArray[Any]) -> NDArray[Any]:
        observed = weights @ (sizes * inside) / (weights @ sizes)
        with numpy.errstate(divide="ignore", invalid="ignore"):
            chance = expected(weights)
            return numpy.where(chance > 0, 1 - observed / chance, numpy.nan)

    value = float(of(numpy.ones((1, len(sizes))))[0])
    if not math.isfinite(value):
        return None
    found = numpy.concatenate([of(weights) for weights in resamples(len(sizes), seed)])
    return Alpha(value, interval_of(found.tolist()))


def expected_disagreement(
    units: Sequence[Sequence[Any]], unlike: Unlike, budget: int
) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """How unlike two answers are on average, whichever items they are about.

    Returns:
        a function of how often each item was drawn `(R, U)`, which gives `(R,)`.
    """
    import numpy

    texts = [[json.dumps(answer, sort_keys=True) for answer in unit] for unit in units]
    distinct = sorted({text for unit in texts for text in unit})
    answers = {
        text: answer
        for unit, row in zip(units, texts, strict=True)
        for answer, text in zip(unit, row, strict=True)
    }
    if math.comb(len(distinct), 2) <= budget:
        return _exactly(texts, distinct, answers, unlike)
    # Sorted, so that the draw depends on the answers alone and not on their order.
    flat = sorted((text, number) for number, row in enumerate(texts) for text in row)
    chance = numpy.random.default_rng(0)
    firsts = chance.integers(0, len(flat), budget)
    seconds = (firsts + chance.integers(1, len(flat), budget)) % len(flat)
    pairs = [(flat[one], flat[other]) for one, other in zip(firsts.tolist(), seconds.tolist(), strict=True)]
    found = numpy.array([unlike(answers[one], answers[other]) for (one, _), (other, _) in pairs])
    ours, theirs = numpy.array([[one, other] for (_, one), (_, other) in pairs]).T

    def expected(weights: NDArray[Any]) -> NDArray[Any]:
        drawn = weights[:, ours] * weights[:, theirs]
        mean: NDArray[Any] = drawn @ found / drawn.sum(1)
        return mean

    return expected


def _exactly(
    texts: Sequence[Sequence[str]], distinct: Sequence[str], answers: dict[str, Any], unlike: Unlike
) -> Callable[[NDArray[Any]], NDArray[Any]]:
    import numpy

    places = {text: place for place, text in enumerate(distinct)}
    table = numpy.zeros((len(distinct), len(distinct)))
    for one, other in combinations(range(len(distinct)), 2):
        table[one, other] = table[other, one] = unlike(answers[distinct[one]], answers[distinct[other]])
    counts = numpy.zeros((len(texts), len(distinct)))
    for row, unit in enumerate(texts):
        for text in unit:
            counts[row, places[text]] += 1

    def expected(weights: NDArray[Any]) -> NDArray[Any]:
        totals = weights @ counts
        whole = totals.sum(1)
        mean: NDArray[Any] = ((totals @ table) * totals).sum(1) / (whole * (whole - 1))
        return mean

    return expected
