"""The laws that every gate keeps. A new file in `goldloop/evaluation/gates` is held to them unasked."""

from __future__ import annotations

import pytest

from goldloop.errors import RecipeError
from goldloop.evaluation.costs import Costs
from goldloop.evaluation.data import JudgingData
from goldloop.evaluation.gates import gates
from goldloop.evaluation.gates.base import Verdict
from goldloop.evaluation.report import evaluate
from goldloop.records import Prediction
from goldloop.tasks import tasks

KINDS = gates.names()
METRIC = "accuracy"
CLASSES = ["a", "b", "c"]


def report(model, right):
    """A model that is right about every item, quick, and judged by what it does not know; or none of it."""
    task = tasks.create({"kind": "text-classification", "classes": CLASSES})
    rows = [{"key": f"{n:04}", "text": f"{n}", "label": n % 3, "shown_models": []} for n in range(90)]

    def predict(contents):
        chosen = [(int(content) + (not right)) % 3 for content in contents]
        return [Prediction(target=CLASSES[number], confidence=0.9) for number in chosen]

    costs = Costs(
        latency_p50=0.001 if right else 9,
        latency_p99=0.002 if right else 10,
        items_per_second=900 if right else 0.1,
        memory=10**9 if right else 10**11,
        size=10**8 if right else 10**10,
        hardware="a machine",
    )
    data = JudgingData(
        agreement=0.99 if right else 0.3,
        alpha=0.98 if right else 0.0,
        items_compared=50,
        checks=("every group is in one split", "near-duplicates are in one split"),
        seen=() if right else ("0001", "0002"),
    )
    judged = evaluate(
        task,
        rows,
        predict,
        name="abc",
        model=model,
        version="abc@1",
        split="test",
        around=lambda row, content: {"length": int(row["key"]), "source": f"{int(row['key']) % 2}:files"},
        measure=lambda contents, rate: costs,
    )
    return judged.model_copy(update={"data": data})


PERFECT, AWFUL = report("abc/1", right=True), report("abc/2", right=False)


def test_there_are_gates_to_hold_to_the_laws():
    assert {"at-least", "no-worse-than-champion"} <= set(KINDS)


OF_ANSWERS = [kind for kind in KINDS if gates.get(kind).about == "answers"]
OF_A_METRIC = [kind for kind in KINDS if "metric" in gates.get(kind).Config.model_fields]


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def gate(kind):
    return gates.create(gates.get(kind).example_config(METRIC))


def test_the_example_is_of_its_kind(kind, gate):
    assert gate.config.kind == kind
    assert gate.config == gates.config(gate.config.model_dump(by_alias=True))


def test_a_perfect_model_passes(gate):
    assert gate.judge(PERFECT, AWFUL).passed
    assert gate.judge(PERFECT, PERFECT).passed


def test_a_perfect_model_passes_where_there_is_no_champion(gate):
    assert gate.judge(PERFECT, None).passed


def test_an_awful_model_is_refused(gate):
    assert not gate.judge(AWFUL, PERFECT).passed


@pytest.mark.parametrize("kind", OF_ANSWERS, indirect=True)
def test_the_items_that_speak_against_an_awful_model_are_named(gate):
    verdict = gate.judge(AWFUL, PERFECT)
    assert verdict.examples
    assert set(verdict.examples) <= {item.key for item in AWFUL.wrong()}


@pytest.mark.parametrize("kind", OF_A_METRIC, indirect=True)
def test_a_gate_of_a_metric_tells_its_figure(gate):
    verdict = gate.judge(AWFUL, PERFECT)
    assert verdict.figure == 0
    assert METRIC in verdict.explanation


@pytest.mark.parametrize("challenger", [PERFECT, AWFUL], ids=["perfect", "awful"])
@pytest.mark.parametrize("champion", [PERFECT, AWFUL, None], ids=["perfect", "awful", "none"])
def test_a_verdict_is_one_sentence_with_its_figure(gate, challenger, champion):
    verdict = gate.judge(challenger, champion)
    if verdict.figure is not None:
        forms = (f"{verdict.figure:.3f}", f"{verdict.figure:+.3f}", f"{verdict.figure:g} of")
        assert any(form in verdict.explanation for form in forms)
    assert "\n" not in verdict.explanation
    assert ". " not in verdict.explanation
    assert not verdict.explanation.endswith(".")
    assert verdict.gate.startswith(gate.config.kind)


@pytest.mark.parametrize("challenger", [PERFECT, AWFUL], ids=["perfect", "awful"])
def test_a_verdict_is_read_as_it_was_written(gate, challenger):
    verdict = gate.judge(challenger, PERFECT)
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict


def test_the_same_reports_get_the_same_verdict(gate):
    assert gate.judge(AWFUL, PERFECT) == gate.judge(AWFUL, PERFECT)


@pytest.mark.parametrize("kind", OF_A_METRIC, indirect=True)
def test_a_figure_that_there_is_not_is_refused_with_those_there_are(kind):
    gate = gates.create(gates.get(kind).example_config("acuracy"))
    for champion in (None, AWFUL):
        verdict = gate.judge(PERFECT, champion)
        assert not verdict.passed
        assert verdict.figure is None
        assert "'acuracy'" in verdict.explanation
        for known in PERFECT.metrics:
            assert known in verdict.explanation


@pytest.mark.parametrize("kind", sorted(set(KINDS) - set(OF_ANSWERS)), indirect=True)
def test_a_report_that_does_not_tell_it_is_refused_with_what_to_do(gate):
    verdict = gate.judge(PERFECT.model_copy(update={"costs": None, "data": None}), None)
    assert not verdict.passed
    assert "evaluate again" in verdict.explanation


def test_an_unknown_field_is_refused(kind):
    with pytest.raises(RecipeError, match="marginn"):
        gates.create({**gates.get(kind).example_config(METRIC), "marginn": 1})
