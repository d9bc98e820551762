from __future__ import annotations

import gzip
import json
from contextlib import closing

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from goldloop.training.data import PreparedSplit
from goldloop.training.device import make_accelerator
from goldloop.training.engine import Engine
from goldloop.training.profile import PARTS, TRACE_FILE, Profile
from goldloop.training.profiler import Plan, Profiler, Timer, covered_share, unmarked


def engine(material, cache, **fields) -> Engine:
    from accelerate.utils import set_seed

    config = material.config(**fields)
    accelerator = make_accelerator(config)
    set_seed(config.seed)
    model = material.task.model(config.checkpoint_argument(), texts=["a b"] * 3)
    data = PreparedSplit.prepare(material.task, model, material.rows, cache)
    return Engine(material.task, model, config, data, accelerator)


def outcome(one: Engine, steps) -> tuple[list[float], dict[str, torch.Tensor]]:
    losses = [step.loss.item() for step in steps]
    return losses, {name: value.clone() for name, value in one.model.network.state_dict().items()}


@pytest.mark.parametrize("kind", ["images", "texts"])
def test_a_profiled_run_learns_the_same_to_the_bit(kind, cache, tmp_path, request):
    material = request.getfixturevalue(kind)
    one = engine(material, cache, epochs=6)
    losses, weights = outcome(one, one.steps())
    other = engine(material, cache, epochs=6)
    told: list[str] = []
    profiled_losses, profiled_weights = outcome(other, Profiler(tmp_path, told.append).watch(other))
    assert profiled_losses == losses
    assert all(torch.equal(profiled_weights[name], value) for name, value in weights.items())
    assert len(told) == 1
    assert other.mark is unmarked


def test_parts_add_up_and_the_trace_shows_them(texts, cache, tmp_path):
    one = engine(texts, cache, epochs=10)
    with closing(Profiler(tmp_path, lambda text: None).watch(one)) as steps:
        assert sum(1 for _ in steps) == one.total
    found = Profile.read(tmp_path)
    assert found is not None
    assert set(found.parts) == set(PARTS)
    assert sum(found.parts.values()) == pytest.approx(found.seconds)
    for part in ("copy", "forward", "loss", "backward", "clip", "optimizer"):
        assert found.parts[part] > 0
    assert found.gather_seconds > 0
    assert found.device == "cpu"
    assert found.device_busy is None
    assert 0 < found.useful_token_share <= 1
    assert found.operators
    assert all(operator.seconds > 0 and operator.calls > 0 for operator in found.operators)
    with gzip.open(tmp_path / TRACE_FILE, "rt") as file:
        names = {event.get("name") for event in json.load(file)["traceEvents"]}
    assert {"goldloop/forward", "goldloop/backward", "goldloop/optimizer", "goldloop/between"} <= names


def test_what_lies_between_two_steps_is_not_taken_for_a_part_of_them(texts, cache, tmp_path):
    one = engine(texts, cache, epochs=10)
    for _ in Profiler(tmp_path, lambda text: None).watch(one):
        with one.mark("evaluation"):
            torch.randn(200, 200) @ torch.randn(200, 200)
    found = Profile.read(tmp_path)
    assert "evaluation" not in found.parts
    assert sum(found.parts.values()) == pytest.approx(found.seconds)


def test_too_few_steps_are_not_profiled_but_trained(texts, cache, tmp_path):
    one = engine(texts, cache, epochs=1, batch_size=len(texts.rows))
    told: list[str] = []
    assert [step.number for step in Profiler(tmp_path, told.append).watch(one)] == [1]
    assert told == ["too few steps are left to profile any"]
    assert Profile.read(tmp_path) is None


@pytest.mark.parametrize("at", range(1, 12, 2))
def test_a_run_may_stop_at_any_step_of_a_profile(texts, cache, tmp_path, at):
    one = engine(texts, cache, epochs=6)
    with closing(Profiler(tmp_path, lambda text: None).watch(one)) as steps:
        for step in steps:
            if step.number == at:
                break
    assert one.mark is unmarked
    assert not torch.autograd._profiler_enabled()


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 200))
def test_a_plan_fits_into_the_steps_that_are_left(steps):
    plan = Plan.of(steps)
    assert (plan is None) == (steps < 3)
    if plan is not None:
        assert min(plan.warmup, plan.timed, plan.traced) >= 1
        assert plan.warmup + plan.timed + plan.traced <= steps


def test_nested_marks_are_counted_once():
    timer = Timer(torch.device("cpu"))
    with timer.mark("whole"):
        with timer.mark("between"), timer.mark("evaluation"):
            sum(range(20_000))
        with timer.mark("forward"):
            sum(range(20_000))
    found = timer.seconds()
    assert set(found) == {"whole", "between", "evaluation", "forward"}
    assert found["evaluation"] > found["between"]
    assert found["forward"] > found["whole"]


SPANS = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)), min_size=1, max_size=12)


@settings(deadline=None, max_examples=200)
@given(SPANS)
def test_the_covered_share_is_what_counting_finds(pairs):
    spans = [(float(start), float(start + length)) for start, length in pairs]
    ticked = {tick for start, length in pairs for tick in range(start, start + length)}
    whole = max(end for _, end in spans) - min(start for start, _ in spans)
    assert covered_share(spans) == pytest.approx(len(ticked) / whole)


def test_without_a_span_there_is_no_share():
    assert covered_share([]) is None
