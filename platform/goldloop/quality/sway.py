"""How far suggestions that people see sway what they answer.

On a share of the items, drawn by chance, a model's suggestion is kept from annotators. If they agree with the
model more often where they see what it says than where they do not, the difference is what seeing it does:
chance alone decides who sees it, and all that was open when the model was asked counts, looked at or not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any

from goldloop.quality.alpha import Interval, interval_of, resamples
from goldloop.records import Annotation, Suggestion
from goldloop.tasks.base import Task

_FEWEST = 5
"""Items on each side, below which nothing is told."""


@dataclass(frozen=True, slots=True)
class Arm:
    """Answers on items of one side.

    Attributes:
        items: how many.
        answers: to them.
        agreement: with the suggestion, the mean in [0, 1].
        seconds: median time of an answer, where the server knows it.
    """

    items: int
    answers: int
    agreement: float
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Sway:
    """Seen against unseen.

    Attributes:
        shown, blind: the two sides.
        difference: how much more often people agree with what they see, in [-1, 1].
        interval: of that, 95%, over resampled items of both sides.
    """

    shown: Arm
    blind: Arm
    difference: float
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Given:
    """An answer that came after a suggestion."""

    key: str
    annotator: str
    shown: bool
    agreement: float
    seconds: float | None


def given_after(
    task: Task[Any],
    suggestions: Iterable[Suggestion],
    answers: Mapping[str, Mapping[str, Any]],
    acts: Iterable[Annotation],
) -> list[Given]:
    """Answers beside the last suggestion before them.

    Args:
        task: compares answers.
        suggestions: of all models.
        answers: key -> annotator -> target.
        acts: the last of each annotator on each item.
    """
    made: dict[str, list[Suggestion]] = defaultdict(list)
    for suggestion in suggestions:
        made[suggestion.key].append(suggestion)
    found = []
    for act in acts:
        target = answers.get(act.key, {}).get(act.annotator)
        moment = _moment(act.created_at)
        before = [each for each in made.get(act.key, ()) if _moment(each.made_at) <= moment]
        if target is None or not before:
            continue
        last = max(before, key=lambda each: _moment(each.made_at))
        if not last.shown and any(each.shown for each in before):
            # It was on neither side: another model's was seen.
            continue
        alike = task.agreement(target, last.target)
        found.append(Given(act.key, act.annotator, last.shown, alike, act.lead_time))
    return found


def sway(given: Sequence[Given]) -> Sway | None:
    """The difference that seeing makes; None where one side has too few items to tell."""
    sides = [_sums([each for each in given if each.shown is shown]) for shown in (True, False)]
    if any(len(side) < _FEWEST for side in sides):
        return None
    shown, blind = (_arm([each for each in given if each.shown is shown]) for shown in (True, False))
    ours, theirs = (_means(side, seed) for seed, side in enumerate(sides))
    interval = interval_of([one - other for one, other in zip(ours, theirs, strict=True)])
    return Sway(shown, blind, shown.agreement - blind.agreement, interval)


def _sums(given: Sequence[Given]) -> dict[str, list[float]]:
    sums: dict[str, list[float]] = defaultdict(list)
    for each in given:
        sums[each.key].append(each.agreement)
    return sums


def _means(side: Mapping[str, Sequence[float]], seed: int) -> list[float]:
    """The mean over answers, of items drawn anew: answers to one item belong together."""
    import numpy

    sums = numpy.array([sum(values) for values in side.values()])
    counts = numpy.array([len(values) for values in side.values()], dtype=float)
    found: list[float] = []
    for weights in resamples(len(side), seed):
        found += (weights @ sums / (weights @ counts)).tolist()
    return found


def _arm(given: Sequence[Given]) -> Arm:
    times = [each.seconds for each in given if each.seconds is not None]
    return Arm(
        items=len({each.key for each in given}),
        answers=len(given),
        agreement=sum(each.agreement for each in given) / len(given),
        seconds=median(times) if times else None,
    )


def _moment(written: str) -> datetime:
    moment = datetime.fromisoformat(written)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
