"""From a model back to acts and bytes, and from an item on to every model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from goldloop import exchange, governance, loop
from goldloop.catalog.server_side import Place, note_annotations, note_predictions, note_tasks
from goldloop.cli.app import app
from goldloop.dataset import version as versions
from goldloop.erasure import forget
from goldloop.errors import WorkspaceError
from goldloop.recipe import Recipe, parse
from goldloop.records import Annotation, content_key
from goldloop.tasks import tasks
from goldloop.workspace import Workspace

CLASSES = ["greeting", "weather"]
NETWORK = {
    "model_type": "bert", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
    "num_attention_heads": 2, "vocab_size": 300,
}  # fmt: skip


def text_of(number: int) -> str:
    return f"{CLASSES[number % 2]} number {number}"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Recipe:
    folder = tmp_path_factory.mktemp("texts")
    for number in range(40):
        (folder / f"{number}.txt").write_text(text_of(number))
    return parse(
        {
            "name": "notes",
            "sources": [{"kind": "files", "url": str(folder)}],
            "task": {"kind": "text-classification", "classes": CLASSES},
            "labeling": {"annotators_per_item": 1},
            "dataset": {"split": {"train": 0.6, "validation": 0.2, "test": 0.2}},
            "training": {"checkpoint": {"from-config": NETWORK}, "epochs": 1, "batch_size": 8},
            "gates": [{"kind": "at-least", "metric": "accuracy", "value": 0.0}],
        }
    )


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, recipe) -> Workspace:
    """A workspace whose 40 texts were annotated on some server, with a model, a report and an export."""
    workspace = Workspace(tmp_path_factory.mktemp("state"))
    task = tasks.create(recipe.task)
    loop.pull(recipe, workspace)
    place = Place("notes", "https://annotate.example.org")
    keys = {content_key(text_of(number).encode()): number for number in range(40)}
    acts = [
        Annotation(
            id=1000 + number, task_id=number, key=key, annotator=f"annotator-{number % 3}",
            results=({"from_name": "label", "to_name": "text", "type": "choices",
                      "value": {"choices": [CLASSES[number % 2]]}},),
            cancelled=False, created_at=f"2026-05-01T10:00:{number:02}Z", updated_at="2026-05-02T10:00:00Z",
            lead_time=3.5,
        )
        for key, number in keys.items()
    ]  # fmt: skip
    assert task.classes == tuple(CLASSES)
    with workspace.engine.begin() as connection:
        note_tasks(connection, place, keys)
        note_annotations(connection, place, acts)
    version = loop.commit(recipe, workspace)
    loop.train(recipe, workspace)
    loop.promote("notes/1", recipe=recipe, on=version.ref, workspace=workspace)
    with workspace.engine.begin() as connection:
        note_predictions(connection, place, "notes/1", [0, 7])
    exchange.export("notes", "jsonl", workspace.root.parent / "out", workspace=workspace)
    return workspace


def trained_key(workspace: Workspace) -> tuple[str, int]:
    """A key in the training split, and the number of its text."""
    row = versions.load(workspace.versions, "notes").dataset("train")[0]
    return row["key"], int(row["text"].split()[-1])


def test_a_model_leads_back_to_run_version_items_acts_and_source_bytes(workspace):
    key, number = trained_key(workspace)
    version = versions.load(workspace.versions, "notes")
    found = governance.lineage("notes/1", item=key, workspace=workspace)
    (run,) = found.back
    assert (found.subject.kind, found.subject.name, run.kind) == ("model", "notes/1", "run")
    assert run.facts["seed"] is not None
    (held,) = [node for node in run.nodes if node.kind == "version"]
    assert held.name == version.ref
    annotators = {node.name: node.facts["rows"] for node in held.nodes if node.kind == "annotator"}
    assert sum(annotators.values()) == 40
    assert [node.facts for node in held.nodes if node.kind == "source"] == [{"pulled": 40}]
    (item,) = [node for node in held.nodes if node.kind == "item"]
    assert (item.name, item.facts["split"]) == (key, "train")
    (act,) = [node for node in item.nodes if node.kind == "annotation"]
    assert act.name == str(1000 + number)
    assert act.facts["annotator"] == f"annotator-{number % 3}"
    (source,) = [node for node in item.nodes if node.kind == "source"]
    assert source.name.endswith(f"/{number}.txt")
    assert Path(source.name.removeprefix("file://")).read_text() == text_of(number)


def test_an_item_leads_on_to_versions_models_caches_suggestions_and_exports(workspace):
    key, _ = trained_key(workspace)
    found = governance.lineage(key, workspace=workspace)
    by_kind: dict[str, list] = {}
    for node in found.forward:
        by_kind.setdefault(node.kind, []).append(node)
    (version,) = by_kind["version"]
    assert version.facts == {"state": "labelled", "split": "train"}
    assert [(node.name, node.facts["role"]) for node in version.nodes] == [("notes/1", "trained on it")]
    assert by_kind["prepared"]
    assert by_kind["arrow"]
    assert [node.name for node in by_kind["export"]] == [str(workspace.root.parent / "out")]
    seven = governance.lineage(content_key(text_of(7).encode()), workspace=workspace)
    assert [node.name for node in seven.forward if node.kind == "pre-annotation"] == ["notes/1"]


def test_an_item_is_found_by_the_beginning_of_its_key_by_its_address_and_by_a_file(workspace, tmp_path):
    key = content_key(text_of(3).encode())
    (tmp_path / "copy.txt").write_text(text_of(3))
    (source,) = [
        node for node in governance.lineage(key[:12], workspace=workspace).back if node.kind == "source"
    ]
    for what in (source.name, str(tmp_path / "copy.txt")):
        assert governance.lineage(what, workspace=workspace).subject.name == key


def test_versions_runs_and_champions_are_found_by_their_names(workspace):
    version = versions.load(workspace.versions, "notes")
    found = governance.lineage(version.ref, most=2, workspace=workspace)
    assert len([node for node in found.back if node.kind == "item"]) == 2
    (model,) = [node for node in found.forward if node.kind == "model"]
    assert [node.kind for node in model.nodes] == ["pre-annotations", "report"]
    assert governance.lineage("notes", workspace=workspace).subject.name == "notes/1"
    run = model.facts["run"]
    by_run = governance.lineage(run, workspace=workspace)
    assert by_run.subject.kind == "run"
    assert [node.name for node in by_run.forward] == ["notes/1"]
    json.dumps(found.facts())


def test_what_is_called_by_no_name_is_refused(workspace):
    with pytest.raises(WorkspaceError, match="nothing here is called so"):
        governance.lineage("nobody", workspace=workspace)


def test_openlineage_events_tell_what_made_what_and_are_the_same_each_time(workspace):
    found = governance.lineage("notes/1", workspace=workspace)
    events = governance.openlineage(found, workspace)
    jobs = [event["job"]["name"] for event in events]
    assert {"notes.commit", "notes.train", "notes.evaluate", "notes.predict"} == set(jobs)
    assert jobs.index("notes.commit") < jobs.index("notes.train") < jobs.index("notes.evaluate")
    train = events[jobs.index("notes.train")]
    version = versions.load(workspace.versions, "notes")
    assert [each["name"] for each in train["inputs"]] == [f"version/{version.ref}"]
    assert train["inputs"][0]["facets"]["version"]["datasetVersion"] == version.digest
    assert [each["name"] for each in train["outputs"]] == ["model/notes/1"]
    for event in events:
        assert event["schemaURL"].startswith("https://openlineage.io/spec/")
        assert event["eventType"] == "COMPLETE"
    again = governance.openlineage(found, workspace)
    assert [event["run"]["runId"] for event in again] == [event["run"]["runId"] for event in events]


def test_the_command_prints_a_tree(workspace, monkeypatch):
    monkeypatch.setenv("GOLDLOOP_HOME", str(workspace.root))
    key, _ = trained_key(workspace)
    shown = CliRunner().invoke(app, ["lineage", "notes/1", "--items", "1"])
    assert shown.exit_code == 0
    for said in ("model notes/1", "came from", "run ", "version notes@", "annotation ", "led to", "report "):
        assert said in shown.output
    assert json.loads(CliRunner().invoke(app, ["lineage", key, "--json"]).stdout)["name"] == key
    assert json.loads(CliRunner().invoke(app, ["lineage", "notes/1", "--openlineage"]).stdout)


def test_a_forgotten_item_leads_on_by_its_tombstone(workspace):
    key = content_key(text_of(11).encode())
    with workspace.engine.begin() as connection:
        from sqlalchemy import delete

        from goldloop.catalog.tables import tasks as task_table

        connection.execute(delete(task_table).where(task_table.c.key == key))
    forget(key, reason="asked", apply=True, workspace=workspace)
    found = governance.lineage(key, workspace=workspace)
    assert [node.kind for node in found.back] == ["tombstone"]
    (version,) = [node for node in found.forward if node.kind == "version"]
    assert version.facts["state"] == "forgotten"
    assert [node.name for node in version.nodes] == ["notes/1"]
