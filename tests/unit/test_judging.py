"""What the loop's reports tell of items, costs and labels, and what a second look leaves alone."""

from __future__ import annotations

import json

import pytest

from goldloop import loop
from goldloop.evaluation.report import Report, verdicts_in
from goldloop.recipe import Recipe, parse
from goldloop.settings import Settings
from goldloop.wiring import registry, report_folder
from goldloop.workspace import Workspace

NETWORK = {
    "model_type": "bert", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
    "num_attention_heads": 2, "vocab_size": 300,
}  # fmt: skip


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace(tmp_path / "state", Settings())


@pytest.fixture
def recipe(tmp_path) -> Recipe:
    """Sixty texts with labels, and gates."""
    words = {"food": "soup and bread", "weather": "rain and snow"}
    rows = [
        {"text": f"{words[name]}, number {number}", "label": name} for number in range(30) for name in words
    ]
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    label = {"from": "label", "use": "imported"}
    return parse(
        {
            "name": "notes",
            "sources": [{"kind": "table", "url": str(path), "text": "text", "label": label}],
            "task": {"kind": "text-classification", "classes": list(words)},
            "dataset": {
                "split": {"train": 0.4, "validation": 0.1, "test": 0.5},
                "duplicates": {"texts": "off"},
            },
            "training": {"checkpoint": {"from-config": NETWORK}, "epochs": 2, "batch_size": 8},
            "gates": [
                {"kind": "at-least", "metric": "accuracy", "value": 0.1},
                {"kind": "size", "megabytes": 99},
            ],
        }
    )


def trained(recipe: Recipe, workspace: Workspace) -> None:
    loop.pull(recipe, workspace)
    loop.commit(recipe, workspace)
    loop.train(recipe, workspace)


def test_a_report_tells_slices_costs_and_what_was_seen(recipe, workspace):
    trained(recipe, workspace)
    report = loop.evaluate("notes/1", workspace=workspace)
    assert {"length", "class"} <= {each.circumstance for each in report.slices}
    assert report.costs.latency_p99 >= report.costs.latency_p50 > 0
    assert report.costs.size > 1000
    assert report.data.seen == ()
    assert "every group is in one split" in report.data.checks
    assert report.robustness == ()
    on_training = loop.evaluate("notes/1", split="train", workspace=workspace)
    assert set(on_training.data.seen) == {item.key for item in on_training.items}


def test_a_look_at_spoiled_contents_is_added_and_leaves_what_the_gates_said(recipe, workspace):
    trained(recipe, workspace)
    assert loop.promote("notes/1", workspace=workspace).promoted
    (entry,) = registry(workspace).models("notes")
    folder = report_folder(workspace, entry, entry.version, "test")
    said = verdicts_in(folder)
    assert len(said) == 2
    spoiled = loop.evaluate("notes/1", spoiled=True, workspace=workspace)
    assert {each.name for each in spoiled.robustness} >= {"typing errors", "in capitals"}
    assert verdicts_in(folder) == said
    assert "at-least accuracy 0.1" in (folder / "report.html").read_text()
    assert Report.load(folder) == spoiled == loop.evaluate("notes/1", workspace=workspace)
