"""Which of one annotator's objects is which of another's, and what several annotators say together.

Objects are matched so that the sum of overlaps is the greatest (Kuhn 1955), those of one class only. What
overlaps by less than a threshold is not the same object.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from goldloop.tasks._precision_recall import precision_recall
from goldloop.tasks.base import ConsensusPolicy

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

T = TypeVar("T")

_SHOWN = 5

Overlaps = Callable[[Sequence[Any], Sequence[Any]], "NDArray[numpy.float64]"]
"""How far each of N objects is each of M others, `(N, M)` in [0, 1], whatever their classes."""


def matched(
    ours: Sequence[T], theirs: Sequence[T], overlaps: Overlaps, least: float
) -> list[tuple[int, int, float]]:
    """Pairs of positions that are one object, with their overlap; no position is in two pairs.

    Args:
        ours: objects with a `label`.
        theirs: others.
        overlaps: how far two are the same.
        least: overlap in (0, 1] from which on two are one object.
    """
    from scipy.optimize import linear_sum_assignment

    if not ours or not theirs:
        return []
    table = _of_one_class(ours, theirs, overlaps)
    table[table < least] = 0
    rows, columns = linear_sum_assignment(table, maximize=True)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return [(row, column, float(table[row, column])) for row, column in pairs if table[row, column] > 0]


def _of_one_class(ours: Sequence[Any], theirs: Sequence[Any], overlaps: Overlaps) -> NDArray[numpy.float64]:
    import numpy

    table = numpy.array(overlaps(ours, theirs), dtype=float)
    same = numpy.array([[one["label"] == other["label"] for other in theirs] for one in ours])
    return numpy.where(same, table, 0.0)


def agreement(ours: Sequence[Any], theirs: Sequence[Any], overlaps: Overlaps) -> float:
    """Twice the sum of matched overlaps over the number of objects, in [0, 1]; 1 where nobody sees any.

    The F1 score with overlaps in place of hits: an object that only one has seen, or that has two classes,
    counts as none.
    """
    if not ours and not theirs:
        return 1.0
    if list(ours) == list(theirs):
        return 1.0
    # One order of the two, so that it is the same number whichever comes first.
    first, second = sorted((ours, theirs), key=repr)
    total = sum(overlap for _, _, overlap in matched(first, second, overlaps, 1e-9))
    return min(2 * total / (len(ours) + len(theirs)), 1 - 1e-9)


def consensus(
    answers: Sequence[Sequence[T]],
    policy: ConsensusPolicy,
    overlaps: Overlaps,
    least: float,
    merge: Callable[[Sequence[T]], T],
) -> list[T] | None:
    """The objects that enough annotators have seen, each merged of what they drew.

    Args:
        answers: the objects of each annotator.
        policy: `majority` takes what more than half have seen and leaves the rest out; `unanimous` gives
            None unless all have seen the same objects.
        overlaps: how far two are the same.
        least: overlap from which on two are one object.
        merge: one object of several that are the same, in any order.

    Returns:
        None where there is no consensus: nobody's objects are seen by enough, though some are seen.
    """
    ordered = sorted(answers, key=repr)
    if all(list(answer) == list(ordered[0]) for answer in ordered):
        return list(ordered[0])
    groups = _grouped(ordered, overlaps, least)
    need = len(answers) if policy == "unanimous" else len(answers) // 2 + 1
    kept = [merge(group) for group in groups if len(group) >= need]
    if len(kept) < len(groups) and (policy == "unanimous" or not kept):
        seeing_none = sum(not answer for answer in answers)
        return [] if policy == "majority" and seeing_none >= need else None
    return kept


def _grouped(answers: Sequence[Sequence[T]], overlaps: Overlaps, least: float) -> list[list[T]]:
    """Objects of all annotators, those that are one together; at most one of each annotator in a group.

    Those of each annotator are matched with the first object of each group so far.
    """
    groups: list[list[T]] = []
    for answer in answers:
        pairs = matched([group[0] for group in groups], answer, overlaps, least)
        for place, position, _ in pairs:
            groups[place].append(answer[position])
        placed = {position for _, position, _ in pairs}
        groups += [[entry] for position, entry in enumerate(answer) if position not in placed]
    return groups


def per_class(
    predicted: Sequence[Sequence[Any]],
    expected: Sequence[Sequence[Any]],
    classes: Sequence[str],
    overlaps: Overlaps,
    least: float,
) -> dict[str, dict[str, float]]:
    """Class name -> precision, recall, f1 in [0, 1] and support, over the objects of all items.

    Args:
        predicted: objects of each item.
        expected: the true ones.
        classes: names in id order.
        overlaps: how far two are the same.
        least: overlap from which on a prediction hits.
    """
    hits: Counter[str] = Counter()
    answers: Counter[str] = Counter()
    truth: Counter[str] = Counter()
    for found, true in zip(predicted, expected, strict=True):
        hits.update(found[place]["label"] for place, _, _ in matched(found, true, overlaps, least))
        answers.update(entry["label"] for entry in found)
        truth.update(entry["label"] for entry in true)
    return {name: precision_recall(hits[name], answers[name], truth[name]) for name in classes}


def counted(names: Sequence[str]) -> str:
    """Names with how often each is there, the most frequent first: `3 cell, 1 nucleus`."""
    shown = Counter(names).most_common(_SHOWN + 1)
    words = [f"{count} {name}" for name, count in shown[:_SHOWN]]
    return ", ".join([*words, "..."] if len(shown) > _SHOWN else words) or "nothing"
