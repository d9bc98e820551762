"""Texts that are written, corrected and left out in Label Studio's own editor."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest

from goldloop import loop, wiring
from goldloop.catalog.content import items_of
from goldloop.catalog.server_side import tasks_of
from goldloop.examples.digits import write_digits
from goldloop.progress import Silent
from goldloop.recipe import parse
from goldloop.records import Item
from goldloop.tasks import tasks

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")

SUBMIT = "[aria-label='Submit current annotation']"
BOX = "[data-testid=textarea-input]"
ADD = "[data-testid=textarea-add-button]"
SHOWN = "[data-testid=htx-textbox-content]"
EDIT = "[data-testid=htx-textbox-edit-button]"
EDITED = "[data-testid=htx-textbox-input]"
DELETE = "[data-testid=htx-textbox-delete-button]"

ODD = '  two blanks, <b>no tag</b> &amp; $text\n\nthird \N{GRINNING FACE} e\u0301 "quoted"\ta tab, שלום \n'
"""Blanks around it, lines, characters of two UTF-16 units, combining marks, markup, two directions."""


def pushed(name: str, workspace, source: dict[str, Any], kind: str):
    """A recipe whose items are in Label Studio: the recipe, its session, and item -> task id."""
    recipe = parse({"name": name, "sources": [source], "task": {"kind": kind}})
    loop.pull(recipe, workspace)
    loop.push(recipe, workspace)
    session = wiring.session(recipe, workspace)
    with workspace.engine.connect() as connection:
        live = tasks_of(connection, session.place)
        return recipe, session, [(item, live[item.key]) for item in items_of(connection, name)]


def texts(tmp_path: Path, count: int) -> dict[str, Any]:
    with (tmp_path / "texts.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["text"], *([f"text {number}"] for number in range(count))])
    return {"kind": "table", "url": str(tmp_path / "texts.csv"), "text": "text"}


def suggest(recipe, session, pairs: list[tuple[Item, int]], answer: str) -> None:
    task = tasks.create(recipe.task)
    session.preannotate(
        {number: item for item, number in pairs},
        lambda chunk: [(task.encode(answer, item), 0.9) for item in chunk],
        f"{recipe.name}/1",
        Silent(),
    )


def open_task(page, server, session, number: int, awaited: str) -> None:
    page.goto(f"{server.access().url}/projects/{session.project.id}/data?task={number}")
    page.wait_for_selector(SUBMIT, timeout=60_000)
    page.wait_for_selector(awaited, timeout=60_000)
    page.wait_for_timeout(500)


def submit(page) -> None:
    with page.expect_response(lambda answer: "/annotations" in answer.url and answer.status == 201):
        page.click(SUBMIT)


def answers(recipe, workspace) -> dict[str, str]:
    """Item key -> answer, in the version that the annotations make."""
    loop.collect(recipe, workspace)
    version = loop.commit(recipe, workspace)
    task = tasks.create(version.task)
    rows = [row for split in version.counts for row in version.dataset(split)]
    return {row["key"]: task.from_row(row) for row in rows}


def test_what_is_typed_comes_back_to_the_character(workspace, server, page, tmp_path: Path):
    recipe, session, pairs = pushed("written", workspace, texts(tmp_path, 4), "text-generation")
    expected = {}

    def write(number: int, text: str, finish: str) -> None:
        item, task = pairs[number]
        open_task(page, server, session, task, BOX)
        if text:
            page.fill(BOX, text)
        if finish == "button":
            page.click(ADD)
        elif finish == "keys":
            page.press(BOX, "Shift+Enter")
        if finish:
            page.wait_for_selector(SHOWN)
        submit(page)
        expected[item.key] = text

    write(0, ODD, "")
    write(1, ODD + "added", "button")
    write(2, ODD + "by the keys", "keys")
    write(3, "", "")

    assert answers(recipe, workspace) == expected


def test_a_suggested_text_is_kept_corrected_or_removed(workspace, server, page, tmp_path: Path):
    recipe, session, pairs = pushed("corrected", workspace, texts(tmp_path, 3), "text-generation")
    suggested = ODD.replace("\n", "\r\n")
    suggest(recipe, session, pairs, suggested)
    expected = {}

    def correct(number: int, text: str) -> None:
        item, task = pairs[number]
        open_task(page, server, session, task, SHOWN)
        if not text:
            page.click(DELETE)
        elif text != suggested:
            page.click(EDIT)
            page.fill(EDITED, text)
        page.screenshot(path=str(tmp_path / f"text-{number}.png"))
        submit(page)
        expected[item.key] = text

    correct(0, suggested)
    correct(1, ODD + "corrected")
    correct(2, "")

    assert answers(recipe, workspace) == expected


def test_a_caption_is_written_under_its_image(workspace, server, page, tmp_path: Path):
    folder = write_digits(tmp_path / "digits", per_class=1)
    source = {"kind": "files", "url": str(folder / "zero")}
    recipe, session, pairs = pushed("captioned", workspace, source, "image-captioning")
    [(item, task)] = pairs
    open_task(page, server, session, task, BOX)
    pictures = "[...document.querySelectorAll('img')].filter(image => image.src.includes('local-files'))"
    page.wait_for_function(f"{pictures}.some(image => image.naturalWidth === 64)", timeout=60_000)
    page.fill(BOX, ODD)
    page.screenshot(path=str(tmp_path / "caption.png"))
    submit(page)

    assert answers(recipe, workspace) == {item.key: ODD}
