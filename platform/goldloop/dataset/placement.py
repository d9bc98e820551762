"""Which split each item is in: what has one keeps it, what is like it follows, the rest goes by the policy.

Items that a source groups, and near-duplicates, are one group. An item that was once in a split is in no
other ever after, whether it stays in the versions or comes back to them. A new item that is like items of
one split follows them there; one that is like items of two would join what must be apart, and is kept out
with its reason. Nothing here depends on the order in which items come.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from goldloop.dataset.config import Split
from goldloop.dataset.policies import Policy
from goldloop.dataset.splits import PROTECTED
from goldloop.dataset.strata import Counts
from goldloop.errors import VersionError
from goldloop.records import Item, Label, Outcome

WITHHELD = "withheld"
"""The outcome of an item that has a label and yet no row, so that what must be apart is apart."""
SHOWN = 5
_LARGE, _MANY = 0.25, 20
"""A group with a larger share of the items, if it has so many, may be a mistake."""

Clique = tuple[str, ...]
"""Keys of items any two of which are near-duplicates."""


class Place(NamedTuple):
    """Where an item belongs.

    Attributes:
        split: which.
        group: what it is in one split with.
        policy: the number of the policy by which that group was placed.
        basis: what the group was placed by, beside its name.
        is_row: whether the version before has it; else an earlier one had.
    """

    split: str
    group: str
    policy: int
    basis: str | None = None
    is_row: bool = True


@dataclass(frozen=True, slots=True)
class Before:
    """What earlier commits have fixed.

    Attributes:
        policies: those of the version before.
        seed: of its draw; None: there is none.
        find: of these keys, the places of those that have one by the recipe's seed.
        find_groups: of these groups, likewise.
        stays: whether an item that is not among those to be placed keeps its row.
        counts: (split, class) -> how often rows name it that stay.
        has_tests: whether the test split has rows.
    """

    policies: Sequence[Policy] = ()
    seed: int | None = None
    find: Callable[[Iterable[str]], Mapping[str, Place]] = lambda _keys: {}
    find_groups: Callable[[Iterable[str]], Mapping[str, Place]] = lambda _groups: {}
    stays: Callable[[str], bool] = lambda _key: False
    counts: Counts = field(default_factory=Counter)
    has_tests: bool = False


@dataclass(slots=True)
class Placement:
    """Where items are, as far as that is settled.

    Attributes:
        items: all that are to be placed, by key.
        places: of those that have one.
        reasons: of those that are kept out.
        new: those that had no place before.
        groups: what is still to be placed: a new group's name -> its keys.
        policies: of the version.
        held: of every item that ever had a place, the last; of a commit of changes, of its items alone.
    """

    items: Mapping[str, Item]
    places: dict[str, Place] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    new: set[str] = field(default_factory=set)
    groups: dict[str, list[str]] = field(default_factory=dict)
    policies: list[Policy] = field(default_factory=list)
    held: Mapping[str, Place] = field(default_factory=dict)

    def named(self, key: str) -> str:
        """An item, for people: its address, and how its key begins."""
        item = self.items.get(key)
        return f"item {key[:12]}" if item is None else f"{item.uri} ({key[:12]})"

    def keep_out(self, key: str, reason: str) -> None:
        """Leave an item without a row."""
        self.reasons[key] = reason
        self.places.pop(key, None)

    def in_words(self, cliques: Sequence[Clique], *, of_changes: bool = False) -> Iterator[str]:
        """What people should know of it: near-duplicates, what is kept out, groups that are very large.

        Args:
            cliques: near-duplicates among its items and others.
            of_changes: it has but a few of the version's items, so that no group can be told to be large.
        """
        if cliques:
            count = len(set().union(*cliques))
            yield f"{count:,} items have near-duplicates, with which they stay in one split"
        if self.reasons:
            key = min(self.reasons)
            count = len(self.reasons)
            yield f"{count:,} items are kept out, such as {self.named(key)}: {self.reasons[key]}"
        sizes = Counter(place.group for place in self.places.values() if not of_changes)
        for group, size in sizes.most_common(1):
            if size > max(len(self.places) * _LARGE, _MANY):
                yield (
                    f"beware: {size:,} of {len(self.places):,} items are one group ({group[:40]}), so all of "
                    f"them are in {self._split_of(group)}; if they are not near-duplicates, set `dataset: "
                    "{duplicates: off}`"
                )

    def _split_of(self, group: str) -> str:
        return next(place.split for place in self.places.values() if place.group == group)

    def settled(self, outcomes: Iterable[Outcome]) -> list[Outcome]:
        """Outcomes, with those that are kept out among them."""
        return [
            Outcome(subject=each.subject, outcome=WITHHELD, reason=self.reasons[each.subject])
            if each.subject in self.reasons
            else each
            for each in outcomes
        ]


def follow(
    labels: Sequence[Label[Any]],
    items: Mapping[str, Item],
    split: Split,
    before: Before,
    cliques: Sequence[Clique] = (),
) -> Placement:
    """Place what has a place, and what is like something that has one; gather the rest into groups.

    Args:
        labels: of the items to be placed.
        items: those items, and perhaps others, by key.
        split: the recipe's.
        before: what earlier commits have fixed.
        cliques: near-duplicates, of these items and of others.

    Raises:
        VersionError: what the source says is one group is in two splits already.
    """
    keys = {label.key for label in labels}
    found = Placement({key: items[key] for key in keys}, policies=list(before.policies))
    _check_thawed(split, before)
    known = dict(before.find(keys.union(*cliques)))
    found.places = {key: known[key] for key in keys & known.keys()}
    found.new = keys - known.keys()
    _check_groups(found)
    _part(found, known, cliques, before)
    _Newcomers(found, known, cliques, before).settle()
    return found


def _check_thawed(split: Split, before: Before) -> None:
    if split.frozen and before.has_tests and before.seed != split.seed:
        raise VersionError(
            "the test split is frozen, and another seed would draw it anew",
            where="dataset.split.seed",
            found=split.seed,
            expected=before.seed,
            remedy="Set the seed back, or take `frozen` out of `dataset.split` if that is meant",
        )


def _check_groups(found: Placement) -> None:
    """Refuse groups of the source that are torn: they were other groups when their items were placed."""
    splits: dict[str, dict[str, str]] = defaultdict(dict)
    for key, place in sorted(found.places.items()):
        group = found.items[key].group
        if group != key:
            splits[group].setdefault(place.split, key)
    torn = {group: held for group, held in sorted(splits.items()) if len(held) > 1}
    for group, held in torn.items():
        shown = " and ".join(f"{found.named(key)} in {split}" for split, key in sorted(held.items()))
        raise VersionError(
            f"{len(torn)} groups of the source are in two splits already, as they were not groups before",
            where=f"group {group}",
            found=shown,
            remedy="Another `dataset.split.seed` places all items anew, by their groups as they are now",
        )


def _part(found: Placement, known: Mapping[str, Place], cliques: Sequence[Clique], before: Before) -> None:
    """Keep out what is in the versions already and like something in another split.

    Near-duplicates may be looked for that were not before, and items may come back.
    """
    for clique in cliques:
        here = [key for key in clique if key in found.places or _stays(key, known, before)]
        if len({known[key].split for key in here}) < 2:
            continue
        first = min(here, key=lambda key: (not known[key].is_row, -PROTECTED[known[key].split], key))
        for key in here:
            if known[key].split != known[first].split and key in found.places:
                other = f"{found.named(first)} in {known[first].split}"
                found.keep_out(key, f"in {known[key].split}, and a near-duplicate of {other}")


def _stays(key: str, known: Mapping[str, Place], before: Before) -> bool:
    return key in known and known[key].is_row and before.stays(key)


class _Newcomers:
    """Items without a place yet: with whom each goes, or why it cannot."""

    def __init__(
        self,
        found: Placement,
        known: Mapping[str, Place],
        cliques: Sequence[Clique],
        before: Before,
    ) -> None:
        self._found = found
        self._cliques = cliques
        self._keys = sorted(found.new)
        # Of each the places that it must share, and of which item or group that is.
        self._beside: dict[str, list[tuple[Place, str]]] = defaultdict(list)
        self._meet_items(known)
        self._meet_groups(before)

    def settle(self) -> None:
        """Let each follow, keep out what cannot, and gather the rest."""
        for key in self._keys:
            self._keep_out_if_torn([key])
        while True:
            together = list(self._together())
            torn = [self._keep_out_if_torn(keys) for keys in together]
            if not any(torn):
                break
        for keys in together:
            beside = [place for key in keys for place, _ in self._beside[key]]
            if beside:
                first = min(beside, key=lambda place: place.group)
                self._found.places |= {key: first._replace(is_row=False) for key in keys}
            else:
                # A name that the source gave is known again when its other items are gone.
                names = {self._found.items[key].group for key in keys}
                self._found.groups[min(names - set(keys) or names)] = keys

    def _meet_items(self, known: Mapping[str, Place]) -> None:
        for clique in self._cliques:
            for key in self._found.new.intersection(clique):
                self._beside[key] += [
                    (known[other], f"a near-duplicate of {self._found.named(other)}")
                    for other in clique
                    if other in known
                ]

    def _meet_groups(self, before: Before) -> None:
        groups = {self._found.items[key].group for key in self._keys}
        places = dict(before.find_groups(groups))
        for key, place in sorted(self._found.places.items()):
            if self._found.items[key].group in groups:
                places.setdefault(self._found.items[key].group, place)
        for key in self._keys:
            group = self._found.items[key].group
            if group in places:
                self._beside[key].append((places[group], f"of the group {group!r}"))

    def _keep_out_if_torn(self, keys: Sequence[str]) -> bool:
        """Of items that go together and belong in two splits, keep those out that tear them apart."""
        beside = {key: {place.split for place, _ in self._beside[key]} for key in keys}
        counts = Counter(split for splits in beside.values() for split in splits)
        if len(counts) < 2:
            return False
        kept = max(counts, key=lambda split: (counts[split], PROTECTED[split]))
        for key, splits in beside.items():
            if splits - {kept}:
                self._found.reasons[key] = self._why(key, keys)
        return True

    def _why(self, key: str, keys: Sequence[str]) -> str:
        """What an item is like, of each split one."""
        told: dict[str, str] = {}
        for place, how in sorted(self._beside[key], key=lambda each: each[1]):
            told.setdefault(place.split, f"{how} in {place.split}")
        for other in keys:
            for place, how in sorted(self._beside[other], key=lambda each: each[1]):
                told.setdefault(place.split, f"by way of {self._found.named(other)} {how} in {place.split}")
        return " and ".join(told[split] for split in sorted(told))

    def _together(self) -> Iterator[list[str]]:
        """Those that are left, by who must be in one split with whom."""
        left = [key for key in self._keys if key not in self._found.reasons]
        leader = {key: key for key in left}

        def lead(key: str) -> str:
            while leader[key] != key:
                leader[key] = leader[leader[key]]
                key = leader[key]
            return key

        groups: dict[str, list[str]] = defaultdict(list)
        for key in left:
            groups[self._found.items[key].group].append(key)
        near = ([key for key in clique if key in leader] for clique in self._cliques)
        for keys in (*groups.values(), *near):
            for key in keys[1:]:
                one, other = sorted((lead(keys[0]), lead(key)))
                leader[other] = one
        found: dict[str, list[str]] = defaultdict(list)
        for key in left:
            found[lead(key)].append(key)
        yield from found.values()
