"""Doubtful labels go back into a real Label Studio, are looked at again, and come into the next version."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import pytest
from pyarrow import parquet

from goldloop import loop, wiring
from goldloop.catalog import reopened
from goldloop.catalog.content import items_of
from goldloop.catalog.server_side import annotations_of
from goldloop.dataset.reviewed import REVIEWED
from goldloop.labeling import task_state
from goldloop.labeling.task_state import REASON
from goldloop.recipe import Recipe, parse
from goldloop.relabeling import relabel
from goldloop.simulation import simulate
from goldloop.suspicion import suspects

WORDS = {
    "greeting": ("hello", "good morning", "hi there", "welcome", "nice to meet you"),
    "weather": ("rain", "sunshine", "a storm", "snow", "wind"),
    "food": ("soup", "bread", "cheese", "an apple", "noodles"),
}
NETWORK = {
    "model_type": "bert", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
    "num_attention_heads": 2, "vocab_size": 300,
}  # fmt: skip


def _recipe(name: str, table: Path, use: str, annotators: int = 1) -> Recipe:
    return parse(
        {
            "name": name,
            "sources": [
                {"kind": "table", "url": str(table), "text": "text", "label": {"from": "intent", "use": use}}
            ],
            "task": {"kind": "text-classification", "classes": list(WORDS)},
            "labeling": {"annotators_per_item": annotators},
            "training": {
                "checkpoint": {"from-config": NETWORK},
                "epochs": 20,
                "batch_size": 8,
                "learning_rate": 5.0e-3,
            },
        }
    )


@pytest.fixture
def table(tmp_path) -> Path:
    path = tmp_path / "texts.csv"
    rows = [
        (f"{words[number % 5]} for {number} people in the {intent} room", intent)
        for number in range(20)
        for intent, words in WORDS.items()
    ]
    _write(path, rows)
    return path


def _write(path: Path, rows) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "intent"), *rows])


def _rows(version):
    return {row["key"]: row for split in version.counts for row in version.dataset(split)}


def _outcomes(version):
    return {row["key"]: row for row in parquet.read_table(version.folder / REVIEWED).to_pylist()}


def test_what_annotators_had_wrong_is_sent_back_once_and_the_reviewers_answer_decides(
    workspace, label_studio, table, monkeypatch
):
    recipe = _recipe("relabel-people", table, "truth")
    loop.pull(recipe, workspace)
    loop.push(recipe, workspace)
    simulate(recipe, annotators=1, error_rate=0.15, workspace=workspace)
    loop.collect(recipe, workspace)
    first = loop.commit(recipe, workspace)
    with workspace.engine.connect() as connection:
        truth = {item.key: item.label for item in items_of(connection, recipe.name)}
        before = {act.id: act for act in annotations_of(connection, recipe.name)}
    names = first.classes
    wrong = {key for key, row in _rows(first).items() if names[row["label"]] != truth[key]}
    assert wrong

    # Killed in the middle of sending: what was journalled and not sent is sent by the next run.
    real, sent = task_state.reopen, []

    def dies(self, *arguments):
        if len(sent) == 2:
            raise KeyboardInterrupt
        sent.append(arguments[2])
        real(self, *arguments)

    monkeypatch.setattr(task_state, "reopen", dies)
    with pytest.raises(KeyboardInterrupt):
        relabel(recipe, workspace, limit=10, folds=3)
    monkeypatch.setattr(task_state, "reopen", real)
    done = relabel(recipe, workspace, limit=10, folds=3)
    assert done.sent == 8
    assert done.balance.outcomes == {"waiting": 10}
    again = relabel(recipe, workspace, limit=10, folds=3)
    assert (again.sent, again.balance.outcomes) == (0, {"waiting": 10})

    # The tasks are open, say why, and have all that was annotated; all others are as they were.
    session = wiring.session(recipe, workspace)
    tasks = {task["data"]["key"]: task for task in session.client._api.tasks(session.project.id)}
    asked = {suspect.key for suspect in suspects(recipe, workspace, folds=3).items[:10]}
    assert len(asked & wrong) >= 3
    for key, task in tasks.items():
        assert (REASON in task["data"]) == (key in asked)
        assert task["is_labeled"] == (key not in asked)
        assert task["total_annotations"] == 1
    books = loop.collect(recipe, workspace).balance
    assert books.outcomes == {"labelled": 50, "open": 10}

    # Nothing is lost while they wait: each keeps its label.
    waiting = loop.commit(recipe, workspace)
    assert waiting.digest == first.digest

    simulate(recipe, reviewer=True, workspace=workspace)
    assert loop.collect(recipe, workspace).balance.outcomes == {"labelled": 60}
    second = loop.commit(recipe, workspace)
    labels = {key: names[row["label"]] for key, row in _rows(second).items()}
    assert {key for key, name in labels.items() if name != truth[key]} == wrong - asked
    outcomes = _outcomes(second)
    assert outcomes.keys() == asked
    for key, row in outcomes.items():
        assert row["outcome"] == ("changed" if key in wrong else "confirmed")
        assert len(row["reviewers"]) == 1
    with workspace.engine.connect() as connection:
        acts = {act.id: act for act in annotations_of(connection, recipe.name)}
    assert before.items() <= acts.items()
    assert len(acts) == len(before) + 10

    # Their tasks are as any other again, and what was looked at is not sent a second time.
    tasks = {task["data"]["key"]: task for task in session.client._api.tasks(session.project.id)}
    assert not any(REASON in task["data"] for task in tasks.values())
    assert all(task["is_labeled"] for task in tasks.values())
    third = relabel(recipe, workspace, limit=10, folds=3)
    assert third.balance.total == 10
    assert third.balance.outcomes.get("sent", 0) == third.sent
    assert not {key for key in asked if key in _asked_now(workspace, recipe)}


def _asked_now(workspace, recipe) -> set[str]:
    session = wiring.session(recipe, workspace)
    with workspace.engine.connect() as connection:
        return {each.item.key for each in reopened.requests_of(connection, session.place, ["asked", "open"])}


def test_imported_labels_get_tasks_to_be_looked_at_and_stay_until_then(workspace, label_studio, table, page):
    with table.open(encoding="utf-8") as file:
        _, *rows = csv.reader(file)
    chance = random.Random(0)
    flipped = {text: chance.choice([name for name in WORDS if name != intent]) for text, intent in rows[::15]}
    _write(table, [(text, flipped.get(text, intent)) for text, intent in rows])
    recipe = _recipe("relabel-imported", table, "imported", annotators=2)
    loop.pull(recipe, workspace)
    first = loop.commit(recipe, workspace)
    assert sum(first.counts.values()) == 60

    done = relabel(recipe, workspace, limit=6, folds=3)
    assert done.balance.outcomes == {"sent": 6}
    assert loop.commit(recipe, workspace).digest == first.digest
    assert relabel(recipe, workspace, limit=6, folds=3).sent == 0

    # Who opens such a task reads why, above all else.
    session = wiring.session(recipe, workspace)
    task = next(session.client._api.tasks(session.project.id))
    page.goto(f"{session.project.address}?task={task['id']}")
    shown = page.get_by_role("heading", name="Please look again", exact=False)
    shown.wait_for(timeout=60_000)
    assert shown.inner_text() == task["data"][REASON]

    # More annotators for all: those that were sent back still ask for one more than have answered.
    more = _recipe("relabel-imported", table, "imported", annotators=3)
    loop.collect(more, workspace)
    session = wiring.session(more, workspace)
    tasks = list(session.client._api.tasks(session.project.id))
    assert {task["overlap"] for task in tasks} == {2}
    assert session.client._api.get(f"/api/projects/{session.project.id}/")["maximum_annotations"] == 3
