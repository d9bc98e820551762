"""Runs with each setting, stopped and started again: to the bit what they are without a stop."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from goldloop.training.run import train

SETTINGS = {
    "adam": {"optimizer": "adam", "betas": [0.8, 0.95]},
    "nadam": {"optimizer": "nadam"},
    "radam": {"optimizer": "radam"},
    "sgd": {"optimizer": "sgd"},
    "sgd without momentum": {"optimizer": "sgd", "momentum": 0.0},
    "adafactor": {"optimizer": "adafactor"},
    "muon": {"optimizer": "muon"},
    "rates by layer": {"layer_decay": 0.7, "head_factor": 3.0},
    "frozen": {"freeze": {"layers": 1}},
    "thawing": {"freeze": {"thaw_every": 1}},
    "thawing within epochs": {"freeze": {"thaw_every": 0.7}, "ema": 0.8, "optimizer": "muon"},
    "average": {"ema": 0.8},
    "adapters": {"lora": {"rank": 2, "dropout": 0.1}, "ema": 0.8},
    "computed twice": {"gradient_checkpointing": True, "gradient_accumulation": 2},
    "found rate": {"learning_rate": "auto"},
}


class Stop(Exception):
    pass


@pytest.fixture
def fit(texts, cache, tmp_path):
    def fit(name: str, stop_at: int | None = None, **fields) -> tuple[bytes, list[dict], int]:
        told = 0

        def hear(event: object) -> None:
            nonlocal told
            told += 1
            if told == stop_at:
                raise Stop

        config = texts.config(**{"epochs": 4, "evaluate_every": 5, "learning_rate": 1e-2, **fields})
        folder = tmp_path / name
        run = train(texts.task, config, texts.splits(), folder, cache, {}, hear, checkpoint_seconds=0.0)
        return (run.model / "model.safetensors").read_bytes(), told_by(folder), told

    return fit


def told_by(folder: Path) -> list[dict]:
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    timed = ("samples_per_second", "speed")
    return [{name: value for name, value in line.items() if name not in timed} for line in found]


@pytest.mark.parametrize("name", SETTINGS)
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(name, fit):
    weights, told, events = fit("undisturbed", **SETTINGS[name])
    # Behind the first checkpoint, and shortly before the end.
    for stop_at in (events - 5, events - 1):
        with pytest.raises(Stop):
            fit(f"stopped-{stop_at}", stop_at, **SETTINGS[name])
        again = fit(f"stopped-{stop_at}", **SETTINGS[name])
        assert again[:2] == (weights, told), f"stopped at event {stop_at} of {events}"


def test_what_is_kept_is_the_average(fit):
    plain, told, _ = fit("plain", schedule="constant")
    averaged, told_too, _ = fit("averaged", schedule="constant", ema=0.99)
    assert averaged != plain
    losses = [[line["loss"] for line in each if "loss" in line] for each in (told, told_too)]
    assert losses[0] == losses[1], "training itself is the same"


def test_memory_that_ran_out_before_a_stop_is_not_tried_again(fit, texts, monkeypatch):
    asked: list[int] = []
    made = type(texts.task).model

    def narrow(self, *arguments, **options):
        model = made(self, *arguments, **options)

        def refuse(network, _, inputs):
            if network.training:
                asked.append(len(inputs["input_ids"]))
                if asked[-1] > 3:
                    torch.empty(2**60)

        model.network.register_forward_pre_hook(refuse, with_kwargs=True)
        return model

    monkeypatch.setattr(type(texts.task), "model", narrow)
    weights, told, events = fit("undisturbed", packing=False)
    assert max(asked) == 6
    with pytest.raises(Stop):
        fit("stopped", events - 1, packing=False)
    asked.clear()
    assert fit("stopped", packing=False)[:2] == (weights, told)
    assert max(asked) == 3
