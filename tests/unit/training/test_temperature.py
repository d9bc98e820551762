from __future__ import annotations

import json
import math

import numpy
import pytest

from goldloop.inference import Predictor
from goldloop.tasks._logits import TEMPERATURE
from goldloop.training import temperature as temperatures
from goldloop.training.run import train
from goldloop.training.temperature import FEWEST, temperature_of

BERT = {
    "model_type": "bert", "vocab_size": 400, "hidden_size": 16, "num_hidden_layers": 1,
    "num_attention_heads": 2, "intermediate_size": 32,
}  # fmt: skip


def drawn(count: int, too_sure: float, seed: int = 0):
    """Scores that are so many times too sure, and classes drawn by the true probabilities."""
    generator = numpy.random.default_rng(seed)
    logits = generator.normal(0, 1.5, (count, 4))
    true = numpy.exp(logits) / numpy.exp(logits).sum(axis=1, keepdims=True)
    said = numpy.exp(too_sure * logits) / numpy.exp(too_sure * logits).sum(axis=1, keepdims=True)
    scores = [dict(zip("abcd", row, strict=True)) for row in said.tolist()]
    return scores, ["abcd"[generator.choice(4, p=row)] for row in true]


@pytest.mark.parametrize("too_sure", [0.5, 1.0, 3.0])
def test_a_model_that_is_too_sure_by_a_factor_has_it_as_its_temperature(too_sure):
    assert temperature_of(*drawn(4000, too_sure)) == pytest.approx(too_sure, rel=0.1)


def test_few_items_give_none():
    scores, expected = drawn(FEWEST, 1.0)
    assert temperature_of(scores[:-1], expected[:-1]) is None
    assert temperature_of(scores, expected) is not None


def test_a_split_without_an_error_does_not_make_a_model_wholly_sure():
    scores = [{"a": 0.8, "b": 0.2}] * FEWEST
    found = temperature_of(scores, ["a"] * FEWEST)
    assert 0.1 < found < 1
    assert math.isfinite(found)


def test_a_probability_of_nothing_is_no_error():
    assert math.isfinite(temperature_of([{"a": 1.0, "b": 0.0}] * FEWEST, ["b"] * FEWEST))


def test_it_is_kept_with_the_model_and_changes_how_sure_it_is_and_no_answer(
    make_material, cache, tmp_path, monkeypatch
):
    monkeypatch.setattr(temperatures, "FEWEST", 1)
    chosen = make_material("text-classification", BERT)
    run = train(chosen.task, chosen.config(), chosen.splits(), tmp_path / "run", cache, {})
    file = run.model / "goldloop.json"
    kept = json.loads(file.read_text())["settings"][TEMPERATURE]
    texts = chosen.rows["text"][:]
    own = Predictor.load(run.model)
    tempered = own.predict(texts)
    own.model.settings[TEMPERATURE] = 1.0
    plain = own.predict(texts)
    assert [each.target for each in tempered] == [each.target for each in plain]
    for after, before in zip(tempered, plain, strict=True):
        raised = {name: score ** (1 / kept) for name, score in before.scores.items()}
        whole = sum(raised.values())
        assert after.scores == pytest.approx({name: one / whole for name, one in raised.items()}, rel=1e-4)
