from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from goldloop import loop
from goldloop.cli.app import app
from goldloop.errors import GoldloopError
from goldloop.recipe import load

RECIPE = """\
# Letters.
name: letters
sources: [{kind: table, url: texts.csv, text: text, label: {from: label, use: imported}}]
task: {kind: text-classification, classes: [a, b]}
dataset: {split: {train: 0.6, validation: 0.3, test: 0.1}}
training:
  checkpoint: {from-config: {model_type: bert, vocab_size: 300, hidden_size: 16, num_hidden_layers: 1,
    num_attention_heads: 2, intermediate_size: 32}}
  max_length: 16
  epochs: 2     # two
  batch_size: 8
  learning_rate: 1.0e-2
"""
SPACE = (
    "tuning.space={training.learning_rate: {low: 1e-3, high: 5e-2, log: true}, training.batch_size: [8, 4]}"
)


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


def test_a_search_is_shown_and_can_be_pasted_and_applied(home):
    search = ["tune", "letters.yaml", SPACE, "tuning.trials=4", "tuning.pruner=none"]
    done = _run(*search)
    assert done.exit_code == 0
    assert "4 trials on letters@" in done.stdout
    assert "test split is not touched" in done.stderr
    assert "trial 4 of 4" in done.stderr
    answer = json.loads(_run(*search, "--json").stdout)
    assert len(answer["trials"]) == 4
    assert answer["applied"] is None
    for override in answer["overrides"]:
        assert override in done.stdout

    (line,) = [line for line in done.stdout.splitlines() if line.startswith("next")]
    command = shlex.split(line.removeprefix("next"), comments=True)
    assert command[0] == "goldloop"
    trained = json.loads(_run(*command[1:], "--json").stdout)
    assert trained["value"] == answer["best"]["value"]
    assert trained["id"] == answer["best"]["run"]

    applied = _run(*search, "--apply", "better.yaml")
    assert "better.yaml" in applied.stdout
    text = (home / "better.yaml").read_text()
    assert "# two" in text
    assert "goldloop tune" in text
    settings = load("better.yaml").training
    assert settings.learning_rate == answer["best"]["settings"]["training.learning_rate"]
    (home / "precious.yaml").write_text("x")
    with pytest.raises(GoldloopError, match="there already"):
        _run(*search, "--apply", "precious.yaml")


def test_a_search_without_a_space_says_what_it_searches(home):
    done = _run("tune", "letters.yaml", "tuning.trials=1")
    assert "a usual one" in done.stderr
    assert "training.weight_decay" in done.stderr


def test_an_estimate_is_shown_with_its_price(home):
    done = _run("estimate", "letters.yaml", "--price-per-hour", "7200", "--devices", "8")
    assert done.exit_code == 0
    for word in ("parameters", "memory", "optimizer", "steps", "time", "disk", "cost", "on 8 devices"):
        assert word in done.stdout
    answer = json.loads(_run("estimate", "letters.yaml", "--price-per-hour", "7200", "--json").stdout)
    assert answer["cost"] == pytest.approx(2 * answer["duration"]["total"])
    assert answer["devices"] == 1
