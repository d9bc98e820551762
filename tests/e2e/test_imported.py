"""Labels that a source knows, corrected by people in Label Studio."""

from __future__ import annotations

import csv

import pytest

from goldloop import loop, wiring
from goldloop.recipe import load

RECIPE = """
name: known-labels
sources:
  - {{kind: table, url: {table}, text: text, label: {{from: intent, use: annotation}}}}
task: {{kind: text-classification, classes: [greeting, weather]}}
"""


@pytest.fixture
def recipe(tmp_path):
    with (tmp_path / "texts.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "intent"])
        writer.writerows([f"text {number}", ("greeting", "weather", "")[number % 3]] for number in range(9))
    path = tmp_path / "corrected.yaml"
    path.write_text(RECIPE.format(table=tmp_path / "texts.csv"))
    return load(path)


def test_known_labels_become_annotations_and_what_people_change_is_theirs(recipe, workspace, label_studio):
    assert loop.pull(recipe, workspace).outcomes == {"pulled": 9}
    assert loop.push(recipe, workspace).created == 9
    collected = loop.collect(recipe, workspace)
    assert (collected.annotations, collected.balance.outcomes) == (6, {"labelled": 6, "open": 3})
    first = loop.commit(recipe, workspace)
    assert loop.push(recipe, workspace).created == 0
    provenances = [row["provenance"] for split in first.counts for row in first.dataset(split)]
    assert provenances == ["imported"] * 6
    assert all(not row["annotators"] for split in first.counts for row in first.dataset(split))

    session = wiring.session(recipe, workspace)
    task = next(task for task in session.client.annotations(session.project) if task.annotations)
    (annotation,) = task.annotations
    other = {"greeting": "weather", "weather": "greeting"}[annotation.results[0]["value"]["choices"][0]]
    result = [{**annotation.results[0], "value": {"choices": [other]}}]
    session.client._api.call("PATCH", f"/api/annotations/{annotation.id}/", json={"result": result})
    loop.collect(recipe, workspace)
    second = loop.commit(recipe, workspace)

    assert second.digest != first.digest
    rows = {row["key"]: row for split in second.counts for row in second.dataset(split)}
    assert len(rows) == 6
    assert rows[task.key]["provenance"] == "human"
    assert second.classes[rows[task.key]["label"]] == other
    assert sum(row["provenance"] == "imported" for row in rows.values()) == 5
