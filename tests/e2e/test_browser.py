"""What an annotator sees in Label Studio's own front end, in a real browser."""

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
from goldloop.recipe import Recipe, parse
from goldloop.tasks import tasks

pytestmark = pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on this machine")

ODD = 'Ünïcode \N{PILE OF POO}, <b>not bold</b> & "quoted"'


def _suggested(recipe: Recipe, workspace, answer: str) -> tuple[int, int]:
    """Push a recipe's items, suggest one answer for all, and tell project and a task to look at."""
    loop.pull(recipe, workspace)
    loop.push(recipe, workspace)
    session = wiring.session(recipe, workspace)
    task = tasks.create(recipe.task)
    with workspace.engine.connect() as connection:
        live = tasks_of(connection, session.place)
        items = {live[item.key]: item for item in items_of(connection, recipe.name)}
    session.preannotate(
        items,
        lambda chunk: [(task.encode(answer, item), 0.9) for item in chunk],
        f"{recipe.name}/1",
        Silent(),
    )
    return session.project.id, min(items)


def _open(page: Any, server, project: int, task: int) -> None:
    page.goto(f"{server.access().url}/projects/{project}/data?task={task}")
    page.wait_for_selector("input[type=radio]:checked", timeout=60_000)


def _checked(page: Any) -> list[str]:
    """What is ticked, without its hotkey; buttons of the toolbar have no words."""
    words = page.evaluate(
        "[...document.querySelectorAll('input[type=radio]:checked')]"
        ".map(radio => (radio.closest('label') || radio.parentElement.parentElement).innerText)"
    )
    return [word.partition("[")[0].strip() for word in words if word.strip()]


def test_an_image_is_shown_with_its_pre_annotation(workspace, server, page, tmp_path: Path):
    folder = write_digits(tmp_path / "digits", per_class=2)
    recipe = parse(
        {
            "name": "seen-images",
            "sources": [{"kind": "files", "url": str(folder)}],
            "task": {"kind": "image-classification", "classes": ["even & small", 'odd "one"']},
        }
    )
    project, task = _suggested(recipe, workspace, 'odd "one"')
    _open(page, server, project, task)
    assert _checked(page) == ['odd "one"']
    pictures = "[...document.querySelectorAll('img')].filter(image => image.src.includes('local-files'))"
    page.wait_for_function(f"{pictures}.some(image => image.naturalWidth === 64)", timeout=60_000)
    page.screenshot(path=str(tmp_path / "image.png"))


def test_a_text_is_shown_to_the_character_with_its_pre_annotation(workspace, server, page, tmp_path: Path):
    table = tmp_path / "texts.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["text"], [ODD]])
    recipe = parse(
        {
            "name": "seen-texts",
            "sources": [{"kind": "table", "url": str(table), "text": "text"}],
            "task": {"kind": "text-classification", "classes": ["plain", "odd"]},
        }
    )
    project, task = _suggested(recipe, workspace, "odd")
    _open(page, server, project, task)
    assert _checked(page) == ["odd"]
    assert ODD in page.inner_text("body")
    page.screenshot(path=str(tmp_path / "text.png"))
