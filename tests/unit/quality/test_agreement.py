import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldloop.quality.agreement import agreement_of, nominal_alpha, pairwise_agreement
from goldloop.tasks import tasks

TASK = tasks.create({"kind": "text-classification", "classes": ["a", "b", "c"]})
UNITS = st.lists(st.lists(st.sampled_from("abc"), max_size=4), max_size=12)


def test_pairwise_agreement_is_the_share_of_pairs_that_agree():
    assert pairwise_agreement(TASK, ["a", "a", "b"]) == pytest.approx(1 / 3)
    assert pairwise_agreement(TASK, ["a", "a"]) == 1
    assert pairwise_agreement(TASK, ["a"]) is None
    assert pairwise_agreement(TASK, []) is None


def test_alpha_is_what_it_comes_to_by_hand():
    # Coincidences: 3 a, 3 b; observed disagreement 2/6, expected 18/30.
    assert nominal_alpha([["a", "a"], ["a", "b"], ["b", "b"]]) == pytest.approx(1 - (2 / 6) / (18 / 30))


def test_alpha_leaves_out_items_with_one_answer_and_weighs_the_rest_by_their_answers():
    # 5 answers count, 4 a and 1 b. Two thirds of the first item's pairs are unlike, so 2 of its 3 answers.
    observed, expected = 2 / 5, 1 - 4 * 3 / (5 * 4)
    assert nominal_alpha([["a", "a", "b"], ["a", "a"], ["c"]]) == pytest.approx(1 - observed / expected)


@given(UNITS)
def test_alpha_is_at_most_one_and_forgets_order(units):
    alpha = nominal_alpha(units)
    assert alpha == pytest.approx(nominal_alpha([unit[::-1] for unit in units[::-1]]))
    assert alpha is None or alpha <= 1


@given(st.lists(st.sampled_from("abc"), min_size=2), st.integers(2, 4))
def test_alpha_of_equal_answers_is_one_where_answers_differ_at_all(answers, annotators):
    alpha = nominal_alpha([[answer] * annotators for answer in answers])
    assert alpha == (pytest.approx(1) if len(set(answers)) > 1 else None)


def test_alpha_of_those_who_always_differ_is_below_chance():
    alpha = nominal_alpha([["a", "b"], ["b", "a"]])
    assert alpha is not None
    assert alpha < 0


def test_a_datasets_agreement_leaves_out_items_with_one_answer():
    summary = agreement_of(TASK, [["a", "a"], ["a", "b"], ["c"], []])
    assert summary.mean == 0.5
    assert summary.items == 2
    assert summary.facts().keys() == {"mean", "items", "alpha"}


def test_without_two_answers_to_anything_nothing_is_known():
    summary = agreement_of(TASK, [["a"], []])
    assert (summary.mean, summary.items, summary.alpha) == (None, 0, None)
