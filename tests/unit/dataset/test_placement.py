"""Placing items: what has a split keeps it, what is like it follows, what would join two is kept out."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldloop.dataset.config import Split
from goldloop.dataset.placement import Before, Clique, Place, Placement
from goldloop.dataset.policies import ByGroup, Stratified
from goldloop.dataset.sorting import place
from goldloop.errors import VersionError
from goldloop.records import Item, Label
from goldloop.tasks import tasks

TASK = tasks.create({"kind": "text-classification", "classes": ["yes", "no", "rare"]})


def item(key: str, group: str | None = None, source: str = "0:table", **metadata: Any) -> Item:
    return Item(
        key=key,
        modality="text",
        uri=f"{key}.txt",
        group=group or key,
        source=source,
        text=key,
        media_type="text/plain",
        metadata=metadata,
    )


def label(key: str, target: str = "yes") -> Label[str]:
    return Label(key=key, target=target, annotators=(), agreement=None, provenance="imported")


@dataclass
class History:
    """Commits one after the other, without files."""

    split: Split = field(default_factory=Split)
    places: dict[str, Place] = field(default_factory=dict)
    policies: list[Any] = field(default_factory=list)
    seed: int | None = None
    rows: dict[str, str] = field(default_factory=dict)

    def commit(
        self, items: Iterable[Item], cliques: Sequence[Clique] = (), grow_test: bool = False, **targets: str
    ) -> Placement:
        known = {each.key: each for each in items}
        labels = [label(key, targets.get(key, "yes")) for key in known]
        random.Random(len(known)).shuffle(labels)
        found = place(TASK, labels, known, self.split, self.before(), cliques, grow_test=grow_test)
        self.rows = {key: each.split for key, each in found.places.items()}
        self.places = {key: each._replace(is_row=False) for key, each in self.places.items()}
        self.places |= {key: each._replace(is_row=True) for key, each in found.places.items()}
        self.policies, self.seed = list(found.policies), self.split.seed
        for key, each in found.places.items():
            assert self.policies[each.policy].place(each.group, each.basis) == each.split, key
        return found

    def before(self) -> Before:
        def valid(places: Mapping[str, Place]) -> dict[str, Place]:
            return {
                name: each
                for name, each in places.items()
                if self.policies[each.policy].seed == self.split.seed
            }

        groups = {each.group: each for each in self.places.values()}
        return Before(
            policies=self.policies,
            seed=self.seed,
            find=lambda keys: valid({key: self.places[key] for key in keys if key in self.places}),
            find_groups=lambda names: valid({name: groups[name] for name in names if name in groups}),
            has_tests="test" in self.rows.values(),
        )


def in_split(split: str, count: int = 1, rule: Split | None = None) -> list[str]:
    """Names that come into a split by themselves."""
    config = rule or Split()
    policy = ByGroup(seed=config.seed, train=config.train, validation=config.validation, test=config.test)
    names = (f"item-{number}" for number in range(10_000))
    return [name for name in names if policy.place(name, None) == split][:count]


TRAIN, TEST, VALIDATION = in_split("train", 20), in_split("test", 20), in_split("validation", 5)


def test_a_near_duplicate_of_a_test_item_is_a_test_item():
    history = History()
    history.commit([item(TEST[0]), item(TRAIN[0])])
    found = history.commit([item(TEST[0]), item(TRAIN[0]), item(TRAIN[1])], [(TEST[0], TRAIN[1])])
    assert history.rows == {TEST[0]: "test", TRAIN[0]: "train", TRAIN[1]: "test"}
    assert found.places[TRAIN[1]].group == TEST[0]
    assert not found.reasons


def test_near_duplicates_that_come_together_are_one_group_by_the_least_name():
    history = History()
    found = history.commit([item(TEST[0]), item(TRAIN[0]), item(TRAIN[1])], [(TEST[0], TRAIN[0])])
    least = min(TEST[0], TRAIN[0])
    assert found.places[TEST[0]].group == found.places[TRAIN[0]].group == least
    assert found.places[TRAIN[1]].group == TRAIN[1]


def test_a_bridge_between_two_splits_is_kept_out_and_both_ends_are_named():
    history = History()
    history.commit([item(TEST[0]), item(TRAIN[0])])
    bridge = [(TEST[0], VALIDATION[0]), (TRAIN[0], VALIDATION[0])]
    found = history.commit([item(TEST[0]), item(TRAIN[0]), item(VALIDATION[0])], bridge)
    assert history.rows == {TEST[0]: "test", TRAIN[0]: "train"}
    (reason,) = found.reasons.values()
    assert f"{TEST[0]}.txt" in reason
    assert f"{TRAIN[0]}.txt" in reason
    assert "in train" in reason
    assert "in test" in reason


def test_a_bridge_within_one_split_joins_it():
    history = History()
    history.commit([item(TEST[0]), item(TEST[1])])
    found = history.commit([item(TEST[0]), item(TEST[1]), item(TRAIN[0])], [(*sorted(TEST[:2]), TRAIN[0])])
    assert set(history.rows.values()) == {"test"}
    assert found.places[TRAIN[0]].group == min(TEST[:2])


def test_of_a_chain_between_two_splits_only_what_touches_the_other_is_kept_out():
    """train - new - new - new - test: those in the middle are like nothing in the other split."""
    history = History()
    history.commit([item(TEST[0]), item(TRAIN[0])])
    chain = [(TRAIN[0], "a"), ("a", "b"), ("b", "c"), ("c", TEST[0])]
    found = history.commit([item(key) for key in (TEST[0], TRAIN[0], "a", "b", "c")], chain)
    assert len(found.reasons) == 1
    assert history.rows.keys() == {TEST[0], TRAIN[0], "a", "b", "c"} - found.reasons.keys()
    for one, other in chain:
        assert history.rows.get(one) is None or history.rows.get(other) in (None, history.rows[one])


def test_an_item_that_comes_back_comes_back_to_its_split():
    history = History()
    history.commit([item(TEST[0]), item(TRAIN[0])])
    history.commit([item(TRAIN[0]), item(TRAIN[1])], [(TEST[0], TRAIN[1])])
    assert history.rows[TRAIN[1]] == "test", "its twin is gone, and yet it must not be trained on"
    history.commit([item(TEST[0]), item(TRAIN[0]), item(TRAIN[1])], [(TEST[0], TRAIN[1])])
    assert history.rows == {TEST[0]: "test", TRAIN[0]: "train", TRAIN[1]: "test"}


def test_what_comes_back_to_find_its_twin_elsewhere_is_kept_out():
    history = History()
    history.commit([item(TEST[0]), item(TRAIN[0])])
    history.commit([item(TRAIN[0]), item(TRAIN[1])])
    found = history.commit([item(key) for key in (TEST[0], TRAIN[0], TRAIN[1])], [(TEST[0], TRAIN[1])])
    assert history.rows == {TRAIN[0]: "train", TRAIN[1]: "train"}
    assert f"{TRAIN[1]}.txt" in found.reasons[TEST[0]]


def test_where_near_duplicates_are_looked_for_that_were_not_before_the_test_item_stays():
    history = History()
    history.commit([item(TEST[0]), item(TRAIN[0]), item(VALIDATION[0])])
    cliques = [(TEST[0], TRAIN[0]), (TRAIN[0], VALIDATION[0])]
    found = history.commit([item(key) for key in (TEST[0], TRAIN[0], VALIDATION[0])], cliques)
    assert history.rows == {TEST[0]: "test", VALIDATION[0]: "validation"}
    assert list(found.reasons) == [TRAIN[0]]


def test_items_of_a_group_stay_together_and_with_near_duplicates_of_any():
    history = History()
    found = history.commit(
        [
            item("a", "patient 7"),
            item("b", "patient 7"),
            item("c"),
            item("d", "patient 9"),
            item("e", "patient 9"),
        ],
        [("b", "c"), ("c", "d")],
    )
    assert len({each.group for each in found.places.values()}) == 1
    later = history.commit(
        [*(item(key, "patient 9") for key in "de"), item("f", "patient 9"), item("g", "patient 7")]
    )
    assert {each.split for each in later.places.values()} == {found.places["a"].split}


def test_groups_that_are_torn_already_are_refused_and_a_new_seed_mends_them():
    history = History()
    history.commit([item(TEST[0]), item(TRAIN[0])])
    regrouped = [item(TEST[0], "patient 7"), item(TRAIN[0], "patient 7")]
    with pytest.raises(VersionError, match=r"patient 7.*dataset\.split\.seed"):
        history.commit(regrouped)
    history.split = Split(seed=1)
    history.commit(regrouped)
    assert len(set(history.rows.values())) == 1


KEYS = st.lists(st.integers(0, 60).map(lambda number: f"item-{number}"), min_size=1, max_size=25, unique=True)
PAIRS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=25)


def cliques_of(pairs: Iterable[tuple[int, int]]) -> list[Clique]:
    named = [tuple(sorted({f"item-{one}", f"item-{other}"})) for one, other in pairs]
    return sorted({clique for clique in named if len(clique) == 2})


@given(st.lists(KEYS, min_size=1, max_size=5), PAIRS, st.randoms(), st.sampled_from(["group", "stratified"]))
def test_laws_of_growth(commits, pairs, chance, policy):
    """An item is in one split for ever, near-duplicates never in two, in any order; nothing is lost."""
    cliques = cliques_of(pairs)
    history, other = (History(Split(train=0.4, validation=0.3, test=0.3, policy=policy)) for _ in range(2))
    ever: dict[str, str] = {}
    for keys in commits:
        found = history.commit([item(key) for key in keys], cliques)
        shuffled, turned = list(keys), list(cliques)
        chance.shuffle(shuffled)
        chance.shuffle(turned)
        assert other.commit([item(key) for key in shuffled], turned).places == found.places
        assert found.places.keys() | found.reasons.keys() == set(keys)
        assert not found.places.keys() & found.reasons.keys()
        for key, split in history.rows.items():
            assert ever.setdefault(key, split) == split
        for clique in cliques:
            assert len({history.rows[key] for key in clique if key in history.rows}) <= 1
        groups: dict[str, set[str]] = {}
        for each in found.places.values():
            groups.setdefault(each.group, set()).add(each.split)
        assert all(len(splits) == 1 for splits in groups.values())


def test_a_frozen_test_split_grows_by_an_explicit_act_alone():
    history = History(Split(frozen=True))
    history.commit([item(TEST[0]), item(TRAIN[0])])
    assert history.rows[TEST[0]] == "test", "the first commit makes it"
    more = [item(key) for key in (*TEST[:3], *TRAIN[:3])]
    twin = [(TEST[0], TRAIN[1])]
    found = history.commit(more, twin)
    assert sorted(key for key, split in history.rows.items() if split == "test") == [TEST[0]]
    assert "--grow-test" in found.reasons[TRAIN[1]]
    assert {history.rows[key] for key in TEST[1:3]} <= {"train", "validation"}
    later = history.commit([*more, item(TEST[5]), item(TRAIN[5])], twin, grow_test=True)
    assert {key for key, split in history.rows.items() if split == "test"} == {TEST[0], TEST[5], TRAIN[1]}
    assert not later.reasons
    assert [policy.closed for policy in later.policies] == [False, True]
    history.split = Split(frozen=True, seed=3)
    with pytest.raises(VersionError, match="frozen"):
        history.commit(more)


def test_a_test_item_that_was_away_comes_back_to_a_frozen_split():
    history = History(Split(frozen=True))
    history.commit([item(TEST[0]), item(TEST[1]), item(TRAIN[0])])
    history.commit([item(TEST[0]), item(TRAIN[0])])
    history.commit([item(TEST[0]), item(TEST[1]), item(TRAIN[0])])
    assert history.rows[TEST[1]] == "test"


def test_classes_are_stratified_and_the_rarest_goes_first():
    history = History(Split(policy="stratified"))
    targets = {
        f"n{number}": ("rare" if number < 20 else "no" if number < 120 else "yes") for number in range(1_000)
    }
    found = history.commit([item(key) for key in targets], **targets)
    for name in ("rare", "no", "yes"):
        keys = [key for key, target in targets.items() if target == name]
        for split, share in (("train", 0.8), ("validation", 0.1), ("test", 0.1)):
            count = sum(found.places[key].split == split for key in keys)
            assert count == pytest.approx(share * len(keys), abs=1)


def test_stratification_makes_up_for_what_is_placed_as_far_as_it_can():
    history = History(Split(policy="stratified"))
    first = dict.fromkeys(TEST[:5], "rare")
    history.split = Split()
    history.commit([item(key) for key in first], **first)
    assert set(history.rows.values()) == {"test"}
    history.split = Split(policy="stratified")
    more = {**first, **{f"n{number}": "rare" for number in range(25)}}
    found = history.commit([item(key) for key in more], **more)
    counts = {
        split: sum(each.split == split for each in found.places.values()) for split in ("test", "validation")
    }
    assert counts == {"test": 5, "validation": 3}
    assert isinstance(found.policies[1], Stratified)


def test_a_task_without_classes_cannot_be_stratified():
    task = tasks.create(tasks.get("text-generation").example_config())
    key = "a"
    with pytest.raises(VersionError, match=r"text-generation.*temporal"):
        place(task, [label(key)], {key: item(key)}, Split(policy="stratified"), Before())


DAYS = [f"2024-01-{day:02}" for day in range(1, 31)]


def test_the_newest_items_are_for_testing_and_the_cut_stays():
    history = History(Split(policy={"kind": "temporal", "field": "taken"}))
    first = [item(day, taken=day) for day in DAYS]
    history.commit(first)
    assert [history.rows[day] for day in DAYS] == ["train"] * 24 + ["validation"] * 3 + ["test"] * 3
    old, new = item("old", taken="2024-01-05"), item("new", taken="2025-01-05")
    found = history.commit([*first, old, new, item("undated")])
    assert (history.rows["old"], history.rows["new"]) == ("train", "test")
    assert "taken" in found.reasons["undated"]


def test_a_group_is_as_new_as_its_newest_item():
    history = History(
        Split(
            policy={
                "kind": "temporal",
                "field": "t",
                "validation_from": "2024-02-01",
                "test_from": "2024-03-01",
            }
        )
    )
    found = history.commit(
        [
            item("a", t="2024-01-01"),
            item("b", t="2024-03-05"),
            item("c", t="2024-01-01"),
            item("d", "g", t="2024-02-05"),
        ],
        [("a", "b")],
    )
    assert history.rows == {"a": "test", "b": "test", "c": "train", "d": "validation"}
    assert found.places["a"].basis == "2024-03-05T00:00:00.000000+00:00"


def test_a_time_that_nobody_has_is_refused_with_the_fields_that_there_are():
    with pytest.raises(VersionError, match=r"taken_at.*'taken'|'taken'.*taken_at"):
        History(Split(policy={"kind": "temporal", "field": "taken"})).commit(
            [item("a", taken_at="2024-01-01")]
        )


PREDEFINED = {"kind": "predefined"}


def test_the_sources_own_splits_are_taken_over():
    history = History(Split(policy=PREDEFINED))
    found = history.commit(
        [
            item("a", split="train"),
            item("b", split="Dev"),
            item("c", split="test"),
            item("d"),
            item("e", split="val"),
        ]
    )
    assert history.rows == {"a": "train", "b": "validation", "c": "test", "e": "validation"}
    assert "split" in found.reasons["d"]
    history.split = Split(policy={**PREDEFINED, "otherwise": "train"})
    history.commit([item("a", split="train"), item("d")])
    assert history.rows == {"a": "train", "d": "train"}


def test_sources_can_be_splits():
    policy = {"kind": "predefined", "field": "source", "values": {0: "train", 1: "test"}}
    history = History(Split(policy=policy))
    history.commit([item("a", source="0:files"), item("b", source="1:files")])
    assert history.rows == {"a": "train", "b": "test"}


def test_names_that_mean_nothing_are_refused_with_what_to_write():
    with pytest.raises(VersionError, match=r"'holdout' \(2 items\).*values: \{holdout: test\}"):
        History(Split(policy=PREDEFINED)).commit([item("a", split="holdout"), item("b", split="holdout")])


@pytest.mark.parametrize("groups", [(None, None), ("patient 7", "patient 7")])
def test_near_duplicates_in_two_predefined_splits_are_refused_and_named_or_kept_out(groups):
    items = [
        item("a", groups[0], split="train"),
        item("b", groups[1], split="test"),
        item("c", split="train"),
    ]
    cliques = [("a", "b")] if groups[0] is None else []
    with pytest.raises(VersionError, match=r"b\.txt \(b\) in test, and a\.txt \(a\) in train.*keep-out"):
        History(Split(policy=PREDEFINED)).commit(items, cliques)
    history = History(Split(policy={**PREDEFINED, "leaks": "keep-out"}))
    found = history.commit(items, cliques)
    assert history.rows == {"b": "test", "c": "train"}
    assert "b.txt" in found.reasons["a"]


def test_a_new_copy_of_a_placed_item_that_its_source_puts_elsewhere_is_refused():
    history = History(Split(policy=PREDEFINED))
    history.commit([item("a", split="test")])
    with pytest.raises(VersionError, match=r"a\.txt \(a\) in test, and b\.txt \(b\) in train"):
        history.commit([item("a", split="test"), item("b", split="train")], [("a", "b")])


def test_a_source_that_changes_its_mind_is_told_so():
    history = History(Split(policy=PREDEFINED))
    history.commit([item("a", split="test"), item("b", split="train")])
    with pytest.raises(VersionError, match=r"a\.txt \(a\) is in test, its source says train.*seed"):
        history.commit([item("a", split="train"), item("b", split="train")])
    history.split = Split(policy=PREDEFINED, seed=1)
    history.commit([item("a", split="train"), item("b", split="train")])
    assert history.rows == {"a": "train", "b": "train"}


def test_other_shares_are_for_new_items_alone():
    history = History()
    history.commit([item(key) for key in (*TRAIN[:5], *TEST[:5])])
    before = dict(history.rows)
    history.split = Split(train=0.2, validation=0.4, test=0.4)
    found = history.commit([item(f"item-{number}") for number in range(300)])
    assert before.items() <= history.rows.items()
    assert len(found.policies) == 2
    share = sum(split == "test" for split in history.rows.values()) / 300
    assert share == pytest.approx(0.4, abs=0.12)
