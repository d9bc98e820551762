from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from goldloop import loop
from goldloop.cli.app import app
from goldloop.errors import GoldloopError
from goldloop.recipe import load


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GOLDLOOP_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    rows = "".join(f"text {number},{'ab'[number % 2]}\n" for number in range(20))
    (tmp_path / "data" / "all.csv").write_text(f"words,label\n{rows}broken\n")
    return tmp_path


def _run(*arguments):
    done = CliRunner().invoke(app, list(arguments))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_import_and_export_tell_what_they_did(home):
    done = _run("import", "csv", "data", "text=words", "--name", "letters", "--task", "text-classification")
    assert done.exit_code == 0
    assert "20 pulled" in done.stdout
    assert "letters.yaml" in done.stdout
    assert "quarantined" in done.stderr
    assert "the header 2" in done.stderr

    loop.commit(load("letters.yaml"))
    done = _run("export", "letters", "jsonl", "out", "--split", "train", "--json")
    assert done.exit_code == 0
    answer = json.loads(done.stdout)
    assert set(answer["counts"]) == {"train"}
    assert len((home / "out" / "data.jsonl").read_text().splitlines()) == answer["counts"]["train"]

    done = _run("export", "letters", "csv", "table")
    assert "csv" in done.stdout
    with pytest.raises(GoldloopError, match="there already"):
        _run("export", "letters", "csv", "table")


def test_json_of_an_import_has_every_reason(home):
    done = _run(
        "import", "csv", "data", "text=words", "--name", "letters", "--task", "text-classification", "--json"
    )
    answer = json.loads(done.stdout)
    assert answer["classes"] == {"a": 10, "b": 10}
    assert len(answer["quarantined"]) == answer["outcomes"]["quarantined"] == 1


def test_an_option_that_is_none_is_refused(home):
    with pytest.raises(GoldloopError, match="FIELD=VALUE"):
        _run("import", "csv", "data", "words", "--name", "letters", "--task", "text-classification")


def test_written_answers_are_imported_shown_and_exported_without_a_class(home):
    (home / "answers").mkdir()
    rows = [
        (f"text {number}", f"  answer {number}, \N{GRINNING FACE}\r\nsecond line ") for number in range(20)
    ]
    with (home / "answers" / "all.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])

    done = _run("import", "csv", "answers", "--name", "answers", "--task", "text-generation")
    assert "20 pulled" in done.stdout
    version = loop.commit(load("answers.yaml"))
    shown = _run("show", "answers")
    assert "text-generation" in shown.stdout
    assert "class" not in shown.stdout
    _run("export", "answers", "jsonl", "out")
    _run("import", "jsonl", "out", "--name", "again", "--task", "text-generation")

    assert loop.commit(load("again.yaml")).digest == version.digest
    written = {row["text"]: row["answer"] for split in version.counts for row in version.dataset(split)}
    assert written == dict(rows)
