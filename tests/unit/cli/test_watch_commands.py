"""`goldloop watch` and `goldloop drift` as a user meets them, on a recipe that nobody is asked about."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

from goldloop.cli.app import app

WORDS = ("rain", "snow", "wind", "sun", "storm", "cloud")
STRANGE = ("null", "pointer", "stack", "frame", "kernel", "segment")


def _write(folder: Path, first: int, count: int, words: tuple[str, ...]) -> None:
    for number in range(first, first + count):
        place = folder / "texts" / ("good" if number % 2 else "bad")
        place.mkdir(parents=True, exist_ok=True)
        text = " ".join(random.Random(number).choices(words, k=6))
        (place / f"{number}.txt").write_text(f"{text} {number * 7919 % 10_000}")


@pytest.fixture
def recipe(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GOLDLOOP_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    _write(tmp_path, 0, 80, WORDS)
    path = tmp_path / "notes.yaml"
    path.write_text(
        "name: notes\n"
        "sources: [{kind: files, url: texts, label: {from: folder, use: imported}}]\n"
        "task: {kind: text-classification, classes: [good, bad]}\n"
        "watch: {pull_minutes: 0.0001, new_items: 60, drift_minutes: 0.0001}\n"
        "drift: {min_items: 20}\n"
    )
    return path


def _goldloop(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_what_is_decided_is_done_told_and_kept(recipe, tmp_path):
    assert "would" in _goldloop("watch", recipe, "--dry-run")
    first = json.loads(_goldloop("watch", recipe, "--once", "--json"))
    assert (first["decision"], first["because"]) == ("begin", ["first", "items", "labels"])
    assert first["round"] == {"number": 1, "outcome": "committed"}
    _write(tmp_path, 200, 40, STRANGE)
    held = json.loads(_goldloop("watch", recipe, "--once", "--json"))
    assert (held["decision"], held["because"], held["against"]) == ("wait", ["drift"], ["cool-down"])
    again = _goldloop("watch", recipe, "--once", "watch.cool_down_minutes=0")
    assert "drift of input" in again
    assert "round 2" in again
    told = json.loads(_goldloop("watch", recipe, "--decisions", "--json"))
    assert [each["decision"] for each in told] == ["begin", "committed", "wait", "begin", "committed"]
    assert all(each["reason"] and each["figures"] for each in told)
    table = _goldloop("watch", recipe, "--decisions")
    assert "the last round ended" in table


def test_drift_is_a_table_that_says_how_sure_it_is(recipe, tmp_path):
    _goldloop("watch", recipe, "--once")
    _write(tmp_path, 200, 40, STRANGE)
    _goldloop("pull", recipe)
    table = _goldloop("drift", recipe)
    assert "at most 1.0% false alarms of all tests together" in table
    assert "DRIFT" in table
    assert "there is no champion yet" in table
    assert "least like before" in table
    facts = json.loads(_goldloop("drift", recipe, "--json"))
    assert {"input", "input-classifier"} <= set(facts["drifted"])
    assert Path(facts["folder"], "drift.json").exists()


def test_a_round_that_fails_is_exit_code_1(recipe, tmp_path):
    with recipe.open("a") as file:
        file.write("training: {checkpoint: ./no-such-folder}\n")
    done = CliRunner().invoke(app, ["watch", str(recipe), "--once"], env={"HF_HUB_OFFLINE": "1"})
    assert done.exit_code == 1
    assert "failed" in done.stdout
