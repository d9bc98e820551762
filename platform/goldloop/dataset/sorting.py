"""The policy of a commit at work: new groups are placed, and what it forbids is kept out or refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from goldloop.dataset.config import PredefinedPolicy, Split, StratifiedPolicy, TemporalPolicy
from goldloop.dataset.placement import SHOWN, Before, Clique, Place, Placement, follow
from goldloop.dataset.policies import ByGroup, Policy, Predefined, Stratified, Temporal
from goldloop.dataset.splits import PROTECTED, SplitName
from goldloop.dataset.strata import Counts, Unplaced, stratify
from goldloop.dataset.times import parse_time
from goldloop.errors import VersionError
from goldloop.records import Item, Label
from goldloop.tasks.base import Task

_FROZEN = "the test split is frozen: `goldloop commit --grow-test` takes it in"
_NEVER = "9999-12-31T23:59:59.999999+00:00"
_USUAL_NAMES: Mapping[str, SplitName] = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip


def place(
    task: Task[Any],
    labels: Sequence[Label[Any]],
    items: Mapping[str, Item],
    split: Split,
    before: Before,
    cliques: Sequence[Clique] = (),
    *,
    grow_test: bool = False,
) -> Placement:
    """Give every labelled item its place, or the reason why it has none.

    Args:
        task: tells which classes labels name.
        labels: of the items to be placed.
        items: those items, and perhaps others, by key.
        split: the recipe's.
        before: what earlier commits have fixed.
        cliques: near-duplicates, of these items and of others.
        grow_test: take new items into a test split that is frozen.

    Raises:
        VersionError: the source's groups or splits are not what its items are in already, or do not keep
            near-duplicates together; or the policy needs what the items do not have.
    """
    found = follow(labels, items, split, before, cliques)
    closed = split.frozen and before.has_tests and not grow_test
    policy = split.policy
    if isinstance(policy, PredefinedPolicy):
        _Predefined(found, policy, split.seed, closed).sort(cliques)
    elif isinstance(policy, TemporalPolicy):
        _by_time(found, policy, split, closed)
    elif isinstance(policy, StratifiedPolicy):
        _by_class(found, task, labels, split, before.counts, closed)
    else:
        shares = {"train": split.train, "validation": split.validation, "test": split.test}
        _put(found, ByGroup(seed=split.seed, closed=closed, **shares), lambda _keys: None)
    for key in sorted(found.new & found.places.keys()) if closed else ():
        if found.places[key].split == "test":
            found.keep_out(key, _FROZEN)
    return found


def _put(
    found: Placement, policy: Policy, basis_of: Callable[[Sequence[str]], str | None], lacking: str = ""
) -> None:
    """Place the groups that are left by a policy.

    Args:
        found: has them, and gets their places.
        policy: the commit's.
        basis_of: what a group is placed by, of its keys.
        lacking: why a group has no place that has no basis.
    """
    if policy not in found.policies and found.groups:
        found.policies.append(policy)
    for name, keys in sorted(found.groups.items()):
        basis = basis_of(keys)
        split = policy.place(name, basis)
        for key in keys:
            if split is None:
                found.keep_out(key, lacking if basis is None else _FROZEN)
            else:
                found.places[key] = Place(split, name, found.policies.index(policy), basis, is_row=False)
    found.groups.clear()


def _by_class(
    found: Placement,
    task: Task[Any],
    labels: Sequence[Label[Any]],
    split: Split,
    counts: Counts,
    closed: bool,
) -> None:
    if not task.classes:
        raise VersionError(
            "answers without classes cannot be stratified",
            where="dataset.split.policy",
            found=task.config.kind,
            remedy="Set it to `group`, `temporal` or `predefined`",
        )
    named = {label.key: task.classes_in(label.target) for label in labels}
    placed = Counter(counts)
    for key, each in found.places.items():
        placed.update((each.split, name) for name in named[key])
    groups = [
        Unplaced(group, Counter(name for key in keys for name in named[key]), len(keys))
        for group, keys in found.groups.items()
    ]
    strata, limits = stratify(groups, placed, split, closed=closed)
    stratum = {key: strata[group] for group, keys in found.groups.items() for key in keys}
    _put(
        found,
        Stratified(seed=split.seed, closed=closed, strata=limits),
        lambda keys: stratum[keys[0]] or None,
    )


def _by_time(found: Placement, config: TemporalPolicy, split: Split, closed: bool) -> None:
    times = {
        key: parse_time(found.items[key].metadata.get(config.field))
        for keys in found.groups.values()
        for key in keys
    }
    if times and not any(times.values()):
        raise _no_field(config.field, [found.items[key] for key in times], "a time")

    def latest(keys: Sequence[str]) -> str | None:
        return max((time for key in keys if (time := times[key]) is not None), default=None)

    if config.validation_from is not None and config.test_from is not None:
        cuts = (config.validation_from, config.test_from)
    else:
        drawn = [
            each for each in found.policies if isinstance(each, Temporal) and _is_same(each, config, split)
        ]
        cuts = (
            (drawn[-1].validation_from, drawn[-1].test_from)
            if drawn
            else _cuts([(latest(keys), len(keys)) for keys in found.groups.values()], split)
        )
    policy = Temporal(
        seed=split.seed, closed=closed, field=config.field, validation_from=cuts[0], test_from=cuts[1]
    )
    _put(found, policy, latest, f"it has no time in {config.field!r}")


def _is_same(drawn: Temporal, config: TemporalPolicy, split: Split) -> bool:
    return (drawn.field, drawn.seed) == (config.field, split.seed)


def _cuts(groups: Sequence[tuple[str | None, int]], split: Split) -> tuple[str, str]:
    """From when on groups are for validation, and for testing, so that the shares are as wanted."""
    rows: Counter[str] = Counter()
    for time, count in groups:
        if time is not None:
            rows[time] += count
    total = rows.total()
    test_from = _cut(rows, split.test * total)
    earlier = Counter({time: count for time, count in rows.items() if time < test_from})
    return min(_cut(earlier, split.validation * total), test_from), test_from


def _cut(rows: Mapping[str, int], wanted: float) -> str:
    """The time from which on there are about so many rows."""
    best, cut, newer = wanted, _NEVER, 0
    for time in sorted(rows, reverse=True):
        newer += rows[time]
        if abs(newer - wanted) < best:
            best, cut = abs(newer - wanted), time
    return cut


class _Predefined:
    """The source's own splits, held against what is near-duplicate and what is placed already."""

    def __init__(self, found: Placement, config: PredefinedPolicy, seed: int, closed: bool) -> None:
        self._found, self._config = found, config
        self._policy = Predefined(
            seed=seed,
            closed=closed,
            field=config.field,
            values={**_USUAL_NAMES, **config.values},
            otherwise=config.otherwise,
        )
        self._words = {key: self._word(item) for key, item in sorted(found.items.items())}
        self._check_words()

    def sort(self, cliques: Sequence[Clique]) -> None:
        """Place what the source has a word for."""
        self._check_placed()
        for keys in self._together(cliques):
            self._keep_apart(keys)
        self._found.groups = {
            name: left
            for name, keys in self._found.groups.items()
            if (left := [key for key in keys if key not in self._found.reasons])
        }
        _put(
            self._found,
            self._policy,
            lambda keys: min((word for key in keys if (word := self._words[key])), default=None),
            f"the source says of no split in {self._config.field!r}",
        )

    def _word(self, item: Item) -> str | None:
        if self._config.field == "source":
            return item.source.partition(":")[0]
        word = str(item.metadata.get(self._config.field) or "").strip()
        return word if word in self._config.values else word.casefold() or None

    def _split(self, key: str) -> str | None:
        """Where an item is, or is said to be."""
        if key in self._found.places and key not in self._found.new:
            return self._found.places[key].split
        word = self._words[key]
        return self._policy.otherwise if word is None else self._policy.values[word]

    def _check_words(self) -> None:
        unknown = Counter(word for word in self._words.values() if word and word not in self._policy.values)
        if unknown:
            shown = ", ".join(f"{word!r} ({count} items)" for word, count in unknown.most_common(SHOWN))
            raise VersionError(
                "the source has names for splits that mean nothing here",
                where=f"dataset.split.policy, field {self._config.field!r}",
                found=shown,
                expected=", ".join(self._policy.values),
                remedy=f"Say what they mean: `values: {{{next(iter(unknown))}: test}}`",
            )
        if not any(self._words.values()) and self._config.otherwise is None:
            raise _no_field(self._config.field, self._found.items.values(), "a split")

    def _check_placed(self) -> None:
        moved = []
        for key, each in sorted(self._found.places.items()):
            word = self._words[key]
            if key not in self._found.new and word is not None and self._policy.values[word] != each.split:
                moved.append(f"{self._found.named(key)} is in {each.split}, its source says {word}")
        if moved:
            raise VersionError(
                f"{len(moved)} items are in other splits already than their source says",
                where="dataset.split.policy",
                found="; ".join(moved[:SHOWN]),
                remedy="Another `dataset.split.seed` places all items anew, as their source says",
            )

    def _together(self, cliques: Sequence[Clique]) -> list[list[str]]:
        """What must be in one split: near-duplicates, what the source groups, then all by way of others."""
        groups: dict[str, list[str]] = {}
        for key, item in sorted(self._found.items.items()):
            groups.setdefault(item.group, []).append(key)
        near = ([key for key in clique if key in self._words] for clique in cliques)
        return [*near, *groups.values(), *self._found.groups.values()]

    def _keep_apart(self, keys: Sequence[str]) -> None:
        held = {key: split for key in keys if key not in self._found.reasons and (split := self._split(key))}
        if len(set(held.values())) < 2:
            return
        first = min(held, key=lambda key: (key in self._found.new, -PROTECTED[held[key]], key))
        others = [key for key, split in held.items() if split != held[first]]
        named = f"{self._found.named(first)} in {held[first]}"
        if self._config.leaks == "refuse":
            shown = [f"{self._found.named(key)} in {held[key]}" for key in others[:SHOWN]]
            raise VersionError(
                "the source has near-duplicates, or items of one group, in different splits",
                where="dataset.split.policy",
                found=f"{named}, and {', '.join(shown)}",
                remedy="Take one of them out of the source; or `leaks: keep-out` keeps those out of training "
                "that are like what is tested",
            )
        for key in others:
            if key in self._found.new:
                self._found.keep_out(
                    key, f"in {held[key]}, and a near-duplicate or of one group with {named}"
                )


def _no_field(name: str, items: Iterable[Item], what: str) -> VersionError:
    known = sorted({field for item in items for field in item.metadata})
    return VersionError(
        f"no item has {what} in its metadata",
        where="dataset.split.policy",
        found=", ".join(known) or "no metadata at all",
        expected=repr(name),
        remedy="Name the field; a `table` source takes columns along that `metadata: [COLUMN]` names",
    )
