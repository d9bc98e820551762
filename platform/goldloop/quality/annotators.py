"""What is known of each annotator's work: how much, how fast, how near to the others and to the outcome."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, median
from typing import Any

from goldloop.quality.alpha import Interval, alpha, mean_interval
from goldloop.quality.kappa import cohen
from goldloop.records import IMPORTED, Annotation
from goldloop.tasks.base import Task

_MOST_PAIRS = 45
"""Ten annotators are 45 pairs; of more, those who share the most items."""
_BUDGET = 200


@dataclass(frozen=True, slots=True)
class Annotator:
    """One annotator; agreement in [0, 1] by the task's own measure, intervals of 95% over resampled items.

    Attributes:
        answers: items answered.
        skips: items skipped.
        shared: items that others have answered too.
        with_others: mean agreement with each other answer to these.
        with_consensus: mean agreement with what was settled, over items with another annotator's answer; it
            flatters, since the own answer is part of it.
        consensus_interval: of that.
        seconds: median time on a task, where the server knows it.
        hours: time on all of them, in sum.
    """

    answers: int
    skips: int
    shared: int
    with_others: float | None
    with_consensus: float | None
    consensus_interval: Interval | None
    seconds: float | None
    hours: float | None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two annotators.

    Attributes:
        annotators: pseudonyms in order.
        items: how many both answered.
        agreement: the mean, in [0, 1].
        beyond_chance: Cohen's kappa where an answer is one class, else Krippendorff's alpha; None where all
            their answers are the same.
        interval: of that.
    """

    annotators: tuple[str, str]
    items: int
    agreement: float
    beyond_chance: float | None
    interval: Interval | None


Alike = Mapping[str, Mapping[tuple[str, str], float]]
"""Key -> two annotators in order -> how alike their answers are, of items with two answers or more."""


def compare(task: Task[Any], answers: Mapping[str, Mapping[str, Any]]) -> Alike:
    """Every two answers to one item, held against each other once: of masks that takes its time."""
    return {
        key: {
            (one, other): task.agreement(given[one], given[other])
            for one, other in combinations(sorted(given), 2)
        }
        for key, given in answers.items()
        if len(given) > 1
    }


def annotators_of(
    task: Task[Any],
    answers: Mapping[str, Mapping[str, Any]],
    alike: Alike,
    settled: Mapping[str, Any],
    acts: Sequence[Annotation],
) -> dict[str, Annotator]:
    """Everyone who has answered or skipped anything.

    Args:
        task: compares answers.
        answers: key -> annotator -> target.
        alike: how alike these are.
        settled: key -> the label's target, of items that have one.
        acts: the last of each annotator on each item.
    """
    others: dict[str, list[float]] = defaultdict(list)
    outcome: dict[str, list[float]] = defaultdict(list)
    counts: Counter[str] = Counter()
    shared: Counter[str] = Counter()
    for key, given in answers.items():
        counts.update(given.keys())
        if len(given) < 2:
            continue
        shared.update(given.keys())
        for pair, agreement in alike[key].items():
            for name in pair:
                others[name].append(agreement)
        if key in settled:
            for name, target in given.items():
                outcome[name].append(task.agreement(target, settled[key]))
    skips = Counter(act.annotator for act in acts if act.cancelled)
    times: dict[str, list[float]] = defaultdict(list)
    for act in acts:
        if act.lead_time is not None:
            times[act.annotator].append(act.lead_time)
    return {
        name: Annotator(
            answers=counts[name],
            skips=skips[name],
            shared=shared[name],
            with_others=fmean(others[name]) if others[name] else None,
            with_consensus=fmean(outcome[name]) if outcome[name] else None,
            consensus_interval=mean_interval(outcome[name]),
            seconds=median(times[name]) if times[name] else None,
            hours=sum(times[name]) / 3600 if times[name] else None,
        )
        for name in sorted({*counts, *skips} - {IMPORTED})
    }


def pairs_of(
    task: Task[Any], answers: Mapping[str, Mapping[str, Any]], alike: Alike, *, names: bool
) -> tuple[Pair, ...]:
    """Who agrees with whom, those who share the most items first.

    Args:
        task: compares answers.
        answers: key -> annotator -> target.
        alike: how alike these are.
        names: whether an answer is one class.
    """
    both: dict[tuple[str, str], list[str]] = defaultdict(list)
    for key, pairs in alike.items():
        for pair in pairs:
            if IMPORTED not in pair:
                both[pair].append(key)
    most = sorted(both, key=lambda pair: (-len(both[pair]), pair))[:_MOST_PAIRS]
    return tuple(
        _pair(
            task,
            (one, other),
            [(answers[key][one], answers[key][other]) for key in both[one, other]],
            [alike[key][one, other] for key in both[one, other]],
            names=names,
        )
        for one, other in most
    )


def _pair(
    task: Task[Any],
    people: tuple[str, str],
    given: Sequence[tuple[Any, Any]],
    alike: Sequence[float],
    *,
    names: bool,
) -> Pair:
    found: Any
    if names:
        found = cohen([one for one, _ in given], [other for _, other in given])
    else:
        unlike = [1 - agreement for agreement in alike]
        found = alpha(given, lambda one, other: 1 - task.agreement(one, other), budget=_BUDGET, inside=unlike)
    value, interval = (None, None) if found is None else (found.value, found.interval)
    return Pair(people, len(given), fmean(alike), value, interval)
