"""Estimates on a tiny version, held against what the run itself then says."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

import goldloop
from goldloop import loop
from goldloop.errors import TrainingError, VersionError
from goldloop.recipe import load, parse
from goldloop.settings import Settings
from goldloop.tasks import tasks
from goldloop.workspace import Workspace

RECIPE = """\
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
  epochs: 3
  batch_size: 8
  early_stopping: {patience: 1}
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("recipe")
    words = {"rain": "wet grey umbrella", "sun": "dry blue hat"}
    rows = [f"{number} {words[label]},{label}" for number in range(40) for label in words]
    (folder / "texts.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    (folder / "weather.yaml").write_text(RECIPE % (folder / "texts.csv"))
    return folder / "weather.yaml"


@pytest.fixture(scope="module")
def workspace(recipe) -> Workspace:
    workspace = Workspace(recipe.parent / "state", Settings())
    loop.pull(load(recipe), workspace)
    loop.commit(load(recipe), workspace)
    return workspace


def _estimate(recipe, workspace, **options):
    return goldloop.estimate(recipe, workspace, **{"seconds": 0.5, **options})


def _files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_estimate_counts_what_the_run_then_has_and_leaves_nothing(
    recipe, workspace, tmp_path, monkeypatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = _files(workspace.root)
    found = _estimate(load(recipe), workspace, devices=4, price_per_hour=3600.0)
    assert _files(workspace.root) == before
    assert not list(tmp_path.glob("goldloop-*"))

    run = loop.train(load(recipe, ["training.early_stopping=null"]), workspace)
    assert found.steps == run.steps
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert found.evaluations == sum("metrics" in line for line in lines)
    assert found.parameters == found.trained > 0
    assert found.memory.weights == found.parameters * 4
    # AdamW keeps two moments of each, and a counter of each tensor.
    assert 8 * found.parameters <= found.memory.optimizer < 9 * found.parameters + 20_000
    parts = found.memory
    assert parts.peak == parts.base + parts.weights + parts.gradients + parts.optimizer + parts.activations
    model = sum(path.stat().st_size for path in run.model.iterdir())
    assert found.disk.model == pytest.approx(model, rel=0.1)
    assert found.disk.checkpoints > 2 * (2 * parts.weights + parts.optimizer)

    time = found.duration
    assert time.low < time.total < time.high
    assert time.earliest < time.total
    assert time.on_devices < time.total
    assert time.total == pytest.approx(
        time.start + time.preparation + time.steps + time.evaluation + time.end
    )
    assert found.cost == pytest.approx(time.total)
    assert found.cost_on_devices == pytest.approx(4 * time.on_devices)
    assert json.loads(json.dumps(found.facts()))["data"].startswith("weather@")


def test_longer_runs_are_estimated_longer(recipe, workspace):
    short = _estimate(load(recipe, ["training.early_stopping=null"]), workspace)
    long = _estimate(load(recipe, ["training.epochs=3000"]), workspace)
    assert long.steps == 1000 * short.steps
    assert long.duration.total > 10 * short.duration.total
    assert short.duration.earliest is None
    assert short.cost is None


def test_weights_that_do_not_learn_need_no_moments(recipe, workspace):
    frozen = load(
        recipe,
        [
            "task={kind: text-generation, max_new_tokens: 8}",
            "training.checkpoint.from-config={model_type: gpt2, vocab_size: 320, n_embd: 32, n_layer: 1, "
            "n_head: 2, n_positions: 160}",
            "training.max_length=32",
            "training.lora={rank: 2}",
            "name=unwritten",
        ],
    )
    found = _estimate(frozen, workspace)
    assert 0 < found.trained < found.parameters
    assert found.memory.optimizer < 9 * found.trained + 20_000
    assert found.memory.gradients == 4 * found.trained


def test_what_each_optimizer_keeps_is_counted_of_what_learns(recipe, workspace):
    def found(*overrides):
        return _estimate(load(recipe, overrides), workspace)

    whole = found().trained
    sgd = found("training.optimizer=sgd", "training.momentum=0.0", "training.freeze={layers: 1}")
    assert 0 < sgd.trained < whole
    assert sgd.memory.optimizer < 1000
    assert sgd.memory.gradients == 4 * sgd.trained
    adafactor = found("training.optimizer=adafactor", "training.learning_rate=auto")
    assert 0 < adafactor.memory.optimizer < 4 * whole
    assert any("40 steps" in note for note in adafactor.notes)


@pytest.mark.parametrize("kind", tasks.names())
def test_content_is_made_up_where_there_is_no_version(kind, tmp_path):
    task = tasks.get(kind)
    recipe = parse(
        {
            "name": "new",
            "sources": [{"kind": "files", "url": "x"}],
            "task": task.example_config(),
            "training": {"checkpoint": {"from-config": dict(task.small_network)}, "batch_size": 2},
        }
    )
    recipe = recipe.model_copy(update={"training": recipe.training.model_copy(update=_small(kind))})
    found = _estimate(recipe, Workspace(tmp_path / "state", Settings()))
    assert found.data == "made-up content"
    assert found.items == {"train": 800, "validation": 100}
    assert any("1000 items are assumed" in note for note in found.notes)
    assert found.step > 0


def _small(kind: str) -> dict[str, int]:
    """The network of captions takes images of one size only."""
    if tasks.get(kind).modality == "text":
        return {"max_length": 32}
    return {} if kind == "image-captioning" else {"image_size": 64}


def test_what_is_needed_is_said(recipe, workspace):
    loaded = load(recipe)
    with pytest.raises(TrainingError, match="checkpoint"):
        _estimate(loaded.model_copy(update={"training": None}), workspace)
    with pytest.raises(VersionError):
        _estimate(loaded, workspace, on="weather@0000")


def test_without_a_validation_split_nothing_is_scored(recipe, tmp_path):
    workspace = Workspace(tmp_path / "state", Settings())
    unjudged = load(recipe, ["dataset.split={train: 0.9, validation: 0, test: 0.1}"])
    loop.pull(unjudged, workspace)
    loop.commit(unjudged, workspace)
    found = _estimate(unjudged, workspace)
    assert found.duration.earliest is None
    assert any("validation split is empty" in note for note in found.notes)
