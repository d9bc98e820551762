"""Policies: pure rules, that anyone can ask again at any time."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldloop.dataset.policies import (
    ByGroup,
    Policy,
    Predefined,
    Stratified,
    Temporal,
    policy_facts,
    read_policies,
)
from goldloop.dataset.splits import SPLITS
from goldloop.dataset.times import parse_time

NAMES = st.text(st.characters(exclude_categories=["Cs"]))
GROUPS = st.lists(NAMES, unique=True)

EVERY_KIND: list[Policy] = [
    ByGroup(seed=3, closed=True, train=0.8, validation=0.1, test=0.1),
    Stratified(seed=1, strata={"cat": (0.125, 0.25), "": (0.1, 0.2)}),
    Temporal(field="taken", validation_from="2024-01-01", test_from="2024-02-01"),
    Predefined(field="split", values={"dev": "validation"}, otherwise="train"),
]


def by_group(seed: int = 0, **shares: float) -> ByGroup:
    return ByGroup(seed=seed, **({"train": 0.8, "validation": 0.1, "test": 0.1} | shares))


@given(GROUPS, GROUPS, st.integers(0, 3))
def test_a_group_stays_in_its_split_as_data_grow(before, added, seed):
    rule = by_group(seed)
    first = {group: rule.place(group, None) for group in before}
    later = {group: rule.place(group, None) for group in (*added, *before)}
    assert first.items() <= later.items()
    assert set(later.values()) <= set(SPLITS)


@given(NAMES)
def test_a_larger_test_share_takes_nothing_out_of_test(group):
    if by_group().place(group, None) == "test":
        assert by_group(train=0.5, validation=0.2, test=0.3).place(group, None) == "test"


@given(NAMES)
def test_a_closed_test_split_takes_nothing_and_moves_nothing_else(group):
    closed = by_group().model_copy(update={"closed": True})
    if by_group().place(group, None) == "test":
        assert closed.place(group, None) in ("train", "validation")
    else:
        assert closed.place(group, None) == by_group().place(group, None)


@pytest.mark.parametrize(("seed", "closed"), [(0, False), (7, False), (0, True)])
def test_shares_of_many_groups_are_what_the_recipe_asks_for(seed, closed):
    rule = by_group(seed, train=0.7, validation=0.1, test=0.2).model_copy(update={"closed": closed})
    counted = Counter(rule.place(f"group {number}", None) for number in range(20_000))
    wanted = (
        {"train": 7 / 8, "validation": 1 / 8} if closed else {"train": 0.7, "validation": 0.1, "test": 0.2}
    )
    assert counted.keys() == wanted.keys()
    for name, share in wanted.items():
        # Four standard deviations of a share over so many groups are at most 0.013.
        assert counted[name] / 20_000 == pytest.approx(share, abs=0.013)


def test_another_seed_splits_otherwise():
    groups = [f"group {number}" for number in range(200)]
    assert [by_group(0).place(group, None) for group in groups] != [
        by_group(1).place(group, None) for group in groups
    ]


def test_without_other_shares_everything_is_for_training():
    rule = by_group(train=1.0, validation=0.0, test=0.0)
    assert {rule.place(f"group {number}", None) for number in range(500)} == {"train"}


def test_the_rule_is_the_same_on_every_machine():
    assert [by_group().place(f"group {number}", None) for number in RULE] == list(RULE.values())


RULE = {0: "train", 18: "test", 22: "test", 43: "validation"}


def test_a_class_has_limits_of_its_own():
    rule = Stratified(strata={"cat": (1.0, 1.0), "dog": (0.0, 1.0), "": (0.0, 0.0)})
    assert [rule.place("x", basis) for basis in ("cat", "dog", None, "cow")] == [
        "test",
        "validation",
        "train",
        None,
    ]


def test_the_newest_are_for_testing():
    january, march = parse_time("2024-01-31"), parse_time("2024-03-01T12:00:00+02:00")
    assert january is not None
    assert march is not None
    rule = Temporal(field="taken", validation_from=january, test_from=march)
    times = ["2024-01-30T23:59:59Z", "2024-01-31", "2024-03-01T09:59:59Z", "2024-03-01T10:00:00Z"]
    assert [rule.place("x", parse_time(time)) for time in times] == [
        "train",
        "validation",
        "validation",
        "test",
    ]
    assert rule.place("x", None) is None
    assert rule.model_copy(update={"closed": True}).place("x", parse_time("2025-01-01")) is None


def test_the_source_has_the_word():
    rule = Predefined(field="split", values={"dev": "validation", "eval": "test"})
    assert [rule.place("x", word) for word in ("dev", "eval", None)] == ["validation", "test", None]
    assert rule.model_copy(update={"otherwise": "train"}).place("x", None) == "train"
    assert rule.model_copy(update={"closed": True}).place("x", "eval") is None


def test_policies_come_back_from_a_version_as_they_were():
    assert {policy.kind for policy in EVERY_KIND} == {"group", "stratified", "temporal", "predefined"}
    assert read_policies({"policies": policy_facts(EVERY_KIND)}) == EVERY_KIND


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2024-03-01", "2024-03-01T00:00:00.000000+00:00"),
        ("2024-03-01T12:30:00+02:00", "2024-03-01T10:30:00.000000+00:00"),
        ("2024-03-01 12:30:00.5", "2024-03-01T12:30:00.500000+00:00"),
        ("2024:03:01 12:30:00", "2024-03-01T12:30:00.000000+00:00"),
        ("20240301", "2024-03-01T00:00:00.000000+00:00"),
        (1709294400, "2024-03-01T12:00:00.000000+00:00"),
        ("1709294400", "2024-03-01T12:00:00.000000+00:00"),
        (1709294400000, "2024-03-01T12:00:00.000000+00:00"),
        ("yesterday", None),
        ("", None),
        (True, None),
        (None, None),
        (float("nan"), None),
        (1e300, None),
    ],
)
def test_times_are_read_in_the_forms_that_sources_write(written, moment):
    assert parse_time(written) == moment
