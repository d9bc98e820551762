"""`goldloop watch` and `goldloop drift` where all labels are imported, so that no server is needed."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from goldloop import controlling, loop, wiring
from goldloop.deciding import Memory, decisions
from goldloop.drifting import drift
from goldloop.errors import ModelError, SourceError
from goldloop.recipe import Recipe, parse
from goldloop.settings import Settings
from goldloop.watching import watch_once
from goldloop.workspace import Workspace

TINY = {
    "model_type": "bert", "vocab_size": 400, "hidden_size": 32, "num_hidden_layers": 1,
    "num_attention_heads": 2, "intermediate_size": 64,
}  # fmt: skip
WORDS = {
    "bill": ("invoice", "payment", "refund", "price", "charge"),
    "parcel": ("box", "courier", "delivery", "tracking", "address"),
}


def _text(number: int) -> tuple[str, str]:
    chance, name = random.Random(number), ("bill", "parcel")[number % 2]
    first, second = chance.choices(WORDS[name], k=2)
    return f"{first} {second} question {chance.randrange(10_000)}", name


def _drifted(number: int) -> tuple[str, str]:
    chance = random.Random(number)
    words = ("zürich", "schnell", "danke", "bitte", "heute", "morgen")
    return " ".join(chance.choices(words, k=12)) + f" {number}", ("bill", "parcel")[number % 2]


def _append(folder: Path, rows: list[tuple[str, str]]) -> None:
    path = folder / "mail.csv"
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label")] * is_new + rows)


def _fields(folder: Path, **more: Any) -> dict[str, Any]:
    label = {"from": "label", "use": "imported"}
    return {
        "name": folder.name,
        "sources": [{"kind": "table", "url": str(folder / "mail.csv"), "text": "text", "label": label}],
        "task": {"kind": "text-classification", "classes": ["bill", "parcel"]},
        "dataset": {"split": {"train": 0.5, "validation": 0.2, "test": 0.3}},
        "training": {
            "checkpoint": {"from-config": TINY}, "epochs": 4, "batch_size": 8, "learning_rate": 5e-3,
        },
        "drift": {"min_items": 25},
        "watch": {
            "pull_minutes": 0.0001, "new_items": 40, "new_labels": 40, "drift_minutes": None,
            "cool_down_minutes": 0,
        },
        **more,
    }  # fmt: skip


def _recipe(folder: Path, **watch: Any) -> Recipe:
    fields = _fields(folder)
    return parse({**fields, "watch": {**fields["watch"], **watch}})


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Workspace:
    """One for all tests, each with a recipe of its own: making a registry takes seconds."""
    return Workspace(tmp_path_factory.mktemp("watching") / "state", Settings())


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A recipe's own, with a hundred texts; its name is the recipe's."""
    folder = tmp_path / f"mail-{zlib.crc32(request.node.name.encode())}"
    folder.mkdir()
    _append(folder, [_text(number) for number in range(100)])
    return folder


def _said(recipe: Recipe, workspace: Workspace) -> list[str]:
    return [str(entry.outputs["decision"]) for entry in decisions(recipe, workspace)]


def test_rounds_begin_for_a_reason_and_each_decision_is_explained(workspace, folder):
    recipe = _recipe(folder)
    first = watch_once(recipe, workspace)
    assert first.round is not None
    assert (first.decision.reasons, first.round.outcome) == (("first", "items", "labels"), "promoted")
    for _ in range(2):
        assert watch_once(recipe, workspace).decision.action == "wait"
    _append(folder, [_text(number) for number in range(100, 139)])
    few = watch_once(recipe, workspace).decision
    assert (few.action, few.against) == ("wait", ("too-few-labels", "too-few-items"))
    assert few.figures["items"] == 39
    _append(folder, [_text(139)])
    held = watch_once(_recipe(folder, cool_down_minutes=600), workspace).decision
    assert (held.action, held.against) == ("wait", ("cool-down",))
    held = watch_once(_recipe(folder, rounds_per_day=1), workspace).decision
    assert (held.action, held.against) == ("wait", ("rounds",))
    again = watch_once(recipe, workspace)
    assert again.round is not None
    assert again.decision.reasons == ("items", "labels")
    assert again.round.number == 2
    assert wiring.registry(workspace).champion(folder.name).ref == f"{folder.name}/2"
    assert _said(recipe, workspace) == [
        "begin", "promoted", "wait", "wait", "wait", "wait", "begin", "promoted",
    ]  # fmt: skip
    entries = decisions(recipe, workspace)
    assert f"{folder.name}/2 passed 0 gates and is champion" in entries[-1].outputs["reason"]
    assert entries[-1].inputs["round"] == 2
    assert not workspace.audit.verify()
    assert watch_once(recipe, workspace).decision.action == "wait"


def test_a_gate_that_refuses_is_named_and_the_champion_stays(workspace, folder):
    recipe = _recipe(folder)
    watch_once(recipe, workspace)
    gates = [{"kind": "at-least", "metric": "accuracy", "value": 1.0}, {"kind": "size", "megabytes": 0.0001}]
    strict = parse({**_fields(folder), "gates": gates})
    _append(folder, [_text(number) for number in range(100, 140)])
    done = watch_once(strict, workspace)
    assert done.round is not None
    assert done.round.outcome == "refused"
    assert "size" in decisions(recipe, workspace)[-1].outputs["reason"]
    assert wiring.registry(workspace).champion(folder.name).ref == f"{folder.name}/1"
    # Refused once, it is not tried again for the same labels.
    assert watch_once(strict, workspace).decision.action == "wait"


