from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldloop.errors import TrainingError
from goldloop.training.config import TrainingConfig
from goldloop.training.search import Range, Space, TuningConfig, default_space, with_settings
from goldloop.training.study import Book

TRAINING = TrainingConfig(checkpoint="x/y", learning_rate=1e-4).model_dump(mode="json", by_alias=True)
VALUES = {
    "training.learning_rate": Range(low=1e-5, high=1e-3, log=True),
    "training.epochs": Range(low=1, high=9),
    "training.batch_size": (16, 32, None),
}


def _book(folder, sampler="tpe", trials=14, values=VALUES, seed=0):
    config = TuningConfig.model_validate({"trials": trials, "sampler": sampler, "space": values})
    return Book(folder / "study.log", config, Space(values, TRAINING), seed, 5)


def _drawn(book, give_up_at=None):
    """All trials to the end, or to the one at which the process is killed."""
    found = []
    while (trial := book.next()) is not None:
        chosen = book.space.draw(trial)
        if trial.number == give_up_at:
            return found
        found.append(chosen)
        book.study.tell(trial, chosen["training.learning_rate"] * chosen["training.epochs"])
    return found


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_study_given_up_draws_what_one_that_was_not_draws(tmp_path, sampler):
    whole = _drawn(_book(tmp_path / "whole", sampler))
    first = _drawn(_book(tmp_path / "killed", sampler), give_up_at=9)
    rest = _drawn(_book(tmp_path / "killed", sampler))
    assert len(whole) == 14
    assert first + rest == whole
    assert _drawn(_book(tmp_path / "other", sampler, seed=1)) != whole


def test_the_first_trial_is_the_recipes_own_where_the_space_holds_it(tmp_path):
    values = {name: VALUES[name] for name in ("training.learning_rate", "training.epochs")}
    own = {"training.learning_rate": 1e-4, "training.epochs": 5}
    assert _drawn(_book(tmp_path / "held", trials=1, values=values)) == [own]
    assert Space({"training.epochs": (1, 2)}, TRAINING).standing() is None
    assert Space({"training.learning_rate": Range(low=1, high=2)}, TRAINING).standing() is None


def test_a_grid_is_every_combination_once(tmp_path):
    values = {
        "training.learning_rate": (1e-4, 1e-3),
        "training.epochs": Range(low=1, high=7, step=3),
    }
    book = _book(tmp_path, "grid", trials=100, values=values)
    assert book.wanted == 6
    found = _drawn(book)
    assert sorted(tuple(chosen.values()) for chosen in found) == [
        (rate, epochs) for rate in (1e-4, 1e-3) for epochs in (1, 4, 7)
    ]


def test_importance_tells_what_made_the_difference(tmp_path):
    book = _book(tmp_path, "random")
    found = []
    while (trial := book.next()) is not None:
        if len(found) < 4:
            assert book.importance() is None
        chosen = book.space.draw(trial)
        found.append(chosen)
        book.study.tell(trial, chosen["training.epochs"])
    shares = book.importance()
    assert sum(shares.values()) == pytest.approx(1)
    assert max(shares, key=shares.get) == "training.epochs"


def test_a_book_that_is_none_is_an_error_that_says_where(tmp_path):
    (tmp_path / "study.log").write_text("not a book\n")
    with pytest.raises(TrainingError, match=r"study\.log"):
        _book(tmp_path)


def test_the_usual_space_holds_any_recipes_own_settings():
    for rate in (1e-6, 5e-5, 0.1):
        config = TrainingConfig(checkpoint="x/y", learning_rate=rate, weight_decay=0.01, warmup=0.5)
        space = Space(default_space(config), config.model_dump(mode="json", by_alias=True))
        assert not list(space.mistakes())
        assert space.standing() is not None


@given(
    st.dictionaries(
        st.sampled_from(["training.epochs", "training.lora.rank", "training.early_stopping.patience"]),
        st.integers(1, 99),
    )
)
@settings(deadline=None, max_examples=30)
def test_settings_are_where_they_were_put_and_all_else_stays(chosen):
    before = {**TRAINING, "lora": None, "early_stopping": True}
    after = with_settings(before, chosen)
    touched = {name.split(".")[1] for name in chosen}
    assert {name: after[name] for name in before if name not in touched} == {
        name: before[name] for name in before if name not in touched
    }
    for name, value in chosen.items():
        place = after
        for part in name.split(".")[1:]:
            place = place[part]
        assert place == value


def test_whole_numbers_are_drawn_where_the_setting_is_one(tmp_path):
    for chosen in _drawn(_book(tmp_path, "random")):
        assert isinstance(chosen["training.epochs"], int)
        assert float(f"{chosen['training.learning_rate']:.4g}") == chosen["training.learning_rate"]
