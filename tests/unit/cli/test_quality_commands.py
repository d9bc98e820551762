"""What labels are worth, on the command line: `show`, `quality`, and a commit with a named reviewer."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from goldloop.catalog import server_side
from goldloop.catalog.content import items_of
from goldloop.catalog.server_side import Place
from goldloop.cli.app import app
from goldloop.labeling.collected import pseudonym
from goldloop.records import Annotation
from goldloop.tasks import tasks
from goldloop.workspace import Workspace

RECIPE = """
name: notes
sources: [{kind: files, url: texts}]
task: {kind: text-classification, classes: [good, bad]}
labeling: {annotators_per_item: 2}
dataset: {consensus: {reviewer: Boss@example.com}, split: {train: 0.5, validation: 0.25, test: 0.25}}
"""


def run(*arguments: str):
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def answered(tmp_path, monkeypatch):
    """Twenty texts that two people answered; they differ on one, on which a reviewer has decided."""
    monkeypatch.setenv("GOLDLOOP_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts").mkdir()
    for number in range(20):
        (tmp_path / "texts" / f"{number}.txt").write_text(f"text number {number}")
    (tmp_path / "notes.yaml").write_text(RECIPE)
    run("pull", "notes.yaml")
    workspace = Workspace(tmp_path / "state")
    task = tasks.create({"kind": "text-classification", "classes": ["good", "bad"]})
    boss = pseudonym(workspace.pseudonym_key, "boss@example.com")
    acts = []
    with workspace.engine.begin() as connection:
        items = list(items_of(connection, "notes"))
        for number, item in enumerate(items):
            name = "good" if number % 2 else "bad"
            given = {"annotator-00000001": name, "annotator-00000002": name}
            if number == 4:
                given["annotator-00000002"] = "good"
                given[boss] = "good"
            for place, (who, target) in enumerate(given.items()):
                acts.append(
                    Annotation(
                        id=10 * number + place,
                        task_id=number,
                        key=item.key,
                        annotator=who,
                        results=tuple(task.encode(target, item)),
                        cancelled=False,
                        created_at="2026-01-01T00:00:00Z",
                        updated_at="2026-01-01T00:00:00Z",
                        lead_time=3.0 + place,
                    )
                )
        server_side.note_annotations(connection, Place("notes", "embedded"), acts)
    workspace.engine.dispose()
    run("commit", "notes.yaml")
    return items, boss


def test_show_tells_agreement_by_class_and_by_annotator(answered):
    _, boss = answered
    shown = run("show", "notes")
    for told in ("Krippendorff's alpha", "Fleiss' kappa", "alpha (95%)", "annotator-00000001", boss, "3.0 s"):
        assert told in shown
    facts = json.loads(run("show", "notes", "--json"))["labelling"]["agreement"]
    assert facts["items"] == 20
    assert facts["alpha_interval"][0] < facts["alpha"] < 1
    assert facts["classes"].keys() == {"good", "bad"}
    assert facts["annotators"]["annotator-00000002"]["with_consensus"] == 1


def test_the_reviewers_answer_is_in_the_version_and_the_address_is_nowhere(answered, tmp_path):
    items, boss = answered
    version = json.loads(run("show", "notes", "--json"))
    rows = {}
    for split in ("train", "validation", "test"):
        from goldloop import workbench

        rows |= {row["key"]: row for row in workbench.show("notes").dataset(split)}
    row = rows[items[4].key]
    assert (row["label"], row["annotators"]) == (version["classes"].index("good"), [boss])
    for path in (tmp_path / "state" / "versions").rglob("*"):
        if path.is_file():
            assert b"boss@example.com" not in path.read_bytes().lower()


def test_the_card_has_what_is_known_of_agreement(answered):
    card = next((Workspace.open().versions / "notes").glob("*/README.md")).read_text()
    assert "| all answers | Krippendorff's alpha |" in card
    assert "| annotator-00000001 | 20 |" in card


def test_quality_says_in_words_what_was_found_without_any_model(answered):
    told = run("quality", "notes")
    assert "Annotators agree reliably" in told
    assert "Doubtful labels could not be looked for" in told
    findings = json.loads(run("quality", "notes", "--json"))["findings"]
    assert {each["kind"] for each in findings} >= {"agreement", "imbalance", "outliers", "shortcuts"}


def test_wrong_ways_are_told_as_wrong_usage(answered):
    assert CliRunner().invoke(app, ["suspects", "notes", "--way", "guessing"]).exit_code == 2
    assert CliRunner().invoke(app, ["suspects", "notes", "training.epochs=3"]).exit_code == 2


def test_annotators_are_told_each_by_themselves(answered):
    shown = run("annotators", "notes.yaml")
    for told in ("annotator-00000001", "the others", "seconds", "annotators.html"):
        assert told in shown
    facts = json.loads(run("annotators", "notes.yaml", "--json"))
    assert [each["answers"] for each in facts["annotators"]] == [20, 20, 1]
    by_name = {each["annotator"]: each for each in facts["annotators"]}
    first, second = by_name["annotator-00000001"], by_name["annotator-00000002"]
    assert first["others"]["items"] == 20
    assert second["others"]["items"] == 19, "of one item the two others say different things"
    assert first["others"]["interval"][0] < first["others"]["agreement"]
    assert first["controls"] is None
    assert facts["swayed"] is None


def test_nobody_to_tell_of_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("GOLDLOOP_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a text")
    (tmp_path / "notes.yaml").write_text(RECIPE)
    run("pull", "notes.yaml")
    done = CliRunner().invoke(app, ["annotators", "notes.yaml"])
    assert "nobody has annotated" in str(done.exception)
