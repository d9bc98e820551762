"""The benchmark of versions runs from data to table, and every tool in it keeps the same rows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "versions"


def run(*arguments: object) -> str:
    command = [sys.executable, str(BENCHMARK / "run.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[dict]]:
    out = tmp_path_factory.mktemp("results")
    sizes = ("--images", 60, "--texts", 80, "--changed", 2, "--added", 3, "--reads", 20)
    text = run(*sizes, "--tools", "goldloop", "save-to-disk", "parquet", "--out", out, "--scratch", out)
    (table,) = out.glob("*.md")
    assert table.read_text(encoding="utf-8").strip() == text[text.index("# Versions") :].strip()
    (measured,) = out.glob("*.jsonl")
    assert not list(out.glob("goldloop-versions-*"))
    return text, [json.loads(line) for line in measured.read_text().splitlines()]


def test_every_question_has_an_answer_of_each_tool_that_can_give_one(results):
    text, lines = results
    assert lines[0]["packages"]["datasets"]
    found = {(line["tool"], line["data"], line["what"]) for line in lines[1:]}
    for tool in ("goldloop", "save_to_disk", "Parquet rewrite"):
        for data in ("images", "texts"):
            assert (tool, data, "first commit") in found
            assert (tool, data, "bytes after all") in found
            assert (tool, data, "random read, one by one") in found
    commits = [line for line in lines[1:] if line["what"] == "commit, changed" and line["tool"] == "goldloop"]
    assert len(commits) == 20
    assert "## images: 60 rows, commits of 2 changed labels or 3 added rows" in text
    assert text.count("goal: 20x each") == 8


def test_a_tool_that_has_no_time_left_is_told_of_as_not_measured(tmp_path):
    sizes = ("--images", 0, "--texts", 30, "--changed", 1, "--added", 1)
    text = run(*sizes, "--tools", "parquet", "--minutes", 0, "--out", tmp_path)
    assert "Stopped after 0 minutes; not measured to the end: parquet on texts." in text
    assert "| first commit | - | - | - | - |" in text
