"""What the loop's reports tell of items, costs and labels, and what a second look leaves alone."""

from __future__ import annotations

import pytest

from goldloop import loop
from goldloop.evaluation.report import Report, verdicts_in
from goldloop.recipe import Recipe
from goldloop.wiring import registry, report_folder
from goldloop.workspace import Workspace


@pytest.fixture
def recipe(notes, tmp_path) -> Recipe:
    """Sixty texts with labels, and gates."""
    return notes.recipe(
        tmp_path,
        notes.rows(30),
        dataset={"split": {"train": 0.4, "validation": 0.1, "test": 0.5}, "duplicates": {"texts": "off"}},
        training={"epochs": 2},
        gates=[
            {"kind": "at-least", "metric": "accuracy", "value": 0.1},
            {"kind": "size", "megabytes": 99},
        ],
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
