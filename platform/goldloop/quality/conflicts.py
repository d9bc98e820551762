"""The same thing twice with different labels: at most one of them can be right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from goldloop.quality.findings import Example, Finding
from goldloop.tasks.base import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NEAR = 0.01
"""Of the range of brightness, by which two small copies may differ at each place."""
_ALIKE = 0.999
_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Conflict:
    """Near-duplicates with different labels.

    Attributes:
        keys: of the items, the first of each label before the others.
        doubted: those whose label is not the one that most of them have; all where none is.
    """

    keys: tuple[str, ...]
    doubted: frozenset[str]


def find_conflicts(
    task: Task[Any],
    targets: Mapping[str, Any],
    near: Iterable[Sequence[str]],
    same: Iterable[Sequence[str]] = (),
) -> list[Conflict]:
    """Near-duplicates that are labelled differently, the largest groups first.

    What is told of two crops or spellings of a thing may differ in its places, not in the classes it names.

    Args:
        task: compares labels.
        targets: key -> label.
        near: groups of near-duplicates (re-encoded, resized, cropped, mirrored; texts with most words alike).
        same: groups of items that are all but equal, so that places count too.
    """
    named = {key: tuple(sorted(set(task.classes_in(target)))) for key, target in targets.items()}
    found = {}
    for groups, is_same in ((same, True), (near, False)):
        if not is_same and not task.classes:
            continue
        for group in groups:
            keys = sorted(key for key in group if key in targets)
            sorts = _sorts(task, targets, keys) if is_same else _by(named, keys)
            if len(sorts) > 1:
                found[frozenset(keys)] = _conflict(sorts)
    whole = [keys for keys in found if not any(keys < other for other in found)]
    return sorted((found[keys] for keys in whole), key=lambda each: (-len(each.keys), each.keys))


def _by(named: Mapping[str, tuple[str, ...]], keys: Sequence[str]) -> list[list[str]]:
    sorts: dict[tuple[str, ...], list[str]] = {}
    for key in keys:
        sorts.setdefault(named[key], []).append(key)
    return list(sorts.values())


def _sorts(task: Task[Any], targets: Mapping[str, Any], keys: Sequence[str]) -> list[list[str]]:
    """Keys by labels that are all but equal."""
    sorts: list[list[str]] = []
    for key in keys:
        own = (each for each in sorts if task.agreement(targets[each[0]], targets[key]) >= _ALIKE)
        found = next(own, None)
        if found is None:
            sorts.append([key])
        else:
            found.append(key)
    return sorts


def _conflict(sorts: Sequence[Sequence[str]]) -> Conflict:
    every = [key for keys in sorts for key in keys]
    most = max(sorts, key=len)
    agreed = set(most) if sum(len(keys) == len(most) for keys in sorts) == 1 else set()
    heads = [keys[0] for keys in sorts]
    return Conflict((*heads, *sorted(set(every) - set(heads))), frozenset(every) - agreed)


def conflicts(task: Task[Any], targets: Mapping[str, Any], found: Sequence[Conflict], looked: int) -> Finding:
    """What is to be said of near-duplicates with different labels.

    Args:
        task: tells labels in words.
        targets: key -> label.
        found: such groups.
        looked: how many groups of near-duplicates there are in all.
    """
    examples = [
        Example(
            key,
            f"group {number + 1} of {len(conflict.keys)} items: labelled {task.describe(targets[key])}",
            {"labelled": targets[key]},
        )
        for number, conflict in enumerate(found[:_SHOWN])
        for key in conflict.keys[:3]
    ]
    return Finding(
        kind="conflicts",
        state="act" if found else "fine",
        title=f"{len(found):,} groups of near-duplicates have different labels"
        if found
        else "No near-duplicates have different labels",
        meaning="One and the same thing was labelled in two ways, so a model is taught both and a "
        "test punishes one of them."
        if found
        else "",
        certainty=f"{looked:,} groups of near-duplicates were found; whether two are the same for your "
        "purpose is for you to say.",
        remedy="Agree on which is right, write it into the instructions for annotators, and send them back: "
        "`goldloop relabel` has those among its suspects whose label is not that of most of their group."
        if found
        else "",
        examples=examples,
        count=len({key for conflict in found for key in conflict.keys}),
    )


def same_texts(contents: Mapping[str, Any]) -> list[list[str]]:
    """Texts that differ in case, punctuation and blanks alone."""
    groups: dict[str, list[str]] = {}
    for key, content in contents.items():
        words = "".join(sign if sign.isalnum() else " " for sign in str(content).casefold()).split()
        groups.setdefault(" ".join(words), []).append(key)
    return [keys for words, keys in sorted(groups.items()) if words and len(keys) > 1]


def same_pictures(keys: Sequence[str], points: NDArray[Any]) -> list[list[str]]:
    """Pictures whose small copies are all but equal.

    Args:
        keys: of N images.
        points: `(N, D)` as `plain_points` makes them.
    """
    from scipy.sparse.csgraph import connected_components
    from sklearn.neighbors import radius_neighbors_graph

    if len(keys) < 2:
        return []
    near = radius_neighbors_graph(points, _NEAR * points.shape[1] ** 0.5)
    _, owners = connected_components(near, directed=False)
    groups: dict[int, list[str]] = {}
    for key, owner in zip(keys, owners.tolist(), strict=True):
        groups.setdefault(owner, []).append(key)
    return [group for group in groups.values() if len(group) > 1]
