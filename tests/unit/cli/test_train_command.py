from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from typer.testing import CliRunner

from goldloop import loop
from goldloop.cli.app import app
from goldloop.errors import TrainingError
from goldloop.recipe import load
from goldloop.training.profile import TRACE_FILE

RECIPE = """\
name: letters
sources: [{kind: table, url: texts.csv, text: text, label: {from: label, use: imported}}]
task: {kind: text-classification, classes: [a, b]}
dataset: {split: {train: 0.6, validation: 0.3, test: 0.1}}
training:
  checkpoint: {from-config: {model_type: bert, vocab_size: 300, hidden_size: 16, num_hidden_layers: 1,
    num_attention_heads: 2, intermediate_size: 32}}
  max_length: 16
  epochs: 4
  batch_size: 8
  learning_rate: 1.0e-2
  early_stopping: null
"""


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GOLDLOOP_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{'ab'[number % 2] * 3} {number},{'ab'[number % 2]}\n" for number in range(60))
    (tmp_path / "texts.csv").write_text(f"text,label\n{rows}")
    (tmp_path / "letters.yaml").write_text(RECIPE)
    loop.pull(load("letters.yaml"))
    loop.commit(load("letters.yaml"))
    return tmp_path


def _run(*arguments):
    done = CliRunner().invoke(app, list(arguments))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_a_profiled_training_says_what_a_step_waits_for_and_where_its_page_is(home):
    done = _run("train", "letters.yaml", "--profile")
    assert done.exit_code == 0
    for told in ("Where a step's time goes", "forward pass", "backward pass", "a whole step", "remedy"):
        assert told in done.stdout
    assert "train: profile: " in done.stderr
    (folder,) = (home / "state" / "runs" / "letters").iterdir()
    assert f"report  {folder / 'report.html'}" in done.stdout
    assert "Where a step's time goes" in (folder / "report.html").read_text().replace("&#39;", "'")
    assert (folder / TRACE_FILE).exists()

    again = json.loads(_run("train", "letters.yaml", "--profile", "--json").stdout)
    assert again["profile"]["parts"]["forward"] > 0
    assert again["report"] == str(folder / "report.html")


def test_what_was_measured_can_be_drawn_by_mlflow(home):
    _run("train", "letters.yaml")
    client = MlflowClient(f"sqlite:///{home / 'state' / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("letters").experiment_id])
    speed = ("tokens_per_second", "useful_token_share", "data_wait_share", "peak_memory_bytes")
    learning = ("train/loss", "train/learning_rate", "train/samples_per_second", "validation/accuracy")
    for name in (*learning, *(f"speed/{name}" for name in speed)):
        steps = [past.step for past in client.get_metric_history(run.info.run_id, name)]
        assert len(steps) > 1, name
        assert steps == sorted(set(steps)), name
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"report.html", "run.json", "metrics.jsonl"} <= files


def test_a_finished_run_has_no_steps_to_profile_and_says_so(home):
    _run("train", "letters.yaml")
    with pytest.raises(TrainingError, match="no step was profiled"):
        _run("train", "letters.yaml", "--profile")
