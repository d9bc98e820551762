"""Searches on a tiny version: what they try, where they stop, what is left when they are killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

import goldloop
from goldloop import loop, tuning
from goldloop.dataset.version import Version
from goldloop.errors import RecipeError, TrainingError, VersionError
from goldloop.progress import Silent
from goldloop.recipe import Recipe, load
from goldloop.settings import Settings
from goldloop.training.search import Space
from goldloop.workspace import Workspace

RECIPE = """\
# What the weather is.
name: weather
sources:
  - {kind: table, url: %s, text: text, label: {from: label, use: imported}}
task: {kind: text-classification, classes: [rain, sun]}
dataset:
  split: {train: 0.6, validation: 0.3, test: 0.1}
training:
  checkpoint:
    from-config: {model_type: bert, vocab_size: 300, hidden_size: 16, num_hidden_layers: 1,
                  num_attention_heads: 2, intermediate_size: 32}
  max_length: 16
  epochs: 4              # four
  batch_size: 8
  learning_rate: 1.0e-2
  early_stopping: null
"""
SEARCHED = ["tuning.trials=3", "tuning.space={training.learning_rate: {low: 1e-4, high: 5e-2, log: true}}"]


@pytest.fixture(scope="module")
def committed(tmp_path_factory) -> Path:
    """A workspace with one version, and MLflow's database."""
    folder = tmp_path_factory.mktemp("committed")
    words = {"rain": "wet grey umbrella drops", "sun": "dry blue hat light"}
    rows = [f"{number} {words[label]},{label}" for number in range(40) for label in words]
    (folder / "texts.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    (folder / "weather.yaml").write_text(RECIPE % (folder / "texts.csv"))
    workspace = Workspace(folder / "state", Settings())
    recipe = load(folder / "weather.yaml")
    loop.pull(recipe, workspace)
    loop.commit(recipe, workspace)
    return folder


@pytest.fixture
def home(committed, tmp_path) -> Path:
    shutil.copytree(committed / "state", tmp_path / "state")
    shutil.copy(committed / "weather.yaml", tmp_path)
    return tmp_path


@pytest.fixture
def workspace(home) -> Workspace:
    return Workspace(home / "state", Settings())


def _recipe(home: Path, *overrides: str) -> Recipe:
    return load(home / "weather.yaml", overrides)


def _facts(found: Any) -> list[dict[str, Any]]:
    """What a search tried, without what it cost."""
    return [{**asdict(trial), "seconds": None} for trial in found.trials]


class _Told(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def test_a_search_ends_with_its_best_run_as_train_finds_it(home, workspace):
    told = _Told()
    found = goldloop.tune(_recipe(home, *SEARCHED), workspace, told)

    assert [trial.number for trial in found.trials] == [0, 1, 2]
    assert found.trials[0].settings == {"training.learning_rate": 1e-2}
    assert found.own == found.trials[0].value
    assert found.best.value == max(trial.value for trial in found.trials if trial.outcome == "finished")
    assert any("test split is not touched" in text for text in told.said)
    kept = list((workspace.runs / "weather").glob("tuning-*/*/model"))
    assert [folder.parent.name for folder in kept] == [found.best.run]
    assert not list((workspace.runs / "weather").glob("tuning-*/*/checkpoints/*"))

    before = (found.folder / "run.json").stat().st_mtime_ns
    run = loop.train(_recipe(home, *SEARCHED, *found.overrides), workspace)
    assert run.folder == found.folder
    assert (run.folder / "run.json").stat().st_mtime_ns == before
    assert run.value == found.best.value


def test_the_same_search_again_trains_nothing_and_more_trials_go_on(home, workspace, monkeypatch):
    first = tuning.tune(_recipe(home, *SEARCHED), workspace)
    with monkeypatch.context() as patched:
        patched.setattr("goldloop.wiring.fit", lambda *_: pytest.fail("it trains"))
        assert tuning.tune(_recipe(home, *SEARCHED), workspace).facts() == first.facts()
    more = tuning.tune(_recipe(home, *SEARCHED, "tuning.trials=5"), workspace)
    assert _facts(more)[:3] == _facts(first)
    assert len(more.trials) == 5


def test_the_test_split_is_not_read(home, workspace, monkeypatch):
    asked = []
    dataset = Version.dataset

    def watched(version, split):
        asked.append(split)
        return dataset(version, split)

    monkeypatch.setattr(Version, "dataset", watched)
    tuning.tune(_recipe(home, *SEARCHED, "tuning.trials=1"), workspace)
    assert set(asked) == {"train", "validation"}


def test_a_hopeless_trial_is_pruned_after_fewer_steps(home, workspace):
    rates = [1e-2, 1.1e-2, 1.2e-2, 1.3e-2, 1.4e-2, 1e-8]
    grid = ["tuning.sampler=grid", f"tuning.space={{training.learning_rate: {rates}}}"]
    recipe = next(
        recipe
        for seed in range(100)
        if (recipe := _recipe(home, *grid, f"training.seed={seed}"))
        and Space(recipe.tuning.space, {}).grid(seed)[-1] == {"training.learning_rate": 1e-8}
    )
    found = tuning.tune(recipe, workspace)
    hopeless = found.trials[-1]
    assert hopeless.outcome == "pruned"
    assert 0 < hopeless.steps < found.best.steps
    assert {trial.settings["training.learning_rate"] for trial in found.trials} == set(rates)

    unpruned = tuning.tune(_recipe(home, *grid, "tuning.pruner=none"), workspace)
    assert {trial.outcome for trial in unpruned.trials} == {"finished"}
    assert len({trial.steps for trial in unpruned.trials}) == 1


def test_settings_that_do_not_train_fail_alone(home, workspace):
    recipe = _recipe(
        home,
        "tuning.sampler=grid",
        "tuning.space={training.learning_rate: [1.0e-2, 1.0e+38]}",
        "training.max_grad_norm=null",
        "training.warmup=0",
    )
    found = tuning.tune(recipe, workspace)
    outcomes = {trial.settings["training.learning_rate"]: trial for trial in found.trials}
    assert outcomes[1e38].outcome == "failed"
    assert "no number" in outcomes[1e38].reason
    assert found.best == outcomes[1e-2]

    with pytest.raises(TrainingError, match=r"no trial came to its end.*no number.*tuning\.space"):
        tuning.tune(
            _recipe(
                home,
                "tuning.space={training.learning_rate: [1.0e+38]}",
                "tuning.trials=1",
                "training.max_grad_norm=null",
                "training.warmup=0",
            ),
            workspace,
        )


def test_no_trial_begins_when_the_time_is_over(home, workspace):
    found = tuning.tune(_recipe(home, *SEARCHED, "tuning.timeout=0.0001"), workspace)
    assert len(found.trials) == 1
    assert len(tuning.tune(_recipe(home, *SEARCHED, "tuning.timeout=0.0001"), workspace).trials) == 1


def test_what_is_needed_is_said(home, workspace, monkeypatch):
    recipe = _recipe(home, *SEARCHED)
    with pytest.raises(VersionError, match="goldloop commit"):
        tuning.tune(recipe.model_copy(update={"name": "unknown"}), workspace)
    with pytest.raises(TrainingError, match="checkpoint"):
        tuning.tune(recipe.model_copy(update={"training": None}), workspace)
    unjudged = _recipe(home, *SEARCHED, "dataset.split={train: 0.9, validation: 0, test: 0.1, seed: 1}")
    loop.commit(unjudged, workspace)
    with pytest.raises(TrainingError, match=r"no items in the validation split.*dataset\.split"):
        tuning.tune(unjudged, workspace)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match="one process"):
        tuning.tune(recipe, workspace)


def test_a_folder_of_an_ordinary_run_is_left_alone(home, workspace):
    own = loop.train(_recipe(home), workspace)
    before = {path: path.stat().st_mtime_ns for path in own.folder.rglob("*")}
    tuning.tune(_recipe(home, *SEARCHED), workspace)
    assert {path: path.stat().st_mtime_ns for path in own.folder.rglob("*")} == before


KILLED = """
import os, signal, sys
from pathlib import Path
from goldloop import tuning
from goldloop.recipe import load
from goldloop.settings import Settings
from goldloop.workspace import Workspace

home, at = Path(sys.argv[1]), int(sys.argv[2])
count = 0

def audit(name, details):
    global count
    if name == "os.rename" and "checkpoints" in str(details[0]):
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(audit)
tuning.tune(load(home / "weather.yaml", sys.argv[3:]), Workspace(home / "state", Settings()))
"""


@pytest.mark.parametrize("at", [3, 12])
def test_a_search_killed_in_a_trial_ends_as_one_that_was_not(home, workspace, tmp_path, committed, at):
    command = [sys.executable, "-c", KILLED, str(home), str(at), *SEARCHED]
    # Weights are the same to the bit where the same number of threads computed them.
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == -signal.SIGKILL, done.stderr
    (book,) = (workspace.runs / "weather").glob("tuning-*/study.log")
    with book.open("ab") as file:
        file.write(b'{"op_code": 8, "wor')
    book.with_name("study.log.lock").symlink_to("study.log")

    resumed = tuning.tune(_recipe(home, *SEARCHED), workspace)
    shutil.copytree(committed / "state", tmp_path / "undisturbed")
    undisturbed = tuning.tune(_recipe(home, *SEARCHED), Workspace(tmp_path / "undisturbed", Settings()))
    assert _facts(resumed) == _facts(undisturbed)
    assert (resumed.folder / "model" / "model.safetensors").read_bytes() == (
        undisturbed.folder / "model" / "model.safetensors"
    ).read_bytes()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("tuning.space={training.learning_rte: [1]}", "did you mean 'learning_rate'"),
        ("tuning.space={learning_rate: [1]}", "did you mean 'training.learning_rate'"),
        ("tuning.space={training.lora.rnk: [2]}", "did you mean 'rank'"),
        ("tuning.space={training.epochs: {low: 0, high: 3}}", r"training\.epochs: .*greater.*found 0"),
        ("tuning.space={training.schedule: [cosine, cosin]}", "cosin"),
        ("tuning.space={training.epochs: {lo: 1, high: 3}}", "did you mean 'low'"),
        ("tuning.space={training.epochs: {low: 3, high: 1}}", "low must be below high"),
        ("tuning.space={training.epochs: {high: 1}}", "without `low`"),
        ("tuning.space={training.epochs: 3}", "a list of values"),
        ("tuning.space={training.epochs: [3, 3]}", "twice"),
        ("tuning.space={}", "the space is empty"),
        ("tuning={sampler: grid, space: {training.warmup: {low: 0, high: 1}}}", "a step for training.warmup"),
        ("tuning={sampler: grid}", "a grid needs a space"),
        ("tuning={prunner: none}", "did you mean 'pruner'"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused_with_the_recipe(home, override, said):
    with pytest.raises(RecipeError, match=said):
        _recipe(home, override)


def test_a_search_needs_something_to_train(home):
    with pytest.raises(RecipeError, match="no `training:`"):
        _recipe(home, "training=null", *SEARCHED)


def test_facts_are_json(home, workspace):
    found = tuning.tune(_recipe(home, *SEARCHED, "tuning.trials=1"), workspace)
    assert json.loads(json.dumps(found.facts()))["overrides"] == found.overrides
