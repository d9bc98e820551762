"""How sure a figure is, and whether one model is really worse than another.

Intervals are percentile bootstraps over items (Efron 1979). Whether a difference may be chance is asked of
a paired randomisation test (Noreen 1989): which of the two models gave which of an item's two answers is
drawn anew, many times over. That test keeps its rate of false alarms however few items there are, which
the bootstrap of a handful of differing items does not.

A score depends only on how often each pair (predicted, expected) occurs, so items are first counted by
pair. Figures that follow from the confusion matrix are then computed from the counts: 1,000 resamples of
3,000 items in 77 classes in well under a second. Whether they mean what the task means by their names is
checked against `task.score`; any other figure is scored anew for each of fewer resamples.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

from goldloop.errors import ModelError
from goldloop.evaluation.judged import Estimate, Judged
from goldloop.evaluation.report import Report
from goldloop.tasks.base import Task

RESAMPLES = 1000
SLOW_RESAMPLES = 200
"""For figures that only `task.score` can compute."""

_NUMBERS_AT_ONCE = 4_000_000
_CHECKED_RESAMPLES = 3
_TOLERANCE = 1e-9

Counts = NDArray[numpy.int64]
Values = NDArray[numpy.float64]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on the same items.

    Attributes:
        difference: challenger minus champion, with its 95% interval over resampled items.
        challenger, champion: the figure of each on these items.
        chance: how often equally good models differ so far to the challenger's loss, in (0, 1].
        keys: the items that both were judged by, sorted.
        differing: on how many of them the two gave different answers.
    """

    difference: Estimate
    challenger: float
    champion: float
    chance: float
    keys: tuple[str, ...]
    differing: int


def intervals(
    task: Task[Any], predicted: Sequence[Any], expected: Sequence[Any], *, seed: int = 0
) -> dict[str, Estimate]:
    """Every figure of `task.score` with its 95% interval over resampled items.

    Where resampling has nothing to vary, as with a model that makes no error, the interval is that of
    Clopper and Pearson for a share of 0 or 1: exact for accuracy, a guide for averages over classes.
    """
    point = task.score(predicted, expected)
    pairs, counts = _counted(list(zip(predicted, expected, strict=True)))
    scorer = _Scorer(task, pairs, counts)
    drawn: dict[str, Values] = {}
    for names in (scorer.fast & point.keys(), point.keys() - scorer.fast):
        if names:
            draws = _resampled(counts, scorer.resamples(names), numpy.random.default_rng(seed))
            drawn |= scorer.scores(draws, names)
    return {name: _estimate(value, drawn[name], len(expected)) for name, value in point.items()}


def paired_difference(task: Task[Any], challenger: Report, champion: Report, metric: str) -> Estimate:
    """Challenger minus champion on the items that both were judged by, with its 95% interval.

    Raises:
        ModelError: as `compare`.
    """
    return compare(task, challenger, champion, metric).difference


def compare(
    task: Task[Any], challenger: Report, champion: Report, metric: str, *, seed: int = 0
) -> Comparison:
    """Compare two models by one figure on the items that both were judged by.

    Raises:
        ModelError: the reports are about different items, or have none in common.
    """
    joined = _joined(challenger, champion)
    triples, counts = _counted([(own.predicted, rival.predicted, own.expected) for own, rival in joined])
    none = numpy.zeros_like(counts)
    pairs = [(own, truth) for own, _, truth in triples] + [(rival, truth) for _, rival, truth in triples]
    scorer = _Scorer(task, pairs, numpy.concatenate([counts, none]))
    times = scorer.resamples({metric})
    generator = numpy.random.default_rng(seed)

    def differences(draws: Iterator[tuple[Counts, Counts]]) -> Values:
        parts = [scorer.figure(own, metric) - scorer.figure(rival, metric) for own, rival in draws]
        return numpy.concatenate(parts)

    def side_by_side(own: Counts, rival: Counts) -> tuple[Counts, Counts]:
        return numpy.hstack([own, rival]), numpy.hstack([rival, own])

    (value,) = differences(iter([side_by_side(counts[None], none[None])])).tolist()
    (champions,) = scorer.figure(numpy.concatenate([none, counts])[None], metric).tolist()
    resampled = differences(
        side_by_side(block, numpy.zeros_like(block)) for block in _resampled(counts, times, generator)
    )
    exchanged = differences(
        side_by_side(counts - block, block) for block in _exchanged(counts, times, generator)
    )
    low, high = numpy.percentile(resampled, [2.5, 97.5]).tolist()
    return Comparison(
        difference=Estimate(value=value, low=low, high=high),
        challenger=champions + value,
        champion=champions,
        chance=float(1 + numpy.count_nonzero(exchanged <= value + _TOLERANCE)) / (1 + times),
        keys=tuple(own.key for own, _ in joined),
        differing=sum(own.predicted != rival.predicted for own, rival in joined),
    )


