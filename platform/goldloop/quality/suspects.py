"""Labels that are probably wrong: what a model that has not seen an item says of its label, worst first.

Ranked by cleanlab: names by the probability of the given one (confident learning tells how many are wrong:
Northcutt, Jiang and Chuang 2021), sets of names, boxes (ObjectLab), tokens and pixels by its scores for them.
Other answers are held against the model's by the task's own measure. A quality is in [0, 1]: the lower, the
more is to be said against the label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from goldloop.quality.conflicts import Conflict
from goldloop.tasks.base import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FENCE = 1.5
"""Of the interquartile range, below the lower quartile: Tukey's fence (1977)."""
_GOOD = 0.9
"""What is at least so good is not flagged, however much better all others are."""
_ONE_OF_TWO = 0.5
"""The quality, at most, of a label that a near-duplicate's contradicts."""
_HARDLY = 0.05
"""A token whose label the model thinks less likely than that flags its text."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """One label in doubt.

    Attributes:
        key: the item's.
        quality: in [0, 1]; the lower, the more doubtful the label.
        flagged: whether it is one of those that are probably wrong.
        given: the label's target.
        suggested: what the model says.
        reason: why, in a sentence without a full stop.
        split: where the item is.
    """

    key: str
    quality: float
    flagged: bool
    given: Any
    suggested: Any
    reason: str
    split: str


@dataclass(frozen=True, slots=True)
class Suspects:
    """All labels of a version, the most doubtful first.

    Attributes:
        version: `NAME@DIGEST`.
        way: `embeddings` (a linear head on a checkpoint's frozen embeddings) or `training` (the engine).
        model: what has judged, in a few words.
        folds: how many.
        metric: the task's figure of the out-of-fold answers against the labels, which tells how far to trust
            them.
        value: that figure.
        task: the task's configuration, with the version's classes.
        items: the labels, most doubtful first.
        page: where the page lies.
    """

    version: str
    way: str
    model: str
    folds: int
    metric: str
    value: float
    task: Mapping[str, Any]
    items: tuple[Suspect, ...]
    page: str = ""

    @property
    def flagged(self) -> tuple[Suspect, ...]:
        """Those that are probably wrong."""
        return tuple(item for item in self.items if item.flagged)

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "flagged": len(self.flagged)}

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Suspects:
        """From JSON."""
        fields = {name: value for name, value in facts.items() if name != "flagged"}
        items = tuple(Suspect(**item) for item in fields.pop("items"))
        return cls(**{**fields, "items": items})


@dataclass(frozen=True, slots=True)
class Labelled:
    """An item as it is labelled, whatever its content."""

    key: str
    split: str
    target: Any


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an out-of-fold model says of an item.

    Attributes:
        target: its answer.
        quality: of the given label, where the model has judged that itself (tokens, pixels).
        reason: why.
        scores: probability of each class name where the task has them.
    """

    target: Any
    quality: float | None = None
    reason: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)


def rank(task: Task[Any], items: Sequence[Labelled], verdicts: Sequence[Verdict]) -> list[Suspect]:
    """Rank labels of any kind by what out-of-fold models say of their items."""
    import numpy

    if task.answers_are_classes:
        shares = numpy.array([[verdict.scores[name] for name in task.classes] for verdict in verdicts])
        sets = any(isinstance(item.target, list) for item in items)
        return by_probabilities(task, items, shares) if sets else by_probability(task, items, shares)
    if any(verdict.quality is not None for verdict in verdicts):
        return by_places(task, items, verdicts)
    if task.boxes_of(items[0].target) is not None:
        return by_boxes(task, items, verdicts)
    return by_agreement(task, items, verdicts)


def by_probability(task: Task[Any], items: Sequence[Labelled], probabilities: NDArray[Any]) -> list[Suspect]:
    """Rank answers that are one class.

    Args:
        task: with the version's classes.
        items: N labels.
        probabilities: out of fold `(N, C)`, rows adding up to 1.
    """
    import numpy
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    given = numpy.array([task.classes.index(item.target) for item in items])
    kept = numpy.unique(given)
    if len(kept) < 2:
        return []
    # Classes without any label have no noise rate; what the model gives them is shared out among the others.
    places = {int(identity): place for place, identity in enumerate(kept)}
    shares = probabilities[:, kept] + 1e-9
    shares = shares / shares.sum(1, keepdims=True)
    labels = numpy.array([places[int(identity)] for identity in given])
    quality = get_label_quality_scores(labels, shares)
    flags = find_label_issues(labels, shares, n_jobs=1)
    best = shares.argmax(1)
    found = []
    for place, item in enumerate(items):
        name = task.classes[int(kept[best[place]])]
        sure = shares[place, best[place]]
        reason = (
            f"labelled {item.target!r}, of which a model that has not seen the item gives "
            f"{quality[place]:.0%}; {name!r} gets {sure:.0%}"
            if name != item.target
            else f"the model says the same, with {sure:.0%}"
        )
        flagged = bool(flags[place]) and name != item.target
        found.append(_suspect(item, float(quality[place]), flagged, name, reason))
    return ranked(found)


