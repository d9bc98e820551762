"""Runs in processes of their own: killed with no warning, and spread over two."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from goldloop.training.config import TrainingConfig
from goldloop.training.schedules import learning_rate_share

PROGRAM = Path(__file__).with_name("program.py")


def start(*arguments: object, launcher: tuple[str, ...] = ()) -> subprocess.Popen:
    command = [sys.executable, *launcher, str(PROGRAM), *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def end(process: subprocess.Popen, expected: int = 0) -> None:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == expected, output


def outcome(folder: Path) -> tuple[bytes, list[dict]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        for timed in ("samples_per_second", "speed"):
            line.pop(timed, None)
    return (folder / "model" / "model.safetensors").read_bytes(), lines


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


THAWING = {"freeze": {"thaw_every": 2}, "ema": 0.9, "layer_decay": 0.8, "optimizer": "nadam"}


def two_processes() -> tuple[str, ...]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    launcher = ("-m", "torch.distributed.run", "--nproc_per_node=2", "--master_addr=127.0.0.1")
    return (*launcher, f"--master_port={port}")


@pytest.mark.parametrize(
    ("kind", "fields", "room"),
    [
        ("images", {}, 0),
        ("answers", {}, 0),
        ("images", THAWING, 0),
        # Memory of one of the two has no room for its half of a batch: both must work on it in parts.
        ("images", {"gradient_accumulation": "auto"}, 2),
    ],
)
def test_two_processes_give_what_one_gives(kind, fields, room, tmp_path):
    settings = ("--no-augmentation", "--fields", json.dumps(fields))
    one = start(kind, tmp_path / "one", tmp_path / "cache-1", *settings, "--parts", 2)
    narrow = ("--room", room, "--room-of", 1)
    two = start(kind, tmp_path / "two", tmp_path / "cache-2", *settings, *narrow, launcher=two_processes())
    end(one)
    end(two)
    record = json.loads((tmp_path / "two" / "run.json").read_text())
    assert record["hardware"]["processes"] == 2
    assert record["accumulation"] == (2 if room else 1)
    _, alone = outcome(tmp_path / "one")
    _, spread = outcome(tmp_path / "two")
    assert [line["step"] for line in spread] == [line["step"] for line in alone]
    losses = [[line["loss"] for line in lines if "loss" in line] for lines in (spread, alone)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    weights = [load_file(tmp_path / name / "model" / "model.safetensors") for name in ("two", "one")]
    for name, value in weights[1].items():
        if not name.endswith(("key.bias", "k_proj.bias")):
            torch.testing.assert_close(weights[0][name], value, rtol=1e-2, atol=1e-3)


def test_two_processes_that_were_killed_go_on_to_the_same_bytes(tmp_path):
    settings = ("--no-augmentation", "--fields", json.dumps({**THAWING, "gradient_accumulation": "auto"}))
    settings = (*settings, "--room", 2, "--room-of", 1)
    end(start("images", tmp_path / "whole", tmp_path / "cache", *settings, launcher=two_processes()))
    killed = start(
        "images", tmp_path / "run", tmp_path / "cache", *settings, "--kill-at", 6, launcher=two_processes()
    )
    output, _ = killed.communicate(timeout=300)
    assert "Signal 9" in output
    assert not (tmp_path / "run" / "run.json").exists()
    end(start("images", tmp_path / "run", tmp_path / "cache", *settings, launcher=two_processes()))
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_two_processes_find_one_learning_rate(tmp_path):
    settings = ("--no-augmentation", "--fields", json.dumps({"learning_rate": "auto"}))
    one = start("images", tmp_path / "one", tmp_path / "cache-1", *settings)
    two = start("images", tmp_path / "two", tmp_path / "cache-2", *settings, launcher=two_processes())
    end(one)
    end(two)
    tests = [json.loads((tmp_path / name / "learning_rate.json").read_text()) for name in ("one", "two")]
    assert tests[0]["losses"][:20] == pytest.approx(tests[1]["losses"][:20], rel=1e-3)
    for name, test in zip(("one", "two"), tests, strict=True):
        config = TrainingConfig.model_validate({"checkpoint": "", "epochs": 8, "warmup": 0.0})
        for line in (line for line in outcome(tmp_path / name)[1] if "loss" in line):
            share = learning_rate_share(line["step"] - 1, line["total"], config)
            assert line["learning_rate"] == pytest.approx(test["learning_rate"] * share)
