"""`goldloop watch` over a script of events: however it is disturbed, it ends as it does when left alone.

The events: texts, annotators who label some, more texts, more labels, texts of another kind. The
disturbances: a kill while it trains, a server that is away, passes that come twice, a kill of the watcher.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from goldloop import loop, wiring
from goldloop.deciding import Memory, decisions
from goldloop.errors import LabelStudioUnreachable
from goldloop.recipe import Recipe, parse
from goldloop.simulation import simulate
from goldloop.watching import watch_once
from goldloop.workspace import Workspace

WORDS = {
    "greeting": ("hello", "morning", "welcome", "evening", "friend"),
    "weather": ("rain", "sunshine", "storm", "snow", "wind"),
    "food": ("soup", "bread", "cheese", "apple", "noodles"),
}
STRANGE = ("error", "0x7f", "null", "stack", "frame", "segment", "pointer", "kernel")
NETWORK = {
    "model_type": "bert", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
    "num_attention_heads": 2, "vocab_size": 300,
}  # fmt: skip


def _write(folder: Path, first: int, count: int, words: dict[str, tuple[str, ...]]) -> None:
    for number in range(first, first + count):
        kind = list(words)[number % len(words)]
        chance = random.Random(number)
        text = " ".join(
            [*chance.choices(words[kind], k=3), f"in {chance.choice('abcdefgh')} {number * 37 % 101}"]
        )
        (folder / kind).mkdir(parents=True, exist_ok=True)
        (folder / kind / f"{number:03}.txt").write_text(text)


def _recipe(folder: Path, name: str) -> tuple[Recipe, Path]:
    fields = {
        "name": name,
        "sources": [
            {"kind": "files", "url": str(folder), "label": {"from": "folder", "use": "truth"}},
        ],
        "task": {"kind": "text-classification", "classes": list(WORDS)},
        "dataset": {"split": {"train": 0.5, "validation": 0.2, "test": 0.3}},
        "training": {
            "checkpoint": {"from-config": NETWORK}, "epochs": 12, "batch_size": 8, "learning_rate": 5.0e-3,
        },
        "gates": [
            {"kind": "at-least", "metric": "accuracy", "value": 0.2},
            {"kind": "no-worse-than-champion", "metric": "accuracy"},
        ],
        "drift": {"min_items": 20},
        "watch": {
            "pull_minutes": 0.0001, "new_items": 40, "new_labels": 30, "drift_minutes": 0.0001,
            "cool_down_minutes": 0,
        },
    }  # fmt: skip
    path = folder.parent / f"{name}.yaml"
    path.write_text(yaml.safe_dump(fields))
    return parse(fields), path


def _events(recipe: Recipe, folder: Path, workspace: Workspace, passes: list[Callable[[], None]]) -> None:
    """What happens in the world, and after each of it a pass of the watcher."""

    def annotate(limit: int) -> None:
        simulate(recipe, annotators=1, error_rate=0.1, limit=limit, workspace=workspace)

    happenings: list[Callable[[], None]] = [
        lambda: _write(folder, 0, 50, WORDS),
        lambda: annotate(40),
        lambda: _write(folder, 50, 40, WORDS),
        lambda: annotate(75),
        lambda: _write(folder, 100, 30, dict.fromkeys(WORDS, STRANGE)),
        lambda: None,
    ]
    for happening, a_pass in zip(happenings, passes, strict=True):
        happening()
        a_pass()


def _state(recipe: Recipe, workspace: Workspace) -> dict[str, Any]:
    """All that must not depend on what disturbed the watcher."""
    session = wiring.session(recipe, workspace)
    totals = session.client.project_totals(session.project)
    memory = Memory.of(recipe, workspace)
    said = decisions(recipe, workspace)
    return {
        "tasks": totals.tasks,
        "annotations": totals.annotations,
        "predictions": totals.predictions,
        "version": wiring.version_of(workspace, recipe.name, None).digest,
        "models": [
            (model.number, model.aliases, model.value)
            for model in wiring.registry(workspace).models(recipe.name)
        ],
        "rounds": [(each.number, each.reasons, each.outcome) for each in memory.rounds],
        "open": memory.open,
        "decided": [
            entry.outputs["decision"]
            for entry in said
            if entry.outputs.get("decision") not in ("go-on", None)
        ],
    }


@pytest.fixture(scope="module")
def calm(workspace, server, tmp_path_factory) -> dict[str, Any]:
    """What comes of the events where nothing disturbs."""
    server.up()
    folder = tmp_path_factory.mktemp("calm") / "texts"
    recipe, _ = _recipe(folder, "closed-calm")

    def a_pass() -> None:
        watch_once(recipe, workspace)

    _events(recipe, folder, workspace, [a_pass] * 6)
    return _state(recipe, workspace)


def test_each_event_leads_to_a_round_that_says_why(calm):
    reasons = [reasons for _, reasons, _ in calm["rounds"]]
    assert reasons[0] == ("first", "items")
    assert [names[0] for names in reasons[1:]] == ["labels", "items", "labels", "drift"]
    assert [outcome for *_, outcome in calm["rounds"][:2]] == ["waiting", "promoted"]
    assert calm["tasks"] == 120
    assert calm["annotations"] == 75
    assert calm["decided"][-1] == "wait"
    assert any("champion" in aliases for _, aliases, _ in calm["models"])


def test_a_watcher_that_is_disturbed_ends_as_one_left_alone(calm, workspace, server, tmp_path):
    folder = tmp_path / "texts"
    recipe, path = _recipe(folder, "closed-rough")

    def twice() -> None:
        watch_once(recipe, workspace)
        watch_once(recipe, workspace)

    def killed_in_training() -> None:
        _killed(path, workspace, ["--once"], "train:")
        opened = Memory.of(recipe, workspace).open
        assert opened is not None
        assert opened.number == 2
        watch_once(recipe, workspace)

    def server_away() -> None:
        loop.pull(recipe, workspace)
        server.down()
        try:
            with pytest.raises(LabelStudioUnreachable):
                watch_once(recipe, workspace)
        finally:
            server.up()
        watch_once(recipe, workspace)

    def watcher_killed() -> None:
        _killed(path, workspace, ["--every", "1"], "watch: round 5")

    passes = [
        lambda: watch_once(recipe, workspace), killed_in_training, server_away,
        lambda: watch_once(recipe, workspace), watcher_killed, twice,
    ]  # fmt: skip
    _events(recipe, folder, workspace, passes)
    assert _state(recipe, workspace) == calm
    explained = [
        (entry.outputs["decision"], entry.outputs["reason"]) for entry in decisions(recipe, workspace)
    ]
    assert [word for word, _ in explained].count("begin") == 5
    assert [word for word, _ in explained].count("go-on") == 1
    assert all(reason for _, reason in explained)
    assert not workspace.audit.verify()


def _killed(path: Path, workspace: Workspace, options: list[str], at: str) -> None:
    """`goldloop watch` in a process of its own, killed as soon as it says something."""
    process = subprocess.Popen(
        [sys.executable, "-m", "goldloop", "watch", str(path), *options],
        env=os.environ | {"GOLDLOOP_HOME": str(workspace.root)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = []
    with process.stderr:
        for line in process.stderr:
            said.append(line)
            if line.startswith(at):
                process.send_signal(signal.SIGKILL)
                break
    assert process.wait(timeout=60) == -signal.SIGKILL, "".join(said)
