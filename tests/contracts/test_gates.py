"""The laws that every gate keeps. A new file in `goldloop/evaluation/gates` is held to them unasked."""

from __future__ import annotations

import pytest

from goldloop.errors import RecipeError
from goldloop.evaluation.gates import gates
from goldloop.evaluation.gates.base import Verdict
from goldloop.evaluation.report import evaluate
from goldloop.records import Prediction
from goldloop.tasks import tasks

KINDS = gates.names()
METRIC = "accuracy"
CLASSES = ["a", "b", "c"]


def report(model, right):
    """A model that is right about every item or about none."""
    task = tasks.create({"kind": "text-classification", "classes": CLASSES})
    rows = [{"key": f"{n:04}", "text": f"{n}", "label": n % 3, "shown_models": []} for n in range(90)]

    def predict(contents):
        chosen = [(int(content) + (not right)) % 3 for content in contents]
        return [Prediction(target=CLASSES[number], confidence=0.9) for number in chosen]

    return evaluate(task, rows, predict, name="abc", model=model, version="abc@1", split="test")


PERFECT, AWFUL = report("abc/1", right=True), report("abc/2", right=False)


def test_there_are_gates_to_hold_to_the_laws():
    assert {"at-least", "no-worse-than-champion"} <= set(KINDS)


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


def test_an_awful_model_is_refused_with_items_that_speak_against_it(gate):
    verdict = gate.judge(AWFUL, PERFECT)
    assert not verdict.passed
    assert verdict.figure == 0
    assert verdict.examples
    assert set(verdict.examples) <= {item.key for item in AWFUL.wrong()}


@pytest.mark.parametrize("challenger", [PERFECT, AWFUL], ids=["perfect", "awful"])
@pytest.mark.parametrize("champion", [PERFECT, AWFUL, None], ids=["perfect", "awful", "none"])
def test_a_verdict_is_one_sentence_with_its_figure(gate, challenger, champion):
    verdict = gate.judge(challenger, champion)
    assert f"{verdict.figure:.3f}" in verdict.explanation
    assert METRIC in verdict.explanation
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


def test_a_figure_that_there_is_not_is_refused_with_those_there_are(kind):
    gate = gates.create(gates.get(kind).example_config("acuracy"))
    for champion in (None, AWFUL):
        verdict = gate.judge(PERFECT, champion)
        assert not verdict.passed
        assert verdict.figure is None
        assert "'acuracy'" in verdict.explanation
        for known in PERFECT.metrics:
            assert known in verdict.explanation


def test_an_unknown_field_is_refused(kind):
    with pytest.raises(RecipeError, match="marginn"):
        gates.create({**gates.get(kind).example_config(METRIC), "marginn": 1})
