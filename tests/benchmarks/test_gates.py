"""The benchmark of gates and blame, on a network of a few thousand weights: never how good it is."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
TINY = {
    "from-config": {
        "model_type": "bert",
        "vocab_size": 400,
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
}


def test_what_is_misread_is_of_the_third_that_is_read_best(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    well_read = runpy.run_path(str(ROOT / "benchmarks" / "gates" / "run.py"))["well_read"]
    assert well_read({"a": 0.1, "b": 0.9, "c": 0.5, "d": 0.7, "e": 0.0, "f": 0.8, "g": 0.2}) == ["b", "f"]
    assert well_read({"a": 0.1, "b": 0.9}) == ["b"]


@pytest.mark.skipif(not DATA.is_dir(), reason="the data sets are not here")
def test_both_challengers_are_judged_and_each_difference_is_taken_back(tmp_path: Path):
    command = [sys.executable, str(ROOT / "benchmarks" / "gates" / "run.py"), "--seeds", "1"]
    command += ["--questions", "200", "--epochs", "1", "--checkpoint", json.dumps(TINY), "--threads", "1"]
    command += ["--judges", "200", "--data", str(DATA), "--out", str(tmp_path), "--date", "day"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = [json.loads(line) for line in (tmp_path / "day.jsonl").read_text().splitlines()]
    assert line["champion"]["promoted"]
    assert {cause["factor"] for cause in line["blame"]["causes"]} == {"labels", "settings", "seed"}
    labels = next(cause for cause in line["blame"]["causes"] if cause["factor"] == "labels")
    assert labels["differs"] == "10 labels changed"
    assert {line["misread"], line["taken_for"]} < set(line["champion"]["recall"])
    assert line["misread"] != line["taken_for"]
    models = [line[name]["model"] for name in ("champion", "wrong", "uneven")]
    assert models == ["banking/1", "banking/2", "banking/3"]
    assert [len(line[name]["verdicts"]) for name in ("wrong", "uneven")] == [2, 2]
    assert "day" in (tmp_path / "day.md").read_text()
