"""Runs that are killed with no warning, or have no more room, go on to the same bytes."""

from __future__ import annotations

import json
import re
import signal

import pytest
from started import end, outcome, start

pytestmark = pytest.mark.long


@pytest.mark.parametrize(
    ("kind", "kills"),
    [
        ("images", [("--kill-at", 5), ("--kill-in", 3), ("--kill-writing", 2)]),
        ("texts", [("--kill-at", 8), ("--kill-in", 4), ("--kill-writing", 11)]),
        ("answers", [("--kill-at", 9), ("--kill-in", 5), ("--kill-writing", 17)]),
    ],
)
def test_a_run_killed_at_any_moment_goes_on_to_the_same_bytes(kind, kills, tmp_path):
    cache = tmp_path / "cache"
    undisturbed = start(kind, tmp_path / "undisturbed", cache)
    killed = [start(kind, tmp_path / kill[0], cache, *kill) for kill in kills]
    end(undisturbed)
    for process in killed:
        end(process, -signal.SIGKILL)
    assert not any((tmp_path / name / "run.json").exists() for name, _ in kills)
    again = [start(kind, tmp_path / name, cache) for name, _ in kills]
    for process in again:
        end(process)
    for name, _ in kills:
        assert outcome(tmp_path / name) == outcome(tmp_path / "undisturbed"), name


MANY = {
    "learning_rate": "auto",
    "optimizer": "muon",
    "ema": 0.9,
    "layer_decay": 0.8,
    "head_factor": 2.0,
    "freeze": {"thaw_every": 2},
    "gradient_accumulation": "auto",
    "gradient_checkpointing": True,
}


def test_a_run_with_many_settings_killed_at_any_moment_goes_on_to_the_same_bytes(tmp_path):
    cache = tmp_path / "cache"
    settings = ("--fields", json.dumps(MANY), "--room", 4)
    kills = [("--kill-at", 6), ("--kill-in", 4), ("--kill-writing", 19)]
    undisturbed = start("images", tmp_path / "undisturbed", cache, *settings)
    killed = [start("images", tmp_path / kill[0], cache, *settings, *kill) for kill in kills]
    end(undisturbed)
    for process in killed:
        end(process, -signal.SIGKILL)
    again = [start("images", tmp_path / name, cache, *settings) for name, _ in kills]
    for process in again:
        end(process)
    for name, _ in kills:
        assert outcome(tmp_path / name) == outcome(tmp_path / "undisturbed"), name
    assert json.loads((tmp_path / "undisturbed" / "run.json").read_text())["accumulation"] == 2


def test_steps_go_on_while_a_checkpoint_waits_for_the_disk(tmp_path):
    # The first checkpoint is begun after the second event; the third is told some steps later.
    process = start("images", tmp_path / "run", tmp_path / "cache", "--hang", 3)
    end(process)
    assert (tmp_path / "run" / "run.json").exists()


def test_a_full_disk_ends_the_run_and_with_room_again_it_goes_on_to_the_same_bytes(tmp_path):
    cache = tmp_path / "cache"
    end(start("images", tmp_path / "undisturbed", cache))
    process = start("images", tmp_path / "run", cache, "--full-at", 5)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert re.search(r"TrainingError: .*checkpoints/.*: a checkpoint cannot be written", output)
    assert "Make room on the disk and run again" in output
    left = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert [name.partition("-")[0] for name in left] in (["step"], ["best", "step"])
    again = start("images", tmp_path / "run", cache)
    output, _ = again.communicate(timeout=300)
    assert again.returncode == 0, output
    assert outcome(tmp_path / "run") == outcome(tmp_path / "undisturbed")
