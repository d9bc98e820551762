"""Boxes drawn with the mouse in Label Studio's own editor, and pre-annotations seen in it."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image, ImageDraw

from goldloop import loop, wiring
from goldloop.catalog.content import items_of
from goldloop.catalog.server_side import tasks_of
from goldloop.progress import Silent
from goldloop.recipe import parse
from goldloop.tasks import tasks
from goldloop.tasks._geometry import box_overlaps, corners

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")

PICTURE = {"left": 250, "top": 92, "right": 1010, "bottom": 800}
"""Where on the screen the picture is, without the list of tasks, the tools and the labels."""
TURNS = {
    1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
}  # fmt: skip


@pytest.fixture(scope="module")
def page(server) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    access = server.up()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.goto(f"{access.url}/user/login")
        page.fill("input[name=email]", server.login.username)
        page.fill("input[name=password]", server.login.password.get_secret_value())
        page.click("button[type=submit]")
        page.wait_for_load_state("networkidle")
        yield page
        browser.close()


def thing(x, y, width, height, rotation=0.0):
    return {"label": "thing", "x": x, "y": y, "width": width, "height": height, "rotation": rotation}


def painted(path: Path, size, box, orientation=1) -> None:
    """A file whose picture, upright, is white with a magenta box."""
    picture = Image.new("RGB", size, "white")
    ImageDraw.Draw(picture).polygon([tuple(point) for point in corners(box).tolist()], fill="magenta")
    turn, exif = TURNS[orientation], Image.Exif()
    exif[0x0112] = orientation
    # The number makes files of equal pixels different items.
    exif[0x010E] = path.stem
    (picture if turn is None else picture.transpose(turn)).save(path, quality=97, exif=exif, subsampling=0)


def pushed(name, workspace, folder):
    """A recipe with a folder's pictures in Label Studio: the recipe, its session, and task id -> item."""
    recipe = parse(
        {
            "name": name,
            "sources": [{"kind": "files", "url": str(folder)}],
            "task": {"kind": "object-detection", "classes": ["thing", "other"], "rotated": True},
        }
    )
    loop.pull(recipe, workspace)
    loop.push(recipe, workspace)
    session = wiring.session(recipe, workspace)
    with workspace.engine.connect() as connection:
        live = tasks_of(connection, session.place)
        return recipe, session, {live[item.key]: item for item in items_of(connection, name)}


def opened(page, server, session, task):
    """The picture on the screen once the editor shows a task: `(height, width, 3)`."""
    page.goto(f"{server.access().url}/projects/{session.project.id}/data?task={task}")
    page.wait_for_selector("canvas", timeout=60_000)
    for _ in range(60):
        page.wait_for_timeout(500)
        screen = on_screen(page)
        if magenta(screen).any():
            return screen
    raise AssertionError("the picture is not shown")


def on_screen(page):
    clip = {
        "x": PICTURE["left"],
        "y": PICTURE["top"],
        "width": PICTURE["right"] - PICTURE["left"],
        "height": PICTURE["bottom"] - PICTURE["top"],
    }
    return numpy.asarray(Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")).astype(int)


def magenta(screen):
    return (screen[..., 0] > 200) & (screen[..., 1] < 90) & (screen[..., 2] > 200)


def submit(page):
    with page.expect_response(lambda answer: "/annotations" in answer.url and answer.status == 201):
        page.click("button:has-text('Submit')")


def committed(recipe, workspace):
    """File name -> boxes of the version that the annotations make."""
    loop.collect(recipe, workspace)
    version = loop.commit(recipe, workspace)
    task = tasks.create(version.task)
    rows = [row for split in version.counts for row in version.dataset(split)]
    return {Path(row["uri"]).stem: task.from_row(row) for row in rows}


def test_what_a_person_draws_on_a_picture_of_any_orientation_is_what_comes_back(
    workspace, server, page, tmp_path: Path
):
    drawn = thing(60.0, 40.0, 300.0, 220.0)
    for orientation in TURNS:
        painted(tmp_path / f"{orientation}.jpg", (600, 400), drawn, orientation)
    recipe, session, items = pushed("drawn-boxes", workspace, tmp_path)
    assert {(item.width, item.height) for item in items.values()} == {(600, 400)}
    for task in items:
        down, right = numpy.nonzero(magenta(opened(page, server, session, task)))
        left, far = (PICTURE["left"] + int(place) for place in (right.min(), right.max() + 1))
        top, low = (PICTURE["top"] + int(place) for place in (down.min(), down.max() + 1))
        page.keyboard.press("1")
        page.mouse.move(left, top)
        page.mouse.down()
        page.mouse.move((left + far) / 2, (top + low) / 2, steps=4)
        page.mouse.move(far, low, steps=4)
        page.mouse.up()
        page.wait_for_timeout(300)
        submit(page)

    found = committed(recipe, workspace)

    assert set(found) == {str(orientation) for orientation in TURNS}
    for boxes in found.values():
        assert [box["label"] for box in boxes] == ["thing"]
        assert box_overlaps(boxes, [drawn]).item() >= 0.99


def test_a_turned_suggestion_lies_on_its_thing_and_comes_back_as_it_was(
    workspace, server, page, tmp_path: Path
):
    suggested = {
        "wide": thing(420.5, 60.25, 260.125, 180.0, 45.0),
        "tall": thing(170.0, 150.0, 220.0, 120.0, 330.0),
    }
    painted(tmp_path / "wide.jpg", (1000, 500), suggested["wide"])
    painted(tmp_path / "tall.jpg", (500, 700), suggested["tall"])
    recipe, session, items = pushed("suggested-boxes", workspace, tmp_path)
    task = tasks.create(recipe.task)
    bare = {number: opened(page, server, session, number) for number in items}
    session.preannotate(
        items,
        lambda chunk: [
            (task.encode([{**suggested[Path(each.uri).stem], "score": 0.9}], each), 0.9) for each in chunk
        ],
        "suggested-boxes/1",
        Silent(),
    )
    for number in items:
        page.goto(f"{server.access().url}/projects/{session.project.id}/data?task={number}")
        page.wait_for_selector("canvas", timeout=60_000)
        page.wait_for_timeout(3000)
        shown = numpy.abs(on_screen(page) - bare[number]).sum(-1) > 12
        expected = magenta(bare[number])
        assert (shown & expected).sum() / (shown | expected).sum() >= 0.97
        page.screenshot(path=str(tmp_path / f"{number}.png"))
        submit(page)

    found = committed(recipe, workspace)

    assert found == {name: [box] for name, box in suggested.items()}
