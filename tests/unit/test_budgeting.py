"""What more labels are worth, by heads on embeddings and by the recipe's own trainings; the rule for them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import goldloop.training.run as training_run
from goldloop import loop, selecting
from goldloop.budgeting import budget, known
from goldloop.errors import TrainingError, VersionError
from goldloop.learning_curve.budget import Budget
from goldloop.planning import plan
from goldloop.recipe import Recipe
from goldloop.workspace import Workspace

SECTIONS = {
    "dataset": {"split": {"train": 0.6, "validation": 0.15, "test": 0.25}, "duplicates": {"texts": "off"}},
    "training": {"epochs": 20},
}


@pytest.fixture
def recipe(notes, tmp_path):
    def recipe(items: int = 120, labeling: dict | None = None, **training) -> Recipe:
        sections = {**SECTIONS, "training": {**SECTIONS["training"], **training}}
        return notes.recipe(tmp_path, notes.rows(items // 2), labeling=labeling or {}, **sections)

    return recipe


def _committed(recipe: Recipe, workspace: Workspace) -> Recipe:
    loop.pull(recipe, workspace)
    loop.commit(recipe, workspace)
    return recipe


def test_heads_on_embeddings_tell_what_more_labels_are_worth(
    recipe, workspace, unlearned_checkpoint, monkeypatch
):
    recipe = _committed(recipe(checkpoint=str(unlearned_checkpoint)), workspace)
    assert known(recipe, workspace) is None

    found = budget(recipe, workspace)

    assert found.way == "embeddings"
    assert found.labels == 120
    sizes = found.curve.sizes
    assert sizes[-1] == found.trained == 72
    assert [len(draws) for draws in found.curve.figures] == [5] * (len(sizes) - 1) + [1]
    assert found.curve.means[-1] > 0.9
    assert found.curve.means[0] < found.curve.means[-1]
    worth = found.worth(60)
    assert worth.gain.low <= worth.gain.value <= worth.gain.high
    assert worth.figure.high <= 1
    low, high = (f"{100 * each:+.1f}" for each in (worth.gain.low, worth.gain.high))
    told = f"60 more labels are worth {100 * worth.gain.value:+.1f} ({low} to {high}) points"
    assert worth.in_words() == told
    page = Path(found.page).read_text()
    assert "<svg" in page
    assert found.version in page
    assert str(unlearned_checkpoint.parent) not in page
    assert {path.name for path in Path(found.page).parent.iterdir()} == {"budget.json", "budget.html"}
    assert Budget.of_facts(json.loads(json.dumps(found.facts()))) == found == known(recipe, workspace)
    monkeypatch.setattr("goldloop.quality.linear_head.fitted", lambda *_: pytest.fail("it is known"))
    assert budget(recipe, workspace) == found


def test_the_recipes_own_trainings_go_on_where_they_were_killed(recipe, workspace, monkeypatch):
    recipe = _committed(recipe(), workspace)
    real, trained = training_run.train, []

    def dies(*arguments, **options):
        if len(trained) == 3:
            raise KeyboardInterrupt
        trained.append((arguments[3].name, len(arguments[2]["train"])))
        return real(*arguments, **options)

    monkeypatch.setattr(training_run, "train", dies)
    with pytest.raises(KeyboardInterrupt):
        budget(recipe, workspace)
    again = lambda *a, **o: trained.append((a[3].name, len(a[2]["train"]))) or real(*a, **o)  # noqa: E731
    monkeypatch.setattr(training_run, "train", again)

    trained.clear()
    found = budget(recipe, workspace)

    assert found.way == "training"
    # Three of nine were done before: the rest is trained, each on so many labels as it says.
    assert len(trained) == 6
    assert all(name.split("-")[1] == str(size) for name, size in trained)
    assert found.curve.means[-1] > 0.8
    assert "bert, trained as the recipe says" in found.model


def test_what_cannot_be_told_says_why(recipe, workspace):
    recipe = _committed(recipe(items=40), workspace)
    with pytest.raises(VersionError, match="too few labels"):
        budget(recipe, workspace)
    with pytest.raises(TrainingError, match="which model"):
        budget(recipe.model_copy(update={"training": None}), workspace)


def test_labels_that_are_worth_too_little_are_not_asked_for(recipe, workspace, unlearned_checkpoint):
    stop = {"stop": {"worth": {"labels": 60, "gain": 0.3}}}
    patient = recipe(labeling=stop, checkpoint=str(unlearned_checkpoint))
    assert selecting.enough(patient, workspace, 0) is None
    _committed(patient, workspace)
    # A plan measures nothing; a push does.
    assert plan(patient, workspace).enough is None
    assert known(patient, workspace) is None
    why = selecting.enough(patient, workspace, 0, loop.SILENT)
    assert why is not None
    assert "60 more labels would gain" in why
    planned = plan(patient, workspace)
    assert planned.enough == why
    assert planned.new_tasks == 0
    assert why in planned.remarks()["push"]
    stop = {"stop": {"worth": {"labels": 60, "gain": 1e-9}}}
    eager = recipe(labeling=stop, checkpoint=str(unlearned_checkpoint))
    assert selecting.enough(eager, workspace, 0, loop.SILENT) is None