class _Scorer:
    """The figures of a task for many resamples of the same pairs (predicted, expected).

    Args:
        task: whose figures.
        pairs: distinct ones, K of them.
        counts: how often each occurs in the sample itself, `(K,)`.
    """

    def __init__(self, task: Task[Any], pairs: Sequence[tuple[Any, Any]], counts: Counts) -> None:
        self._task = task
        self._pairs = pairs
        self._tallies = [task.tally(predicted, expected) for predicted, expected in pairs]
        self.fast = self._from_confusion(counts)

    def resamples(self, names: Collection[str]) -> int:
        """How many resamples these figures can afford."""
        return RESAMPLES if self.fast.issuperset(names) else SLOW_RESAMPLES

    def figure(self, weights: Counts, name: str) -> Values:
        """One figure of resamples: counts `(R, K)` -> `(R,)`."""
        return self.scores(iter([weights]), {name})[name]

    def scores(self, draws: Iterator[Counts], names: Collection[str]) -> dict[str, Values]:
        """Figures of resamples, in blocks of counts `(R, K)`; all of them fast or not."""
        parts: dict[str, list[Values]] = {name: [] for name in names}
        for weights in draws:
            if self.fast.issuperset(names):
                tables = _class_counts(self._ids, weights)
                for name in names:
                    parts[name].append(_FROM_CONFUSION[name](*tables))
            else:
                scored = [self._scored(row) for row in weights]
                for name in names:
                    parts[name].append(numpy.array([figures[name] for figures in scored]))
        return {name: numpy.concatenate(found) for name, found in parts.items()}

    def _scored(self, row: Counts) -> dict[str, float]:
        chosen = numpy.repeat(numpy.arange(len(row)), row).tolist()
        return self._task.summarize([self._tallies[number] for number in chosen])

    def _from_confusion(self, counts: Counts) -> frozenset[str]:
        """Names of the figures that the confusion matrix gives just as the task does."""
        place = {name: number for number, name in enumerate(self._task.classes)}
        known = all(isinstance(name, str) and name in place for pair in self._pairs for name in pair)
        if not known or not self._task.confusion(*zip(self._pairs[0], strict=True)):
            return frozenset()
        self._ids = numpy.array([[place[name] for name in pair] for pair in self._pairs]).T
        draws = _resampled(counts, _CHECKED_RESAMPLES, numpy.random.default_rng(0))
        sample = numpy.concatenate([counts[None], *draws])
        tables = _class_counts(self._ids, sample)
        wanted = [self._scored(row) for row in sample]
        return frozenset(
            name
            for name, figure in _FROM_CONFUSION.items()
            if name in wanted[0]
            and numpy.allclose(figure(*tables), [row[name] for row in wanted], rtol=0, atol=_TOLERANCE)
        )


def _class_counts(ids: Counts, weights: Counts) -> tuple[Values, Values, Values]:
    """Right answers, all answers and all items of each class in each resample, each `(R, C)`."""
    predicted, expected = ids
    size = int(ids.max()) + 1
    hit = predicted == expected
    tables: list[Values] = [
        numpy.array([numpy.bincount(place, weights=row, minlength=size) for row in chosen], dtype=float)
        for place, chosen in ((expected[hit], weights[:, hit]), (predicted, weights), (expected, weights))
    ]
    return tables[0], tables[1], tables[2]


