from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldloop.training.break_even import BreakEven, CompilePlan, Experience, Experiences, guessed_seconds
from goldloop.training.data import PreparedSplit
from goldloop.training.device import make_accelerator
from goldloop.training.engine import Engine

GUESS = {"whole": 60.0, "regional": 10.0}
BERT = {
    "model_type": "bert", "vocab_size": 400, "hidden_size": 16, "num_hidden_layers": 2,
    "num_attention_heads": 2, "intermediate_size": 32,
}  # fmt: skip


def settled(advisor, step_seconds, left):
    """What is advised once the steps have their pace."""
    assert advisor.advice(step_seconds * 9, left) == "stay"
    return advisor.advice(step_seconds, left)


@pytest.mark.parametrize(
    ("left", "advice"),
    # At 100 ms a step of which a fifth is gained, 500 steps earn 10 seconds, and 12,000 four times 60.
    [(400, "stay"), (600, "regional"), (11_000, "regional"), (13_000, "whole")],
)
def test_it_pays_where_enough_steps_are_left(left, advice):
    assert settled(BreakEven({}, GUESS), 0.1, left) == advice


def test_a_network_without_repeated_layers_is_compiled_whole_as_soon_as_it_pays():
    assert settled(BreakEven({}, {"whole": 60.0}), 0.1, 2_900) == "stay"
    assert settled(BreakEven({}, {"whole": 60.0}), 0.1, 3_100) == "whole"


def test_what_was_seen_counts_and_not_what_is_guessed():
    cheap = Experience(seconds=1.0, eager=0.1, compiled=0.05)
    useless = Experience(seconds=1.0, eager=0.1, compiled=0.11)
    assert settled(BreakEven({"whole": cheap}, GUESS), 0.1, 100) == "whole"
    assert settled(BreakEven({"whole": useless, "regional": useless}, GUESS), 0.1, 10**6) == "stay"


@given(st.floats(1e-4, 10), st.integers(0, 10**6))
def test_once_it_was_not_worth_it_nothing_is_advised_any_more(step_seconds, left):
    advisor = BreakEven({}, GUESS)
    if settled(advisor, step_seconds, left) == "stay":
        assert advisor.advice(step_seconds * 100, left) == "stay"


@pytest.mark.parametrize(("compiled", "advice"), [(0.08, "stay"), (0.099, "stop"), (0.2, "stop")])
def test_compiled_steps_that_are_no_faster_are_given_up(compiled, advice):
    advisor = BreakEven({}, GUESS)
    assert settled(advisor, 0.1, 10**6) == "whole"
    advisor.compiled("whole", 42.0)
    assert advisor.advice(9.0, 10**6) == "stay"
    assert advisor.learned is None
    assert advisor.advice(compiled, 10**6) == advice
    assert advisor.learned == ("whole", Experience(42.0, 0.1, compiled))
    assert advisor.advice(compiled, 10**6) == "stay"


@pytest.fixture
def engine(make_material, cache):
    chosen = make_material("text-classification", BERT)
    config = chosen.config()
    model = chosen.task.model(config.checkpoint_argument(), texts=chosen.task.training_texts(chosen.rows))
    data = PreparedSplit.prepare(chosen.task, model, chosen.rows, cache)
    return Engine(chosen.task, model, config, data, make_accelerator(config))


def test_experiences_are_kept_by_scope(engine, tmp_path):
    first, second = Experience(1.0, 2.0, 3.0), Experience(4.0, 5.0, 6.0)
    kept = Experiences(tmp_path / "compiled", engine)
    assert kept.read() == {}
    kept.add("whole", second)
    kept.add("whole", first)
    kept.add("regional", second)
    assert Experiences(tmp_path / "compiled", engine).read() == {"whole": first, "regional": second}


@pytest.mark.parametrize("content", ["", "[]", '{"whole": {"seconds": 1}}', '{"whole": 3}'])
def test_a_damaged_file_is_no_experience(content, engine, tmp_path):
    kept = Experiences(tmp_path / "compiled", engine)
    kept.add("whole", Experience(1.0, 2.0, 3.0))
    (file,) = (tmp_path / "compiled").iterdir()
    file.write_text(content)
    assert kept.read() == {}


def test_another_batch_size_is_another_experience(engine, tmp_path):
    Experiences(tmp_path, engine).add("whole", Experience(1.0, 2.0, 3.0))
    engine.config = engine.config.model_copy(update={"batch_size": 2})
    assert Experiences(tmp_path, engine).read() == {}


def test_layers_that_repeat_are_guessed_to_take_less(engine):
    guess = guessed_seconds(engine.model.network)
    assert 0 < guess["regional"] < guess["whole"]


def test_on_a_cpu_the_clock_decides_nothing(engine, tmp_path):
    plan = CompilePlan(engine, tmp_path)
    plan.begin()
    assert not plan.advises
    assert plan.advice(100.0, 10**9) == "stay"
    assert plan.follow("stay") is None
    assert engine.model.packed_shape is None
    assert engine.forward is engine.network
