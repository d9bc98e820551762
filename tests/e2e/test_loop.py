"""The whole loop on real parts: a text recipe, a real Label Studio, simulated annotators, a trained model."""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from goldloop import loop, wiring
from goldloop.catalog.server_side import Place, tasks_of
from goldloop.errors import LabelStudioUnreachable
from goldloop.recipe import Recipe, load
from goldloop.results import Turn
from goldloop.simulation import simulate
from goldloop.workspace import Workspace

STAGES = ("pull", "push", "collect", "commit", "train", "evaluate", "promote", "predict")
BEFORE_LABELS = ("pull", "push", "collect")

RECIPE = """
name: {name}
sources:
  - {{kind: table, url: {table}, text: text, label: {{from: intent, use: truth}}}}
task: {{kind: text-classification, classes: [greeting, weather, food]}}
labeling: {{annotators_per_item: 2}}
dataset: {{split: {{train: 0.6, validation: 0.2, test: 0.2}}}}
training:
  checkpoint: {{from-config: {{model_type: bert, hidden_size: 32, intermediate_size: 64,
    num_hidden_layers: 1, num_attention_heads: 2, vocab_size: 300}}}}
  epochs: 4
  batch_size: 8
  learning_rate: 5.0e-3
gates:
  - {{kind: at-least, metric: accuracy, value: 0.2}}
  - {{kind: no-worse-than-champion, metric: accuracy}}
"""

WORDS = {
    "greeting": ("hello", "good morning", "hi", "welcome", "nice to meet you"),
    "weather": ("rain", "sunshine", "a storm", "snow", "wind"),
    "food": ("soup", "bread", "cheese", "an apple", "noodles"),
}


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "texts.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "intent"])
        for number in range(30):
            for intent, words in WORDS.items():
                writer.writerow([f"{words[number % 5]} for {number} people in the {intent} room", intent])
    return path


@pytest.fixture
def recipe_path(tmp_path, table):
    def write(name: str) -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(RECIPE.format(name=name, table=table))
        return path

    return write


def _annotate(recipe: Recipe, workspace: Workspace) -> None:
    simulate(recipe, annotators=2, error_rate=0.1, limit=60, workspace=workspace)


def _state(recipe: Recipe, workspace: Workspace, turn: Turn) -> dict[str, Any]:
    """All that must not depend on how often the loop was killed."""
    session = wiring.session(recipe, workspace)
    totals = session.client.project_totals(session.project)
    models = wiring.registry(workspace).models(recipe.name)
    assert turn.version is not None
    assert turn.run is not None
    assert turn.report is not None
    return {
        "tasks": totals.tasks,
        "annotations": totals.annotations,
        "predictions": totals.predictions,
        "digest": turn.version.digest,
        "counts": dict(turn.version.counts),
        "balances": (str(turn.pulled), str(turn.pushed.balance), str(turn.collected.balance)),
        "models": [(model.number, model.aliases) for model in models],
        "value": turn.run.value,
        "metrics": turn.report.metrics,
        "promoted": turn.promotion is not None and turn.promotion.promoted,
    }


@pytest.fixture(scope="module")
def undisturbed(workspace, server, tmp_path_factory, table) -> dict[str, Any]:
    """The state after a run that was left alone."""
    server.up()
    path = tmp_path_factory.mktemp("recipes") / "alone.yaml"
    path.write_text(RECIPE.format(name="alone", table=table))
    recipe = load(path)
    waiting = loop.run(recipe, workspace)
    assert waiting.version is None
    assert "annotate at http" in (waiting.waiting or "")
    _annotate(recipe, workspace)
    return _state(recipe, workspace, loop.run(recipe, workspace))


def test_the_loop_ends_with_a_champion_and_pre_annotations(undisturbed):
    assert undisturbed["tasks"] == 90
    assert undisturbed["annotations"] == 120
    assert undisturbed["predictions"] == 30
    assert undisturbed["promoted"]
    assert sum(undisturbed["counts"].values()) <= 60


