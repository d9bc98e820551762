"""How far annotators agree: by the task's own measure and beyond chance, overall, by class, by annotator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from statistics import fmean
from typing import Any

from goldloop.quality.alpha import Alpha, Interval, alpha, mean_interval, nominal
from goldloop.quality.annotators import Alike, Annotator, Pair, annotators_of, compare, pairs_of
from goldloop.quality.kappa import Kappa, kappa
from goldloop.records import Annotation
from goldloop.tasks.base import Task

_FEWEST_PAIRS, _MOST_PAIRS = 200, 2_000
"""How many answers to different items are compared: not many more than answers to one item are."""


@dataclass(frozen=True, slots=True)
class ClassAgreement:
    """How far annotators agree on one class, against all that is not of it.

    Attributes:
        items: how many items anyone has seen the class in, of those answered twice or more.
        overlap: over those items, how alike what pairs of annotators say of the class is, in [0, 1]: of names
            twice what both chose over what either did, of boxes and masks by their overlap (intersection
            over union), of spans by their places.
        alpha: Krippendorff's; None where nobody or everybody has seen the class everywhere.
        interval: of alpha.
    """

    items: int
    overlap: float | None
    alpha: float | None
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far annotators agree over a whole dataset, items without consensus included.

    Intervals are of 95%, over resampled items.

    Attributes:
        mean: of the items' mean pairwise agreement, in [0, 1]; None without an item answered twice.
        items: how many items have two answers or more.
        alpha: Krippendorff's, by the task's own measure of how unlike two answers are: 1 is perfect, 0 what
            chance gives, below 0 worse than chance. None where all answers are the same.
        mean_interval, alpha_interval: of these.
        kappa: Cohen's or Fleiss', where an answer is one class.
        classes: class name -> how far annotators agree on it; of classes that anyone has seen.
        annotators: pseudonym -> what is known of their work.
        pairs: who agrees with whom, those who share the most items first.
    """

    mean: float | None
    items: int
    alpha: float | None
    mean_interval: Interval | None = None
    alpha_interval: Interval | None = None
    kappa: Kappa | None = None
    classes: Mapping[str, ClassAgreement] = field(default_factory=dict)
    annotators: Mapping[str, Annotator] = field(default_factory=dict)
    pairs: tuple[Pair, ...] = ()

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def pairwise_agreement(task: Task[Any], targets: Sequence[Any]) -> float | None:
    """Mean agreement over all pairs of answers to one item, in [0, 1]; None with fewer than two."""
    if len(targets) < 2:
        return None
    return fmean(task.agreement(one, other) for one, other in combinations(targets, 2))


def agreement_of(
    task: Task[Any],
    answers: Mapping[str, Mapping[str, Any]],
    settled: Mapping[str, Any] | None = None,
    acts: Sequence[Annotation] = (),
    alike: Alike | None = None,
) -> Agreement:
    """The agreement of a dataset.

    Args:
        task: compares answers.
        answers: key -> annotator -> target.
        settled: key -> the label's target, of items that have one.
        acts: the last of each annotator on each item.
        alike: what `compare` says of the answers, where it has been asked.
    """
    alike = compare(task, answers) if alike is None else alike
    given = [answers[key] for key in alike]
    compared = [list(item.values()) for item in given]
    means = [fmean(pairs.values()) for pairs in alike.values()]
    names = bool(task.classes) and all(isinstance(target, str) for unit in compared for target in unit)
    overall = (
        nominal(compared)
        if names
        else alpha(
            compared,
            lambda one, other: 1 - task.agreement(one, other),
            budget=_budget(compared),
            inside=[1 - mean for mean in means],
        )
    )
    return Agreement(
        mean=fmean(means) if means else None,
        items=len(compared),
        alpha=None if overall is None else overall.value,
        mean_interval=mean_interval(means),
        alpha_interval=None if overall is None else overall.interval,
        kappa=kappa(given) if names else None,
        classes=_by_class(task, compared),
        annotators=annotators_of(task, answers, alike, settled or {}, acts),
        pairs=pairs_of(task, answers, alike, names=names),
    )


def nominal_alpha(units: Iterable[Sequence[Any]]) -> float | None:
    """Krippendorff's alpha for names, at most 1; units with fewer than two answers do not count.

    None where no disagreement can be expected, since every answer is the same.
    """
    found = nominal(units)
    return None if found is None else found.value


def _budget(units: Sequence[Sequence[Any]]) -> int:
    pairs = sum(len(unit) * (len(unit) - 1) // 2 for unit in units)
    return max(_FEWEST_PAIRS, min(_MOST_PAIRS, pairs))


def _by_class(task: Task[Any], units: Sequence[Sequence[Any]]) -> dict[str, ClassAgreement]:
    if not task.classes or not units:
        return {}
    seen = [[set(task.classes_in(target)) for target in unit] for unit in units]
    named = set().union(*(names for unit in seen for names in unit))
    of = _presence if task.answers_are_classes else _regions
    return {name: of(task, name, units, seen) for name in task.classes if name in named}


def _presence(
    task: Task[Any], name: str, units: Sequence[Sequence[Any]], seen: Sequence[Sequence[set[str]]]
) -> ClassAgreement:
    """Of a class that an answer has or has not."""
    marked = [[name in names for names in unit] for unit in seen]
    found = nominal(marked)
    met = [unit for unit in marked if any(unit)]
    # Pairs, so that an item with many answers counts as often as its pairs do.
    both = sum(sum(unit) * (sum(unit) - 1) for unit in met)
    either = sum(sum(unit) * (len(unit) - 1) for unit in met)
    return _class_agreement(len(met), both / either if either else None, found)


def _regions(
    task: Task[Any], name: str, units: Sequence[Sequence[Any]], seen: Sequence[Sequence[set[str]]]
) -> ClassAgreement:
    """Of a class whose things have a place: the parts of answers that are about it, as the task compares."""
    parts = [[task.about(target, name) for target in unit] for unit in units]

    def unlike(one: Any, other: Any) -> float:
        return 0.0 if one == other else 1 - task.agreement(one, other)

    inside = [fmean(unlike(one, other) for one, other in combinations(unit, 2)) for unit in parts]
    found = alpha(parts, unlike, budget=_FEWEST_PAIRS, inside=inside)
    met = [1 - mean for mean, names in zip(inside, seen, strict=True) if any(name in each for each in names)]
    return _class_agreement(len(met), fmean(met) if met else None, found)


def _class_agreement(items: int, overlap: float | None, found: Alpha | None) -> ClassAgreement:
    if found is None:
        return ClassAgreement(items, overlap, None, None)
    return ClassAgreement(items, overlap, found.value, found.interval)
