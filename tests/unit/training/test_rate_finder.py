from __future__ import annotations

import json

import pytest
import torch

from goldloop.errors import TrainingError
from goldloop.inference import Predictor
from goldloop.progress import Silent
from goldloop.training.events import Note
from goldloop.training.rate_finder import FALLBACK, RangeTest, learning_rate, middle_of_fall, steps_of
from goldloop.training.run import train


def found(one, folder, identity="a") -> RangeTest:
    return learning_rate(one, folder, identity, Silent())


def state(one) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in one.model.network.state_dict().items()}


def test_a_run_with_what_was_found_is_a_run_with_that_rate_to_the_bit(texts, make_engine, tmp_path):
    # Dropout, running means and averages would all tell of a search that left something behind.
    fields = {"epochs": 2, "ema": 0.9, "freeze": {"thaw_every": 0.4}, "optimizer": "nadam"}
    searched = make_engine(texts, learning_rate="auto", **fields)
    test = found(searched, tmp_path)
    losses = [step.loss.item() for step in searched.steps()]
    plain = make_engine(texts, learning_rate=test.learning_rate, **fields)
    assert losses == [step.loss.item() for step in plain.steps()]
    with searched.scored_weights(), plain.scored_weights():
        expected = state(plain)
        assert all(torch.equal(value, expected[name]) for name, value in state(searched).items())


def test_running_means_are_as_before(convolutions, make_engine, tmp_path):
    one = make_engine(convolutions, learning_rate="auto", image_size=32)
    before = state(one)
    random = torch.get_rng_state()
    found(one, tmp_path)
    assert all(torch.equal(before[name], value) for name, value in state(one).items())
    assert torch.equal(torch.get_rng_state(), random)
    assert one.done == 0
    assert not one.optimizer.optimizer.state


def test_the_same_seed_finds_the_same_rate_at_which_the_loss_falls(images, make_engine, tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one = found(make_engine(images, learning_rate="auto", augment=False), tmp_path / "one")
    two = found(make_engine(images, learning_rate="auto", augment=False), tmp_path / "two")
    assert one == two
    assert one.falls
    place = min(range(len(one.rates)), key=lambda at: abs(one.rates[at] - one.learning_rate))
    assert one.losses[place] < one.losses[0]
    assert list(one.rates) == sorted(one.rates)
    assert 1e-5 < one.learning_rate < 1


def test_it_is_found_once(images, make_engine, tmp_path, monkeypatch):
    first = found(make_engine(images, learning_rate="auto"), tmp_path)
    again = make_engine(images, learning_rate="auto")
    monkeypatch.setattr(type(again), "taken", lambda *_, **__: pytest.fail("it trains"))
    assert found(again, tmp_path) == first
    assert again.learning_rate == first.learning_rate
    with pytest.raises(TrainingError, match="another configuration"):
        found(again, tmp_path, "b")
    (tmp_path / "learning_rate.json").write_text("{")
    with pytest.raises(TrainingError, match="Remove the run's folder"):
        found(again, tmp_path)


def test_a_run_says_what_was_found_and_keeps_it(images, cache, tmp_path):
    events = []
    config = images.config(learning_rate="auto", epochs=3)
    run = train(images.task, config, images.splits(), tmp_path / "run", cache, {}, events.append)
    kept = json.loads((run.folder / "run.json").read_text())
    rate = kept["learning_rate"]["learning_rate"]
    assert any(
        f"learning rate {rate:.2e}, found in" in event.text for event in events if isinstance(event, Note)
    )
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert max(line.get("learning_rate", 0) for line in lines) <= rate
    assert "Range test" in run.report.read_text()
    assert Predictor.load(run.model)


def test_where_the_loss_falls_at_no_rate_a_usual_one_is_taken(images, make_engine, tmp_path):
    class Blind(type(images.task)):
        def loss(self, outputs, batch, options=None):
            return outputs.logits.sum() * 0 + 1.0

    blind = type(images)(Blind(images.task.config), images.rows, images.network)
    test = found(make_engine(blind, learning_rate="auto"), tmp_path)
    assert (test.learning_rate, test.falls) == (FALLBACK, False)
    assert "falls at no learning rate" in test.note()


def test_the_middle_of_the_fall_is_where_it_is():
    flat, fall, rise = [3.0] * 10, [3.0 - 0.1 * n for n in range(1, 21)], [1.0 + n for n in range(5)]
    assert middle_of_fall([*flat, *fall, *rise]) in range(18, 22)
    bumpy = [loss + (0.15 if place % 5 == 0 else 0.0) for place, loss in enumerate(fall)]
    assert 3 <= middle_of_fall(bumpy) <= 15
    assert middle_of_fall(flat) is None
    assert middle_of_fall([3.0 - 0.001 * n for n in range(20)]) is None
    assert middle_of_fall([]) is None


def test_a_short_run_is_searched_for_shortly():
    assert (steps_of(1), steps_of(60), steps_of(10_000)) == (40, 60, 100)
