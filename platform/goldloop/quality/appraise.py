"""What each annotator's answers are worth: against known answers, against the others, in time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median, quantiles
from typing import Any

from goldloop.quality.measured import Measured, measured
from goldloop.quality.sway import Given, Sway, sway
from goldloop.records import IMPORTED, Annotation
from goldloop.tasks.base import Task

_HASTY = 1 / 3


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds on a task: the median, and between which the middle half lies; and hours in all."""

    median: float
    low: float
    high: float
    hours: float


@dataclass(frozen=True, slots=True)
class Appraised:
    """One annotator.

    Attributes:
        annotator: a pseudonym.
        answers, skips: items.
        controls: against answers that are known.
        others: against what all others together say of the same items; the own answer is no part of it.
        pace: None where the server does not know the time.
        swayed: how far suggestions sway this annotator; None where that cannot be told.
        remarks: what stands out, in words.
    """

    annotator: str
    answers: int
    skips: int
    controls: Measured | None
    others: Measured | None
    pace: Pace | None
    swayed: Sway | None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Appraisal:
    """All annotators of a recipe.

    Attributes:
        controls: of all together.
        swayed: of all together.
        annotators: those with the most answers first.
    """

    controls: Measured | None
    swayed: Sway | None
    annotators: tuple[Appraised, ...]

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def appraise(
    task: Task[Any],
    answers: Mapping[str, Mapping[str, Any]],
    acts: Iterable[Annotation],
    truths: Mapping[str, Any],
    given: Sequence[Given] = (),
) -> Appraisal:
    """Look at everyone who has answered or skipped anything.

    Args:
        task: compares answers.
        answers: key -> annotator -> target.
        acts: the last of each annotator on each item.
        truths: key -> the answer that is known.
        given: answers beside suggestions, as `sway.given_after` gives them.
    """
    known: dict[str, list[tuple[Any, Any]]] = defaultdict(list)
    beside: dict[str, list[tuple[Any, Any]]] = defaultdict(list)
    counts: Counter[str] = Counter()
    for key, targets in answers.items():
        for name, target in targets.items():
            if name == IMPORTED:
                continue
            counts[name] += 1
            if key in truths:
                known[name].append((target, truths[key]))
            others = [other for who, other in targets.items() if who not in (name, IMPORTED)]
            together = task.consensus(others, "majority") if others else None
            if together is not None:
                beside[name].append((target, together))
    skips: Counter[str] = Counter()
    times: dict[str, list[float]] = defaultdict(list)
    for act in acts:
        if act.annotator == IMPORTED:
            continue
        skips[act.annotator] += act.cancelled
        if act.lead_time is not None:
            times[act.annotator].append(act.lead_time)
    found = [
        Appraised(
            name,
            counts[name],
            skips[name],
            measured(task, known[name]),
            measured(task, beside[name]),
            _pace(times[name]),
            sway([each for each in given if each.annotator == name]),
        )
        for name in sorted({*counts, *skips}, key=lambda name: (-counts[name], name))
    ]
    together = measured(task, [pair for name in sorted(known) for pair in known[name]])
    return Appraisal(together, sway(given), tuple(_with_remarks(each, found) for each in found))


def _pace(seconds: Sequence[float]) -> Pace | None:
    if not seconds:
        return None
    low, middle, high = quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else [seconds[0]] * 3
    return Pace(middle, low, high, sum(seconds) / 3600)


def _with_remarks(one: Appraised, everyone: Sequence[Appraised]) -> Appraised:
    """What sets someone apart from the others by more than chance may."""
    remarks = []
    rest = [other for other in everyone if other is not one]
    for name, what in (("controls", "known answers"), ("others", "the others' answers")):
        own: Measured | None = getattr(one, name)
        means = [each.agreement for other in rest if (each := getattr(other, name)) is not None]
        if own is not None and own.interval is not None and means and own.interval[1] < fmean(means):
            remarks.append(f"further from {what} than the others are")
    paces = [other.pace.median for other in rest if other.pace is not None]
    if one.pace is not None and paces and one.pace.median < _HASTY * median(paces):
        remarks.append("much faster than the others")
    if one.swayed is not None and one.swayed.interval is not None and one.swayed.interval[0] > 0:
        remarks.append("follows what is suggested")
    return Appraised(
        one.annotator, one.answers, one.skips, one.controls, one.others, one.pace, one.swayed, tuple(remarks)
    )
