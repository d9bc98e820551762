"""K folds by group: every item is in one, all of a group are in the same, classes are spread over all."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence

FEWEST = 2


def folds_of(groups: Sequence[str], classes: Sequence[str], count: int, seed: int = 0) -> list[int]:
    """The fold of each item, below `count`; the same groups and classes give the same folds.

    Args:
        groups: of each item.
        classes: of each item what is to be spread evenly; of a group its most frequent counts.
        count: how many folds; fewer where there are fewer groups.
        seed: which of the many ways.

    Raises:
        ValueError: all items are of one group.
    """
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for group, name in zip(groups, classes, strict=True):
        found[group][name] += 1
    number = min(count, len(found))
    if number < FEWEST:
        raise ValueError("items of one group have no folds")
    by_class: dict[str, list[str]] = defaultdict(list)
    for group, names in found.items():
        by_class[max(names, key=lambda name: (names[name], name))].append(group)
    fold: dict[str, int] = {}
    sizes = [0] * number
    for name in sorted(by_class, key=lambda name: (-len(by_class[name]), name)):
        for group in sorted(by_class[name], key=lambda group: _draw(seed, group)):
            # The fold with the fewest items; of equal ones the first, which deals each class out in turn.
            chosen = min(range(number), key=lambda place: (sizes[place], place))
            fold[group] = chosen
            sizes[chosen] += found[group].total()
    return [fold[group] for group in groups]


def _draw(seed: int, group: str) -> bytes:
    return hashlib.sha256(f"fold:{seed}:{group}".encode()).digest()
