"""Objects of several annotators."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldloop.tasks._geometry import box_overlaps
from goldloop.tasks._matching import agreement, consensus, counted, matched, per_class


def box(x, label="a", width=10.0):
    return {"label": label, "x": float(x), "y": 0.0, "width": width, "height": 10.0, "rotation": 0.0}


def mean(boxes):
    return {**boxes[0], "x": sum(each["x"] for each in boxes) / len(boxes)}


def test_the_matching_with_the_greatest_overlap_is_found():
    pairs = matched([box(0), box(4)], [box(3), box(9)], box_overlaps, 0.1)

    assert [pair[:2] for pair in pairs] == [(0, 0), (1, 1)]


def test_another_class_is_another_object():
    assert matched([box(0)], [box(0, "b")], box_overlaps, 0.1) == []
    assert agreement([box(0)], [box(0, "b")], box_overlaps) == 0


def test_agreement_falls_with_what_only_one_has_seen():
    assert agreement([], [], box_overlaps) == 1
    assert agreement([box(0)], [], box_overlaps) == 0
    assert agreement([box(0), box(50)], [box(0)], box_overlaps) == pytest.approx(2 / 3)
    assert agreement([box(0)], [box(0, width=10.001)], box_overlaps) < 1


@pytest.mark.parametrize(
    ("answers", "majority", "unanimous"),
    [
        ([[box(0)], [box(2)]], [box(1)], [box(1)]),
        ([[box(0)], [box(0)], []], [box(0)], None),
        ([[box(0)], [], []], [], None),
        ([[box(0)], []], None, None),
        ([[], []], [], []),
        ([[box(0), box(50)], [box(0)], [box(0)]], [box(0)], None),
        ([[box(0)], [box(0, "b")]], None, None),
    ],
)
def test_what_enough_have_seen_is_there(answers, majority, unanimous):
    for order in itertools.permutations(answers):
        assert consensus(order, "majority", box_overlaps, 0.5, mean) == majority
        assert consensus(order, "unanimous", box_overlaps, 0.5, mean) == unanimous


def test_figures_by_class_count_objects():
    found = per_class([[box(0), box(50, "b")]], [[box(1), box(90)]], ["a", "b"], box_overlaps, 0.5)

    assert found["a"] == {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "support": 2.0}
    assert found["b"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0.0}


def test_objects_are_counted_in_words():
    assert counted([]) == "nothing"
    assert counted(["a", "b", "a"]) == "2 a, 1 b"
    assert counted(list("abcdefg")).endswith(", ...")


places = st.integers(0, 30)
answers = st.lists(st.builds(box, places, st.sampled_from("ab"), st.floats(1, 20)), max_size=5)
LAW = settings(deadline=None, max_examples=60)


@LAW
@given(answers, answers)
def test_agreement_is_symmetric_and_whole_only_between_equal_answers(one, other):
    value = agreement(one, other, box_overlaps)

    assert 0 <= value <= 1
    assert value == agreement(other, one, box_overlaps)
    assert agreement(one, one, box_overlaps) == 1
    assert (value == 1) == (one == other)


@LAW
@given(st.lists(answers, min_size=1, max_size=3), st.sampled_from(["majority", "unanimous"]))
def test_consensus_depends_on_no_order_and_one_answer_is_its_own(several, policy):
    results = [
        consensus(order, policy, box_overlaps, 0.5, merged) for order in itertools.permutations(several)
    ]

    assert all(result == results[0] for result in results)
    assert consensus(several[:1], policy, box_overlaps, 0.5, merged) == several[0]
    assert consensus([several[0]] * 3, policy, box_overlaps, 0.5, merged) == several[0]


def merged(boxes):
    return min(boxes, key=repr)
