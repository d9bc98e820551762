from __future__ import annotations

import pytest

from goldloop.errors import ModelError, RecipeError
from goldloop.evaluation.gates import gates
from goldloop.evaluation.gates.no_worse_than_champion import FALSE_ALARMS

COMPARISONS = 50


def gate(metric="accuracy", **fields):
    return gates.create({"kind": "no-worse-than-champion", "metric": metric, **fields})


def refusals(make_report, challenger, champion, **fields):
    """How many of 50 challengers are refused, each with a champion and items of its own."""
    options = {"classes": 3, **fields}
    margin = options.pop("margin", 0.01)
    metric = options.pop("metric", "accuracy")
    return sum(
        not gate(metric, margin=margin)
        .judge(
            make_report(challenger, seed=2 * turn, labels=turn, **options),
            make_report(champion, seed=2 * turn + 1, labels=turn, model="mail/1", **options),
        )
        .passed
        for turn in range(COMPARISONS)
    )


@pytest.mark.parametrize("items", [25, 300])
@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_equally_good_challengers_are_refused_no_more_often_than_stated(make_report, items, metric):
    found = refusals(make_report, 0.9, 0.9, items=items, metric=metric, margin=0)
    assert found <= FALSE_ALARMS * COMPARISONS


def test_a_truly_worse_challenger_is_refused(make_report):
    assert refusals(make_report, 0.75, 0.92, items=300) == COMPARISONS


def test_a_better_challenger_passes(make_report):
    assert refusals(make_report, 0.95, 0.9, items=300) == 0


def test_a_loss_within_the_margin_passes_however_sure_it_is(make_report):
    challenger, champion = make_report(0.8, seed=1), make_report(0.95, seed=2, model="mail/1")
    assert not gate().judge(challenger, champion).passed
    lenient = gate(margin=0.5).judge(challenger, champion)
    assert lenient.passed
    assert "not a loss of more than 0.5" in lenient.explanation


def test_a_loss_that_may_be_chance_passes_and_is_told(make_report):
    champion = make_report(1.0, items=20, model="mail/1")
    challenger = make_report(0.9, items=20, seed=3)
    lost = len(challenger.wrong())
    assert 1 <= lost <= 3
    verdict = gate().judge(challenger, champion)
    assert verdict.passed
    assert "may be chance" in verdict.explanation
    assert f"{-lost / 20:+.3f}" in verdict.explanation


def test_a_refusal_says_by_how_much_how_sure_and_in_which_class(make_report):
    challenger, champion = make_report(0.7, seed=1), make_report(0.95, seed=2, model="mail/1")
    verdict = gate().judge(challenger, champion)
    own, rival = (report.metrics["accuracy"].value for report in (challenger, champion))
    assert f"{own:.3f} against {rival:.3f} of mail/1 on the same 200 items" in verdict.explanation
    assert f"a difference of {own - rival:+.3f} (95% interval" in verdict.explanation
    assert "most of all in class" in verdict.explanation
    champions = {item.key for item in champion.items if not item.wrong}
    assert verdict.examples
    assert set(verdict.examples) <= champions & {item.key for item in challenger.wrong()}


def test_without_a_champion_it_passes_and_says_so(make_report):
    verdict = gate().judge(make_report(0.1), None)
    assert verdict.passed
    assert "there is no champion yet" in verdict.explanation


def test_without_a_common_item_it_refuses_and_says_why(make_report):
    challenger = make_report(items=2, shown={0: ["mail/2"]})
    champion = make_report(items=2, model="mail/1", shown={1: ["mail/1"]})
    verdict = gate().judge(challenger, champion)
    assert not verdict.passed
    assert "no item judges both fairly" in verdict.explanation


def test_reports_on_other_items_are_an_error_and_no_verdict(make_report):
    with pytest.raises(ModelError, match="not judged by the same items"):
        gate().judge(make_report(items=50), make_report(items=40, model="mail/1"))


@pytest.mark.parametrize("margin", [-0.1, "wide", float("nan")])
def test_a_margin_is_a_number_from_zero(margin):
    with pytest.raises(RecipeError, match="margin"):
        gate(margin=margin)