def test_running_again_changes_nothing(undisturbed, workspace, recipe_path):
    recipe = load(recipe_path("alone"))
    turn = loop.run(recipe, workspace)
    assert turn.pushed.created == 0
    assert turn.preannotated == 0
    assert _state(recipe, workspace, turn) == undisturbed


def _run_and_kill(path: Path, workspace: Workspace, stage: str) -> None:
    """`goldloop run` in a process of its own, killed a moment after a stage has begun."""
    process = subprocess.Popen(
        [sys.executable, "-m", "goldloop", "run", str(path)],
        env=os.environ | {"GOLDLOOP_HOME": str(workspace.root)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = []
    with process.stderr:
        for line in process.stderr:
            said.append(line)
            if line.startswith(f"{stage}:"):
                time.sleep(random.Random(stage).uniform(0, 0.3))
                process.send_signal(signal.SIGKILL)
                break
    assert process.wait(timeout=60) in (-signal.SIGKILL, 0), "".join(said)
    assert any(line.startswith(f"{stage}:") for line in said), "".join(said)


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_killed_in_a_stage_ends_as_one_left_alone(undisturbed, workspace, recipe_path, stage):
    path = recipe_path(f"killed-in-{stage}")
    recipe = load(path)
    if stage in BEFORE_LABELS:
        _run_and_kill(path, workspace, stage)
        loop.run(recipe, workspace)
        _annotate(recipe, workspace)
    else:
        loop.run(recipe, workspace)
        _annotate(recipe, workspace)
        _run_and_kill(path, workspace, stage)
    assert _state(recipe, workspace, loop.run(recipe, workspace)) == undisturbed


def test_a_push_whose_answer_was_never_seen_is_adopted(workspace, server, recipe_path, monkeypatch):
    from goldloop.labeling.client import LabelStudioClient

    recipe = load(recipe_path("lost-answer"))
    loop.pull(recipe, workspace)
    whole = LabelStudioClient.import_tasks
    lost = []

    def lose(self, project, tasks, batch):
        stored = whole(self, project, tasks, batch)
        if not lost:
            lost.append(batch)
            raise LabelStudioUnreachable("the answer was lost on its way")
        return stored

    monkeypatch.setattr(LabelStudioClient, "import_tasks", lose)
    assert loop.push(recipe, workspace).balance.outcomes == {"pushed": 90}
    session = wiring.session(recipe, workspace)
    assert lost
    assert session.client.project_totals(session.project).tasks == 90


def test_a_server_restarted_in_the_middle_of_a_push_is_waited_for(
    workspace, server, recipe_path, monkeypatch
):
    from goldloop.labeling.client import LabelStudioClient

    recipe = load(recipe_path("restarted"))
    loop.pull(recipe, workspace)
    whole = LabelStudioClient.import_tasks
    restarted = []

    def restart(self, project, tasks, batch):
        if not restarted:
            restarted.append(True)
            server.down()
            subprocess.Popen([sys.executable, "-m", "goldloop", "up"], env=environment).wait()
            raise LabelStudioUnreachable("the connection was reset")
        return whole(self, project, tasks, batch)

    environment = os.environ | {"GOLDLOOP_HOME": str(workspace.root)}
    monkeypatch.setattr(LabelStudioClient, "import_tasks", restart)
    assert loop.push(recipe, workspace).balance.outcomes == {"pushed": 90}
    session = wiring.session(recipe, workspace)
    assert session.client.project_totals(session.project).tasks == 90


def test_a_task_deleted_in_label_studio_stays_deleted(workspace, label_studio, recipe_path):
    recipe = load(recipe_path("deleted"))
    loop.pull(recipe, workspace)
    loop.push(recipe, workspace)
    session = wiring.session(recipe, workspace)
    with workspace.engine.connect() as connection:
        live = tasks_of(connection, Place(recipe.name, "embedded"))
    session.client.delete_tasks(session.project, [min(live.values())])
    again = loop.push(recipe, workspace)
    assert again.created == 0
    assert again.balance.outcomes == {"pushed": 89, "skipped": 1}


def test_a_task_whose_content_was_swapped_rejects_the_collection(workspace, label_studio, recipe_path):
    import httpx

    from goldloop.errors import IdentityError

    recipe = load(recipe_path("swapped"))
    loop.pull(recipe, workspace)
    loop.push(recipe, workspace)
    with workspace.engine.connect() as connection:
        live = tasks_of(connection, Place(recipe.name, "embedded"))
    (one, first), (other, _) = sorted(live.items())[:2]
    headers = {"Authorization": f"Token {label_studio.api_key.get_secret_value()}"}
    address = f"{label_studio.url}/api/tasks/{first}/"
    data = httpx.get(address, headers=headers).json()["data"]
    assert data["key"] == one
    httpx.patch(address, headers=headers, json={"data": data | {"key": other}}).raise_for_status()
    with pytest.raises(IdentityError, match=str(first)):
        loop.collect(recipe, workspace)


def test_a_batch_is_topped_up_as_tasks_are_done(workspace, label_studio, recipe_path):
    recipe = load(recipe_path("batched"), ["labeling.select.batch=10"])
    loop.pull(recipe, workspace)
    assert loop.push(recipe, workspace).balance.outcomes == {"pushed": 10, "waiting": 80}
    assert loop.push(recipe, workspace).created == 0
    simulate(recipe, annotators=2, error_rate=0, limit=4, workspace=workspace)
    loop.collect(recipe, workspace)
    assert loop.push(recipe, workspace).balance.outcomes == {"pushed": 14, "waiting": 76}


def test_a_server_that_gives_less_than_it_counts_is_caught(workspace, label_studio, recipe_path, monkeypatch):
    from goldloop.errors import LedgerError
    from goldloop.labeling.database import Database

    recipe = load(recipe_path("counted"))
    loop.pull(recipe, workspace)
    loop.push(recipe, workspace)
    simulate(recipe, annotators=1, error_rate=0, limit=5, workspace=workspace)
    whole = Database.changed

    def less(self, project, since, after):
        for last, page in whole(self, project, since, after):
            tasks = [*page]
            first = next(number for number, task in enumerate(tasks) if task.annotations)
            tasks[first] = replace(tasks[first], annotations=())
            yield last, iter(tasks)

    monkeypatch.setattr(Database, "changed", less)
    with pytest.raises(LedgerError, match="4 annotations"):
        loop.collect(recipe, workspace)


def test_imported_labels_need_no_annotators(workspace, recipe_path):
    recipe = load(recipe_path("imported"), ["sources.0.label.use=imported"])
    turn = loop.run(recipe, workspace)
    assert turn.pushed is None
    assert turn.version is not None
    assert sum(turn.version.counts.values()) == 90
    assert turn.promotion is not None
    assert turn.promotion.promoted


def test_a_gate_refuses_and_says_by_how_much(workspace, label_studio, recipe_path):
    recipe = load(recipe_path("imported"), ["sources.0.label.use=imported", "training.seed=1"])
    strict = load(
        recipe_path("imported"),
        ["sources.0.label.use=imported", "training.seed=1", "training.epochs=1", "gates.0.value=1.1"],
    )
    first = loop.run(recipe, workspace)
    assert first.promotion is not None
    champion = wiring.registry(workspace).champion("imported")
    refused = loop.run(strict, workspace)
    assert refused.promotion is not None
    assert not refused.promotion.promoted
    assert "1.1" in refused.promotion.verdicts[0].explanation
    assert wiring.registry(workspace).champion("imported") == champion


def test_without_a_server_the_error_says_how_to_start_one(tmp_path, recipe_path):
    from goldloop.settings import Settings

    elsewhere = Workspace(tmp_path / "elsewhere", Settings())
    recipe = load(recipe_path("nowhere"))
    loop.pull(recipe, elsewhere)
    with pytest.raises(LabelStudioUnreachable, match="goldloop up"):
        loop.push(recipe, elsewhere)