def test_a_round_that_fails_is_told_and_tried_again(workspace, folder):
    fields = _fields(folder)
    broken = parse({**fields, "training": {**fields["training"], "checkpoint": str(folder / "nowhere")}})
    done = watch_once(broken, workspace)
    assert done.round is not None
    assert done.round.outcome == "failed"
    assert "ModelError" in decisions(broken, workspace)[-1].outputs["reason"]
    assert watch_once(_recipe(folder), workspace).decision.reasons == ("first", "items", "labels")


def test_a_source_that_is_away_ends_nothing(workspace, folder):
    recipe = _recipe(folder)
    watch_once(recipe, workspace)
    (folder / "mail.csv").rename(folder / "away.csv")
    assert watch_once(recipe, workspace).decision.action == "wait"
    with pytest.raises(SourceError):
        loop.pull(recipe, workspace)


def test_drift_is_found_answered_by_one_round_and_no_other(workspace, folder):
    recipe = _recipe(folder, drift_minutes=0.0001, new_items=None, new_labels=None)
    watch_once(recipe, workspace)
    _append(folder, [_text(number) for number in range(100, 140)])
    calm = watch_once(recipe, workspace)
    assert calm.decision.action == "wait"
    _append(folder, [_drifted(number) for number in range(200, 260)])
    loop.pull(recipe, workspace)
    found = drift(recipe, workspace)
    assert {"input", "input-classifier"} <= set(found.found)
    assert found.seen_by == "the champion"
    assert found.came == 100
    known = json.loads((found.folder / "drift.json").read_text())
    assert known["drifted"] == list(found.found)
    assert drift(recipe, workspace) == found
    refused = parse(
        {**recipe.model_dump(mode="json", by_alias=True), "gates": [{"kind": "size", "megabytes": 1e-4}]}
    )
    done = watch_once(refused, workspace)
    assert done.round is not None
    assert (done.decision.reasons, done.round.outcome) == (("drift",), "refused")
    # The champion is still the one that has not seen them, and everything has drifted as before.
    assert watch_once(refused, workspace).decision.action == "wait"
    after = {shift.what: shift for shift in drift(recipe, workspace).shifts}
    assert (after["labels"].state, after["labels"].recent) == ("none", 100)
    chosen = parse(
        {**recipe.model_dump(mode="json", by_alias=True), "labeling": {"select": {"strategy": "margin"}}}
    )
    after = {shift.what: shift for shift in drift(chosen, workspace).shifts}
    assert (after["labels"].state, after["input"].state) == ("unknown", "drift")
    assert "chosen by a strategy" in after["labels"].why


def test_a_watcher_that_is_killed_goes_on_with_its_round(workspace, folder):
    fields = _fields(folder)
    fields["training"] = {**fields["training"], "epochs": 40}
    recipe = parse(fields)
    path = folder / "mail.yaml"
    path.write_text(yaml.safe_dump(fields))
    process = subprocess.Popen(
        [sys.executable, "-m", "goldloop", "watch", str(path), "--once"],
        env=os.environ | {"GOLDLOOP_HOME": str(workspace.root)},
        stderr=subprocess.PIPE,
        text=True,
    )
    with process.stderr:
        for line in process.stderr:
            if line.startswith("train:"):
                time.sleep(0.3)
                process.send_signal(signal.SIGKILL)
                break
    assert process.wait(timeout=60) == -signal.SIGKILL
    opened = Memory.of(recipe, workspace).open
    assert opened is not None
    assert (opened.number, opened.attempts, opened.ended) == (1, 1, None)
    done = watch_once(recipe, workspace)
    assert done.decision.action == "go-on"
    assert done.round is not None
    assert (done.round.number, done.round.attempts, done.round.outcome) == (1, 2, "promoted")
    assert _said(recipe, workspace) == ["begin", "go-on", "promoted"]
    assert [model.ref for model in wiring.registry(workspace).models(folder.name)] == [f"{folder.name}/1"]
    assert done.round.seconds > 0


def test_a_round_that_is_cut_off_again_and_again_is_given_up(workspace, folder, monkeypatch):
    recipe = _recipe(folder)

    def die(*_arguments, **_named):
        raise MemoryError

    monkeypatch.setattr(loop, "run", die)
    for _ in range(3):
        with pytest.raises(MemoryError):
            watch_once(recipe, workspace)
    done = watch_once(recipe, workspace)
    assert done.round is not None
    assert (done.decision.action, done.round.outcome) == ("give-up", "given-up")
    monkeypatch.undo()
    assert watch_once(recipe, workspace).round.outcome == "promoted"


def test_what_came_of_a_round_is_told_once_wherever_it_is_killed(workspace, folder):
    recipe = _recipe(folder)
    ended = watch_once(recipe, workspace).round
    memory = Memory.of(recipe, workspace)
    # As it is if the kill comes between the audit log and the catalog.
    replace(memory, rounds=(), open=replace(ended, ended=None, outcome=None)).keep(recipe, workspace)
    again = watch_once(recipe, workspace).round
    assert (again.outcome, again.attempts) == ("promoted", 2)
    assert _said(recipe, workspace) == ["begin", "promoted", "go-on"]


def test_a_dry_run_says_what_would_be_and_changes_nothing(workspace, folder):
    from goldloop.progress import Silent

    recipe = _recipe(folder)
    loop.pull(recipe, workspace)
    for _ in range(2):
        assert controlling.foresee(recipe, workspace, Silent()).action == "begin"
    assert Memory.of(recipe, workspace) == Memory()
    assert decisions(recipe, workspace) == []
    with pytest.raises(ModelError):
        wiring.registry(workspace).find(folder.name)
