"""The accuracy benchmark's reference loop learns, and its table says what was found and what was not."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import datasets
import pytest
import torch

from goldloop.tasks import tasks
from goldloop.training.config import TrainingConfig

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "accuracy"


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmarks_accuracy_{name}", BENCHMARK / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.mark.parametrize("kind", ["text-classification", "image-classification"])
def test_the_reference_loop_learns_the_examples_of_a_task(kind: str) -> None:
    plain = module("plain")
    created = tasks.create(tasks.get(kind).example_config())
    rows = [
        {
            "key": example.item.key,
            **({"image": {"bytes": example.content}} if example.content else {"text": example.item.text}),
            **created.to_row(example.target),
        }
        for example in created.examples()
    ]
    data = datasets.Dataset.from_list(rows)
    torch.manual_seed(0)
    model = created.example_model()
    config = TrainingConfig.model_validate(
        {
            "checkpoint": "none",
            "epochs": 25,
            "batch_size": 6,
            "learning_rate": 3e-3,
            "schedule": "cosine",
            "augment": False,
        }
    )

    plain.train(created, model, config, data)

    # One answer for all would reach a third.
    assert plain.score(created, model, data, 5)[created.metric] >= 0.6


def test_the_table_pairs_seeds_and_says_what_has_not_been_measured(tmp_path: Path) -> None:
    table = module("table")
    line = {
        "case": "one",
        "metric": "accuracy",
        "items": {"train": 9, "test": 3},
        "seconds": 1.0,
        "packages": {},
        "hardware": {"device": "cpu", "machine": "x", "cpus": 1, "threads": 1, "python": "3"},
        "commit": None,
    }
    values = {("goldloop", 0): 0.5, ("plain", 0): 0.4, ("goldloop", 1): 0.7, ("plain", 1): 0.4}
    lines = [{**line, "arm": arm, "seed": seed, "value": value} for (arm, seed), value in values.items()]
    cases = {"one": {"training": {"epochs": 1}}, "other": {"training": {"epochs": 1}}}

    text = table.write_table(tmp_path / "day.md", cases, lines)

    assert "| one | accuracy | 9 / 3 | 2 | 0.6000 ± 0.1414 | 0.4000 ± 0.0000 | +0.2000 (" in text
    assert "| other | | | 0 | not yet measured | not yet measured |" in text
    assert (tmp_path / "day.md").read_text(encoding="utf-8") == text


def test_an_interval_of_paired_differences_widens_with_their_spread() -> None:
    interval = module("table").interval
    assert interval([]) == "no pair"
    assert interval([0.25]) == "+0.2500"
    # Student's quantile for 2 degrees of freedom is 4.3027; the standard error is 0.1 / sqrt(3).
    assert interval([0.1, 0.2, 0.3]) == "+0.2000 (-0.0484 to +0.4484)"
