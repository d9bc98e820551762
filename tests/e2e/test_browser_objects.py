"""Outlines, masks and poses that were suggested, as Label Studio's own editor shows and submits them."""

from __future__ import annotations

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

pytestmark = pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on this machine")


def submitted(kind: str, workspace, server, page: Any, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What was suggested and what came back of the task's own examples, by content key."""
    task = tasks.create(tasks.get(kind).example_config())
    examples = {example.item.key: example for example in task.examples() if task.classes_in(example.target)}
    pictures = folder / "pictures"
    pictures.mkdir()
    for number, example in enumerate(examples.values()):
        (pictures / f"{number}.png").write_bytes(example.content or b"")
    recipe = parse(
        {
            "name": f"seen-{kind}",
            "sources": [{"kind": "files", "url": str(pictures)}],
            "task": tasks.get(kind).example_config(),
        }
    )
    loop.pull(recipe, workspace)
    loop.push(recipe, workspace)
    session = wiring.session(recipe, workspace)
    with workspace.engine.connect() as connection:
        live = tasks_of(connection, session.place)
        items = {live[item.key]: item for item in items_of(connection, recipe.name)}
    session.preannotate(
        items,
        lambda chunk: [(task.encode(examples[item.key].target, item), 0.9) for item in chunk],
        f"{recipe.name}/1",
        Silent(),
    )
    for number in items:
        page.goto(f"{server.access().url}/projects/{session.project.id}/data?task={number}")
        page.wait_for_selector("canvas", timeout=60_000)
        page.wait_for_timeout(2_000)
        page.screenshot(path=str(folder / f"{kind}-{number}.png"))
        with page.expect_response(lambda answer: "/annotations" in answer.url and answer.status == 201):
            page.click("button:has-text('Submit')")
    loop.collect(recipe, workspace)
    version = loop.commit(recipe, workspace)
    trained = tasks.create(version.task)
    rows = [row for split in version.counts for row in version.dataset(split)]
    return (
        {key: example.target for key, example in examples.items()},
        {row["key"]: trained.from_row(row) for row in rows},
    )


@pytest.mark.parametrize("kind", ["instance-segmentation", "keypoints"])
def test_what_was_suggested_comes_back_from_the_editor_as_it_was(kind, workspace, server, page, tmp_path):
    suggested, found = submitted(kind, workspace, server, page, tmp_path)

    assert len(suggested) >= 4
    assert found == suggested
