"""Two processes do what one does."""

from __future__ import annotations

import json
import socket

import pytest
import torch
from safetensors.torch import load_file
from started import end, outcome, start

from goldloop.training.config import TrainingConfig
from goldloop.training.schedules import learning_rate_share

pytestmark = pytest.mark.long

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
