"""Sets of classes, pairs of texts and numbers, given in Label Studio's own editor."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest

from goldloop import loop, wiring
from goldloop.catalog.content import items_of
from goldloop.catalog.server_side import tasks_of
from goldloop.progress import Silent
from goldloop.recipe import parse
from goldloop.tasks import tasks

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")

SUBMIT = "[aria-label='Submit current annotation']"

PAIRS = [
    ["A man plays a guitar.", "  <b>He</b> &amp; $first \N{GRINNING FACE}"],
    ["one\r\ntwo", "e\u0301 is \N{LATIN SMALL LETTER E WITH ACUTE}\tafter a tab"],
]


def pushed(name: str, workspace, tmp_path: Path, rows: list[list[str]], **task: Any):
    """A recipe whose rows are in Label Studio: the recipe, its session, and task id -> item."""
    columns = [f"text {number}" for number in range(len(rows[0]))]
    with (tmp_path / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    text = columns if len(columns) > 1 else columns[0]
    source = {"kind": "table", "url": str(tmp_path / "rows.csv"), "text": text}
    recipe = parse({"name": name, "sources": [source], "task": task})
    loop.pull(recipe, workspace)
    loop.push(recipe, workspace)
    session = wiring.session(recipe, workspace)
    with workspace.engine.connect() as connection:
        live = tasks_of(connection, session.place)
        items = {live[item.key]: item for item in items_of(connection, name)}
    assert len(items) == len(rows)
    return recipe, session, items


def open_task(page, server, session, number: int) -> None:
    page.goto(f"{server.access().url}/projects/{session.project.id}/data?task={number}")
    page.wait_for_selector(SUBMIT, timeout=30_000)
    page.wait_for_timeout(500)


def submit(page) -> None:
    with page.expect_response(lambda answer: "/annotations" in answer.url and answer.status == 201):
        page.click(SUBMIT)


def labels(recipe, workspace) -> dict[str, Any]:
    """Text -> target in the version that the annotations make."""
    loop.collect(recipe, workspace)
    version = loop.commit(recipe, workspace)
    task = tasks.create(version.task)
    return {row["text"]: task.from_row(row) for split in version.counts for row in version.dataset(split)}


def test_several_classes_and_none_at_all_come_back(workspace, server, page, tmp_path: Path):
    chosen = {"roads and waste": ["roads", "waste"], "nothing of it": [], "only lighting": ["lighting"]}
    recipe, session, items = pushed(
        "judged-tags",
        workspace,
        tmp_path,
        [[text] for text in chosen],
        kind="text-multilabel",
        classes=["roads", "lighting", "waste"],
    )
    for number, item in items.items():
        open_task(page, server, session, number)
        for name in chosen[item.text]:
            page.keyboard.press(str(["roads", "lighting", "waste"].index(name) + 1))
        submit(page)

    assert labels(recipe, workspace) == chosen


def test_two_texts_stand_side_by_side_to_the_character(workspace, server, page, tmp_path: Path):
    recipe, session, items = pushed(
        "judged-pairs",
        workspace,
        tmp_path,
        PAIRS,
        kind="text-pairs",
        classes=["entailment", "neutral"],
        headings=["Premise", "Hypothesis"],
    )
    task = tasks.create(recipe.task)
    for number, item in items.items():
        open_task(page, server, session, number)
        body = " ".join(page.inner_text("body").split())
        for text in task.task_data(item, None).values():
            assert " ".join(text.split()) in body
        assert body.index("Premise") < body.index("Hypothesis")
        lefts = [
            page.get_by_text(heading, exact=True).bounding_box()["x"] for heading in ("Premise", "Hypothesis")
        ]
        assert lefts[0] + 100 < lefts[1]
        page.keyboard.press("2")
        submit(page)
    page.screenshot(path=str(tmp_path / "pairs.png"))

    assert labels(recipe, workspace) == {item.text: "neutral" for item in items.values()}


def test_a_number_that_is_typed_and_one_that_was_suggested_come_back(workspace, server, page, tmp_path: Path):
    recipe, session, items = pushed(
        "judged-numbers", workspace, tmp_path, PAIRS, kind="text-similarity", scale={"least": 0, "most": 5}
    )
    task = tasks.create(recipe.task)
    typed, suggested = items
    session.preannotate(
        {suggested: items[suggested]},
        lambda chunk: [(task.encode(3.0, item), 0.9) for item in chunk],
        "judged-numbers/1",
        Silent(),
    )
    open_task(page, server, session, typed)
    page.fill("input[type=number]", "4")
    submit(page)
    open_task(page, server, session, suggested)
    assert page.input_value("input[type=number]") == "3"
    page.screenshot(path=str(tmp_path / "number.png"))
    submit(page)

    assert labels(recipe, workspace) == {items[typed].text: 4.0, items[suggested].text: 3.0}