def by_probabilities(
    task: Task[Any], items: Sequence[Labelled], probabilities: NDArray[Any]
) -> list[Suspect]:
    """Rank answers that are sets of classes, out-of-fold probabilities `(N, C)` of each by itself."""
    import numpy
    from cleanlab.multilabel_classification import get_label_quality_scores
    from cleanlab.multilabel_classification.filter import find_label_issues

    given = [[task.classes.index(name) for name in item.target] for item in items]
    shares = numpy.clip(probabilities, 1e-6, 1 - 1e-6)
    quality = get_label_quality_scores(given, shares)
    seen = [place for place in range(len(task.classes)) if any(place in ids for ids in given)]
    # Confident learning needs both answers of a class; one that is nowhere or everywhere has none to doubt.
    told = [place for place in seen if not all(place in ids for ids in given)]
    flags = numpy.zeros(len(items), dtype=bool)
    if told:
        narrowed = [[told.index(place) for place in ids if place in told] for ids in given]
        flags = find_label_issues(narrowed, shares[:, told], n_jobs=1)
    found = []
    for place, item in enumerate(items):
        suggested = [name for name, share in zip(task.classes, shares[place], strict=True) if share >= 0.5]
        doubts = [
            f"{name!r} {'is' if name in item.target else 'is not'} chosen and gets "
            f"{shares[place, number]:.0%}"
            for number, name in enumerate(task.classes)
            if (name in item.target) != (shares[place, number] >= 0.5)
        ]
        reason = "; ".join(doubts) or "the model says the same"
        flagged = bool(flags[place]) and bool(doubts)
        found.append(_suspect(item, float(quality[place]), flagged, suggested, reason))
    return ranked(found)


def by_boxes(task: Task[Any], items: Sequence[Labelled], verdicts: Sequence[Verdict]) -> list[Suspect]:
    """Rank answers that are things with a box: overlooked, badly placed, or of another class (ObjectLab)."""
    from goldloop.quality.boxes import flags, qualities

    given, predicted = [item.target for item in items], [verdict.target for verdict in verdicts]
    found = qualities(task, given, predicted)
    fenced = _fenced(items, verdicts, [quality for quality, _ in found], [reason for _, reason in found])
    known = {item.key for item, flag in zip(items, flags(task, given, predicted), strict=True) if flag}
    return [replace(suspect, flagged=suspect.flagged or suspect.key in known) for suspect in fenced]


def by_places(task: Task[Any], items: Sequence[Labelled], verdicts: Sequence[Verdict]) -> list[Suspect]:
    """Rank answers whose tokens or pixels the model has judged one by one."""
    qualities = [1.0 if verdict.quality is None else verdict.quality for verdict in verdicts]
    if task.modality == "image":
        return _fenced(items, verdicts, qualities, [verdict.reason for verdict in verdicts])
    return ranked(
        [
            _suspect(item, quality, quality < _HARDLY, verdict.target, verdict.reason)
            for item, verdict, quality in zip(items, verdicts, qualities, strict=True)
        ]
    )


def by_agreement(task: Task[Any], items: Sequence[Labelled], verdicts: Sequence[Verdict]) -> list[Suspect]:
    """Rank any other answers by how like the model's they are, by the task's own measure."""
    alike = [
        task.agreement(item.target, verdict.target) for item, verdict in zip(items, verdicts, strict=True)
    ]
    reasons = [f"the model's answer is alike by {share:.0%}" for share in alike]
    return _fenced(items, verdicts, alike, reasons)


def _fenced(
    items: Sequence[Labelled],
    verdicts: Sequence[Verdict],
    qualities: Sequence[float],
    reasons: Sequence[str],
) -> list[Suspect]:
    """Flag what lies below Tukey's fence: that is far from what is usual here."""
    import numpy

    low, high = numpy.percentile(qualities, (25, 75)) if len(qualities) else (0.0, 0.0)
    fence = min(low - _FENCE * (high - low), _GOOD)
    return ranked(
        [
            _suspect(item, quality, bool(quality < fence), verdict.target, reason)
            for item, verdict, quality, reason in zip(items, verdicts, qualities, reasons, strict=True)
        ]
    )


def _suspect(item: Labelled, quality: float, flagged: bool, suggested: Any, reason: str) -> Suspect:
    return Suspect(
        key=item.key,
        quality=round(min(max(quality, 0.0), 1.0), 6),
        flagged=flagged,
        given=item.target,
        suggested=suggested,
        reason=reason,
        split=item.split,
    )


def with_conflicts(task: Task[Any], found: Sequence[Suspect], conflicts: Sequence[Conflict]) -> list[Suspect]:
    """Doubt labels, too, that near-duplicates of their items contradict: one of two at most is right."""
    doubted = {key: conflict for conflict in conflicts for key in conflict.doubted}
    given = {suspect.key: suspect.given for suspect in found}

    def contradicted(suspect: Suspect) -> Suspect:
        conflict = doubted.get(suspect.key)
        if conflict is None:
            return suspect
        own = task.describe(suspect.given)
        others = [key for key in conflict.keys if key in given and task.describe(given[key]) != own]
        twin = f"; a near-duplicate, {others[0][:12]}, is labelled {task.describe(given[others[0]])}"
        return replace(
            suspect,
            flagged=True,
            quality=min(suspect.quality, _ONE_OF_TWO),
            reason=suspect.reason + (twin if others else "; a near-duplicate is labelled otherwise"),
        )

    return ranked([contradicted(suspect) for suspect in found])


def ranked(found: Sequence[Suspect]) -> list[Suspect]:
    """The most doubtful first; of those alike, in the order of their keys."""
    return sorted(found, key=lambda suspect: (suspect.quality, suspect.key))
