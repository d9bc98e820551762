"""Why a challenger is worse: what differs is taken back, one difference at a time, by real trainings."""

from __future__ import annotations

import pytest

import goldloop.training.run as training_run
from goldloop import loop
from goldloop.attribution import blame
from goldloop.errors import ModelError
from goldloop.recipe import Recipe
from goldloop.workspace import Workspace

OTHER = {"food": "weather", "weather": "food"}


@pytest.fixture
def recipe(notes, tmp_path):
    def recipe(rows: list[tuple[str, str]], **training) -> Recipe:
        return notes.recipe(
            tmp_path,
            rows,
            dataset={"split": {"train": 0.6, "validation": 0.1, "test": 0.3}},
            training={"epochs": 20, "early_stopping": None, **training},
        )

    return recipe


def _model(recipe: Recipe, workspace: Workspace) -> str:
    """Commit, train and register; the version's digest comes back."""
    loop.pull(recipe, workspace)
    version = loop.commit(recipe, workspace)
    loop.train(recipe, workspace)
    return version.ref


def _held_out(workspace: Workspace, ref: str) -> set[str]:
    from goldloop.dataset import version as versions

    return set(versions.load(workspace.versions, "notes", ref.rpartition("@")[2]).dataset("test")["text"])


def _flipped(rows, spared: set[str], count: int) -> list[tuple[str, str]]:
    """So many labels of items that do not judge are wrong, all in one direction."""
    found, left = [], count
    for text, label in rows:
        wrong = label == "food" and left > 0 and text not in spared
        left -= wrong
        found.append((text, OTHER[label] if wrong else label))
    return found


def test_wrong_labels_are_blamed_and_a_search_is_not_done_twice(notes, recipe, workspace, monkeypatch):
    rows = notes.rows(60)
    first = _model(recipe(rows), workspace)
    bad = _flipped(rows, _held_out(workspace, first), 36)
    second = _model(recipe(bad, weight_decay=0.02), workspace)
    found = blame("notes/2", "notes/1", on=second, workspace=workspace)
    assert (found.model, found.against) == ("notes/2", "notes/1")
    assert found.value < found.rival
    labels, settings, seed = found.causes
    assert (labels.factor, settings.factor, seed.factor) == ("labels", "settings", "seed")
    assert labels.gain > 0.2
    assert labels.chance < 0.05
    assert abs(settings.gain) < labels.gain
    assert "labels changed" in labels.differs
    assert settings.differs == "weight_decay: 0.01, now 0.02"
    assert "taking back the labels gives back" in found.headline()

    monkeypatch.setattr(training_run, "Engine", None)
    again = blame("notes/2", "notes/1", on=second, workspace=workspace)
    assert again == found


def test_items_that_came_and_went_are_a_difference_of_data(notes, recipe, workspace):
    rows = notes.rows(60)
    _model(recipe(rows[:100], epochs=1), workspace)
    _model(recipe(rows[4:], epochs=1), workspace)
    found = blame("notes/2", "notes/1", workspace=workspace)
    differs = {cause.factor: cause.differs for cause in found.causes}
    assert set(differs) == {"data", "seed"}
    more, fewer = (int(part.split()[0]) for part in differs["data"].split(", "))
    assert 0 < more <= 20
    assert 0 <= fewer <= 4


def test_a_model_that_is_alone_cannot_be_blamed(notes, recipe, workspace):
    _model(recipe(notes.rows(60), epochs=1), workspace)
    with pytest.raises(ModelError, match="no other model"):
        blame("notes/1", workspace=workspace)
