"""Limits for stratified splits: each class as near to the wanted shares as what is placed already allows.

New groups go by their rarest class. Class by class, the rarest first, they are lined up by their number;
from the low end as many are for testing as the class lacks there, then as many for validation, and the rest
is for training. What a group brings of other classes counts for those. So the limits of each class say where
its groups went, and anyone can ask them again (after Sechidis, Tsoumakas and Vlahavas, On the stratification
of multi-label data, 2011, who take one example at a time).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from goldloop.dataset.config import Split
from goldloop.dataset.policies import Limits, number_of
from goldloop.dataset.splits import SplitName

Counts = Counter[tuple[str, str]]
"""(split, class) -> how often its rows name it."""

NO_CLASS = ""


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A group that has no split yet.

    Attributes:
        name: the group's.
        classes: class -> how often its rows name it.
        rows: how many it has.
    """

    name: str
    classes: Mapping[str, int]
    rows: int


def stratify(
    groups: Sequence[Unplaced], placed: Counts, split: Split, *, closed: bool
) -> tuple[dict[str, str], dict[str, Limits]]:
    """Draw limits for new groups.

    Args:
        groups: to be placed, in any order.
        placed: what is in the splits already.
        split: the wanted shares, and the seed.
        closed: whether testing takes nothing.

    Returns:
        group -> its stratum, and stratum -> its limits.
    """
    totals: Counter[str] = Counter()
    for (_, name), count in placed.items():
        totals[name] += count
    for group in groups:
        totals.update(group.classes)
    strata: dict[str, list[Unplaced]] = defaultdict(list)
    for group in groups:
        strata[min(group.classes, key=lambda name: (totals[name], name), default=NO_CLASS)].append(group)
    have = Counter(placed)
    limits: dict[str, Limits] = {}
    for name in sorted(strata, key=lambda name: (name == NO_CLASS, totals[name], name)):
        if name == NO_CLASS:
            limits[name] = _plain(split, closed)
            continue
        lined_up = sorted((number_of(group.name, split.seed), group.name, group) for group in strata[name])
        lacking = _lacking(totals[name], have["test", name], have["validation", name], split, closed)
        limits[name] = _limits([(number, group.classes[name]) for number, _, group in lined_up], lacking)
        for number, _, group in lined_up:
            for other, count in group.classes.items():
                have[_side(number, limits[name]), other] += count
    return {group.name: name for name, found in strata.items() for group in found}, limits


def shares(
    counts: Mapping[str, Mapping[str, int]], split: Split
) -> Iterator[tuple[str, dict[str, float], float]]:
    """How far each class is from the wanted shares.

    Args:
        counts: split -> class -> how often its rows name it.
        split: the wanted shares.

    Yields:
        a class that has rows, its shares of the splits, and by how much the furthest is off.
    """
    wanted = {"train": split.train, "validation": split.validation, "test": split.test}
    for name in next(iter(counts.values()), {}):
        total = sum(counts[each].get(name, 0) for each in wanted)
        if total:
            found = {each: counts[each].get(name, 0) / total for each in wanted}
            yield name, found, max(abs(found[each] - wanted[each]) for each in wanted)


def _lacking(total: int, test: int, validation: int, split: Split, closed: bool) -> tuple[float, float]:
    """How much of a class testing and validation lack of their shares."""
    if closed:
        rest = split.validation / (split.train + split.validation)
        return 0.0, rest * (total - test) - validation
    return split.test * total - test, split.validation * total - validation


def _limits(groups: Sequence[tuple[float, int]], lacking: tuple[float, float]) -> Limits:
    """Limits that give testing and validation about what they lack; numbers ascend."""
    place = 0
    found = []
    for wanted in lacking:
        given = 0.0
        while place < len(groups) and given + groups[place][1] / 2 <= wanted:
            given += groups[place][1]
            place += 1
        below = groups[place - 1][0] if place else 0.0
        above = groups[place][0] if place < len(groups) else 1.0
        found.append((below + above) / 2 if place else 0.0)
    return found[0], found[1]


def _plain(split: Split, closed: bool) -> Limits:
    if closed:
        return 0.0, split.validation / (split.train + split.validation)
    return split.test, split.test + split.validation


def _side(number: float, limits: Limits) -> SplitName:
    if number < limits[0]:
        return "test"
    return "validation" if number < limits[1] else "train"
