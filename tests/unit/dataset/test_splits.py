from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldloop.dataset.config import Split
from goldloop.dataset.splits import SPLITS, split_of

GROUPS = st.lists(st.text(st.characters(exclude_categories=["Cs"])), unique=True)


@given(GROUPS, GROUPS, st.integers(0, 3))
def test_an_item_stays_in_its_split_as_data_grow(before, added, seed):
    split = Split(seed=seed)
    first = {group: split_of(group, split) for group in before}
    later = {group: split_of(group, split) for group in (*added, *before)}
    assert first.items() <= later.items()
    assert set(later.values()) <= set(SPLITS)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_larger_test_share_takes_nothing_out_of_test(group):
    if split_of(group, Split(train=0.8, validation=0.1, test=0.1)) == "test":
        assert split_of(group, Split(train=0.5, validation=0.2, test=0.3)) == "test"


@pytest.mark.parametrize("seed", [0, 7])
def test_shares_of_many_groups_are_what_the_recipe_asks_for(seed):
    split = Split(train=0.7, validation=0.1, test=0.2, seed=seed)
    counted = Counter(split_of(f"group {number}", split) for number in range(20_000))
    for name, share in (("train", 0.7), ("validation", 0.1), ("test", 0.2)):
        # Four standard deviations of a share over so many groups are at most 0.013.
        assert counted[name] / 20_000 == pytest.approx(share, abs=0.013)


def test_another_seed_splits_otherwise():
    groups = [f"group {number}" for number in range(200)]
    one, other = Split(seed=0), Split(seed=1)
    assert [split_of(group, one) for group in groups] != [split_of(group, other) for group in groups]


def test_without_other_shares_everything_is_for_training():
    split = Split(train=1.0, validation=0.0, test=0.0)
    assert {split_of(f"group {number}", split) for number in range(500)} == {"train"}


def test_the_rule_is_the_same_on_every_machine():
    assert [split_of(f"group {number}", Split()) for number in RULE] == list(RULE.values())


RULE = {0: "train", 18: "test", 22: "test", 43: "validation"}
