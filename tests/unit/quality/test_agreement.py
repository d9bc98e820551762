import json

import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from goldloop.quality.agreement import agreement_of, nominal_alpha, pairwise_agreement
from goldloop.quality.alpha import expected_disagreement
from goldloop.tasks import tasks


def items(units):
    """Units as items: key -> annotator -> answer."""
    return {
        f"item-{place}": {f"annotator-{number}": answer for number, answer in enumerate(unit)}
        for place, unit in enumerate(units)
    }


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


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(UNITS)
def test_alpha_is_at_most_one_and_forgets_order(units):
    alpha = nominal_alpha(units)
    assert alpha == pytest.approx(nominal_alpha([unit[::-1] for unit in units[::-1]]))
    assert alpha is None or alpha <= 1


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from("abc"), min_size=2), st.integers(2, 4))
def test_alpha_of_equal_answers_is_one_where_answers_differ_at_all(answers, annotators):
    alpha = nominal_alpha([[answer] * annotators for answer in answers])
    assert alpha == (pytest.approx(1) if len(set(answers)) > 1 else None)


def test_alpha_of_those_who_always_differ_is_below_chance():
    alpha = nominal_alpha([["a", "b"], ["b", "a"]])
    assert alpha is not None
    assert alpha < 0


def test_a_datasets_agreement_leaves_out_items_with_one_answer():
    summary = agreement_of(TASK, items([["a", "a"], ["a", "b"], ["c"], []]))
    assert summary.mean == 0.5
    assert summary.items == 2
    assert json.loads(json.dumps(summary.facts()))["mean"] == 0.5


def test_without_two_answers_to_anything_nothing_is_known():
    summary = agreement_of(TASK, items([["a"], []]))
    assert (summary.mean, summary.items, summary.alpha) == (None, 0, None)


TAGS = tasks.create({"kind": "text-multilabel", "classes": ["a", "b", "c"]})
SETS = st.lists(st.sampled_from("abc"), unique=True).map(sorted)


def test_alpha_of_sets_is_what_it_comes_to_by_hand():
    # Jaccard distances: {a} and {a, b} are 1/2 apart, {a} and {c} 1, {a, b} and {c} 1.
    units = [[["a"], ["a", "b"]], [["c"], ["c"]]]
    observed = 2 * (1 / 2) / 4
    expected = 2 * (1 * 1 * 1 / 2 + 1 * 2 * 1 + 1 * 2 * 1) / (4 * 3)

    assert agreement_of(TAGS, items(units)).alpha == pytest.approx(1 - observed / expected)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(UNITS)
def test_alpha_by_the_tasks_own_measure_is_the_nominal_one_where_answers_are_alike_or_not(units):
    alone = [[[name] for name in unit] for unit in units]

    assert agreement_of(TAGS, items(alone)).alpha == pytest.approx(nominal_alpha(units))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(SETS, min_size=2, max_size=3), min_size=1, max_size=8))
def test_alpha_of_sets_is_at_most_one_and_forgets_order(units):
    alpha = agreement_of(TAGS, items(units)).alpha

    assert alpha == pytest.approx(agreement_of(TAGS, items([unit[::-1] for unit in units[::-1]])).alpha)
    assert alpha is None or alpha <= 1


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(SETS, min_size=2, max_size=2), min_size=40, max_size=40))
def test_alpha_from_drawn_pairs_is_near_the_exact_one_and_always_the_same(units):
    def expected(of, budget):
        found = expected_disagreement(of, lambda one, other: 1 - TAGS.agreement(one, other), budget)
        return float(found(numpy.ones((1, len(of))))[0])

    drawn = expected(units, 20)

    assert drawn == pytest.approx(expected([unit[::-1] for unit in units[::-1]], 20))
    assert abs(drawn - expected(units, 10_000)) < 6 * 0.5 / 20**0.5


class _Counting(tasks.get("text-similarity")):
    """Counts how often answers are compared."""

    compared = 0

    def agreement(self, a, b):
        self.compared += 1
        return super().agreement(a, b)


def test_the_comparisons_of_answers_to_different_items_are_bounded():
    task = _Counting(_Counting.Config(kind="text-similarity", scale={"least": 0, "most": 1000}))
    units = [[float(number), float(number)] for number in range(1000)]

    assert agreement_of(task, items(units)).alpha == 1
    assert task.compared <= 2 * len(units) + 200


@pytest.mark.parametrize("kind", tasks.names())
def test_every_kind_of_task_has_an_alpha(kind):
    task = tasks.create(tasks.get(kind).example_config())
    targets = [example.target for example in task.examples()]
    wrong = [targets[-1], *targets[:-1]]

    agreed = agreement_of(task, items([[target, target] for target in targets]))
    disputed = agreement_of(task, items(zip(targets, wrong, strict=True)))

    assert agreed.alpha == pytest.approx(1)
    assert disputed.alpha is not None
    assert disputed.alpha < 1


def test_free_texts_are_compared_by_their_own_measure_and_not_as_names():
    task = tasks.create(tasks.get("text-generation").example_config())
    units = [
        ["the cat sat on the mat", "the cat sat on a mat"],
        ["rain falls in spain", "rain falls in spain"],
    ]

    alpha = agreement_of(task, items(units)).alpha

    assert alpha is not None
    assert alpha > nominal_alpha(units) + 0.1
