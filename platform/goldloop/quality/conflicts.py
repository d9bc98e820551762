"""The same thing twice with different labels: at most one of them can be right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from goldloop.quality.findings import Example, Finding
from goldloop.tasks.base import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NEAR = 0.01
"""Of the range of brightness, by which two small copies may differ at each place."""
_ALIKE = 0.999
_SHOWN = 12


def conflicts(task: Task[Any], targets: Mapping[str, Any], clusters: Sequence[Sequence[str]]) -> Finding:
    """Near-duplicates that are labelled differently.

    Args:
        task: compares labels.
        targets: key -> label.
        clusters: groups of near-duplicates.
    """
    found = []
    for cluster in clusters:
        keys = sorted(key for key in cluster if key in targets)
        differing = [key for key in keys[1:] if task.agreement(targets[keys[0]], targets[key]) < _ALIKE]
        if differing:
            found.append([keys[0], *differing])
    found.sort(key=lambda keys: (-len(keys), keys))
    examples = [
        Example(
            key, f"group {number + 1}: labelled {task.describe(targets[key])}", {"labelled": targets[key]}
        )
        for number, keys in enumerate(found[:_SHOWN])
        for key in keys[:3]
    ]
    return Finding(
        kind="conflicts",
        state="act" if found else "fine",
        title=f"{len(found):,} groups of near-duplicates have different labels"
        if found
        else "No near-duplicates have different labels",
        meaning="One and the same thing was labelled in two ways, so a model is taught both and a "
        "test punishes "
        "one of them."
        if found
        else "",
        certainty=f"{len(clusters):,} groups of near-duplicates were found; whether two are the same "
        "for your purpose "
        "is for you to say.",
        remedy="Agree on which is right, write it into the instructions for annotators, and send them back: "
        "`goldloop relabel`."
        if found
        else "",
        examples=examples,
        count=sum(len(keys) for keys in found),
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