def _accuracy(right: Values, answered: Values, held: Values) -> Values:
    return numpy.asarray(right.sum(axis=1) / held.sum(axis=1))


def _macro_f1(right: Values, answered: Values, held: Values) -> Values:
    return _mean_where(2 * right, answered + held)


def _balanced_accuracy(right: Values, answered: Values, held: Values) -> Values:
    return _mean_where(right, held)


def _mean_where(above: Values, below: Values) -> Values:
    """Mean of the ratios over the classes that have one, `(R, C)` -> `(R,)`."""
    there = below > 0
    ratios = numpy.divide(above, below, out=numpy.zeros_like(below), where=there)
    return numpy.asarray(ratios.sum(axis=1) / there.sum(axis=1))


_FROM_CONFUSION: dict[str, Callable[[Values, Values, Values], Values]] = {
    "accuracy": _accuracy,
    "macro_f1": _macro_f1,
    "balanced_accuracy": _balanced_accuracy,
}


def _counted(answers: Sequence[tuple[Any, ...]]) -> tuple[list[tuple[Any, ...]], Counts]:
    """Distinct answers in order of appearance, and how often each occurs."""
    places: dict[str, int] = {}
    distinct: list[tuple[Any, ...]] = []
    counts: list[int] = []
    for answer in answers:
        place = places.setdefault(json.dumps(answer, sort_keys=True), len(distinct))
        if place == len(distinct):
            distinct.append(answer)
            counts.append(0)
        counts[place] += 1
    return distinct, numpy.array(counts, dtype=numpy.int64)


def _resampled(counts: Counts, times: int, generator: numpy.random.Generator) -> Iterator[Counts]:
    """As many items drawn with replacement, `times` over: counts in blocks `(R, K)`."""
    total = int(counts.sum())
    for size in _blocks(times, len(counts)):
        yield generator.multinomial(total, counts / total, size=size)


def _exchanged(counts: Counts, times: int, generator: numpy.random.Generator) -> Iterator[Counts]:
    """For each item a coin is tossed, `times` over: how many change sides, in blocks `(R, K)`."""
    for size in _blocks(times, len(counts)):
        yield generator.binomial(counts, 0.5, size=(size, len(counts)))


def _blocks(times: int, width: int) -> Iterator[int]:
    most = max(1, _NUMBERS_AT_ONCE // width)
    for start in range(0, times, most):
        yield min(most, times - start)


def _estimate(value: float, drawn: Values, items: int) -> Estimate:
    low, high = numpy.percentile(drawn, [2.5, 97.5]).tolist()
    if numpy.ptp(drawn) <= _TOLERANCE:
        reach = 0.025 ** (1 / items)
        low, high = (low * reach, high) if value > 0 else (low, 1 - reach)
    return Estimate(value=value, low=min(low, value), high=max(high, value))


def _joined(challenger: Report, champion: Report) -> list[tuple[Judged, Judged]]:
    """The items that both were judged by; those that one had to leave out are left out."""
    where = f"{challenger.model} and {champion.model}"
    remedy = "Evaluate both on one split of one version"
    own = {item.key: item for item in challenger.items}
    rival = {item.key: item for item in champion.items}
    odd = sorted(
        key
        for key in own.keys() ^ rival.keys()
        if key not in challenger.left_out and key not in champion.left_out
    )
    odd += sorted(key for key in own.keys() & rival.keys() if own[key].expected != rival[key].expected)
    if odd:
        raise ModelError(
            "the two models were not judged by the same items and labels",
            where=where,
            found=f"{challenger.version} {challenger.split} against {champion.version} {champion.split}, "
            f"{len(odd)} items differ, such as {odd[0]}",
            remedy=remedy,
        )
    both = sorted(own.keys() & rival.keys())
    if not both:
        raise ModelError(
            "the two models were judged by no item in common",
            where=where,
            found=f"{len(own)} items and {len(rival)} items",
            remedy="Label more items without pre-annotations",
        )
    return [(own[key], rival[key]) for key in both]
