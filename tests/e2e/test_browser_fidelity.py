"""What people draw in Label Studio's own editor is what a model sees, however the camera was held.

The pictures show a red shape. A person who traces it on the screen must end up with the red pixels of the
image as goldloop decodes it for a network; and what goldloop puts into Label Studio must lie on the red of
the screen, and come back unchanged when it is submitted as it is.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from goldloop import loop, wiring
from goldloop.catalog.content import items_of
from goldloop.catalog.server_side import annotations_of, tasks_of
from goldloop.progress import Silent
from goldloop.recipe import Recipe, parse
from goldloop.records import Item
from goldloop.tasks import tasks
from goldloop.tasks._geometry import corners, enclosing
from goldloop.tasks._images import decode_upright
from goldloop.tasks._masks import from_counts, polygon_mask, to_counts

pytestmark = pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on this machine")

WIDTH, HEIGHT = 768, 512
RED, BLUE, GREY = (225, 20, 30), (20, 30, 200), (220, 220, 210)
BOX = (108, 84, 468, 348)
OUTLINE = ((120, 90), (520, 130), (470, 390), (300, 250), (90, 400))
POINTS = {"nose": (180, 150), "tail": (400, 300)}
OBJECTS = {"kind": "instance-segmentation", "classes": ["red", "blue"]}
EVERY, SOME = range(1, 9), (1, 6, 8)
_ORIENTATION = 0x0112
# What undoes the turn that a reader makes for each orientation.
_UNDO = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}  # fmt: skip
_TWO_PIXELS = 2.0


def _taken(orientation: int, shape: Callable[[ImageDraw.ImageDraw], object]) -> bytes:
    """A photograph as a camera held that way stores it; the blue strip makes each another one."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), GREY)
    draw = ImageDraw.Draw(picture)
    shape(draw)
    draw.rectangle((50, HEIGHT - 50, 80 + 12 * orientation, HEIGHT - 40), fill=BLUE)
    if orientation in _UNDO:
        picture = picture.transpose(_UNDO[orientation])
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", exif=exif, quality=95, subsampling=0)
    return buffer.getvalue()


def _red(pixels: np.ndarray) -> np.ndarray:
    """Where a picture is red, bool `(H, W)`."""
    away = np.abs(pixels[:, :, :3].astype(int) - RED).max(axis=2)
    return away < 60


def _strip(pixels: np.ndarray) -> bool:
    """Whether a picture's blue strip is there."""
    return bool(np.abs(pixels[-48:-44, 55:70].astype(int) - BLUE).max() < 60)


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


class Editor:
    """The editor with the tasks of one recipe, used as a person does: by mouse and keyboard."""

    def __init__(self, page: Any, url: str, workspace: Any, recipe: Recipe) -> None:
        self.page = page
        self.recipe = recipe
        self.task = tasks.create(recipe.task)
        self._url = url
        self._workspace = workspace
        loop.pull(recipe, workspace)
        loop.push(recipe, workspace)
        self.session = wiring.session(recipe, workspace)
        with workspace.engine.connect() as connection:
            live = tasks_of(connection, self.session.place)
            self.items = {live[item.key]: item for item in items_of(connection, recipe.name)}

    def suggest(self, target: Any) -> None:
        """Pre-annotate every task with one answer."""

        def answers(chunk: Sequence[Item]) -> list[tuple[Any, float]]:
            return [(self.task.encode(self.task.parse(target, item), item), 0.9) for item in chunk]

        self.session.preannotate(self.items, answers, f"{self.recipe.name}/1", Silent())

    def open(self, task: int) -> None:
        """Open a task, and wait until its picture is there."""
        self.page.goto(f"{self._url}/projects/{self.session.project.id}/data?task={task}")
        self.page.wait_for_selector(".konvajs-content canvas", timeout=60_000)
        # Panels that come in late move the picture.
        places: list[dict[str, float]] = []
        for _ in range(60):
            places = [*places[-3:], self._place()]
            if len(places) == 4 and places.count(places[0]) == 4 and _strip(self.shown()):
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"the picture of task {task} does not come to rest")

    def _place(self) -> dict[str, float]:
        """Where the picture is on the screen: x, y, width, height. Its rim is cut off."""
        place: dict[str, float] = self.page.locator("img[src^='blob:']").bounding_box()
        return place

    def shown(self) -> np.ndarray:
        """What the screen shows for each pixel of the picture, `(HEIGHT, WIDTH, 3)`."""
        screen = np.asarray(Image.open(io.BytesIO(self.page.screenshot())).convert("RGB"))
        place = self._place()
        columns = place["x"] + (np.arange(WIDTH) + 0.5) * place["width"] / WIDTH
        rows = place["y"] + (np.arange(HEIGHT) + 0.5) * place["height"] / HEIGHT
        return screen[np.ix_(rows.astype(int), columns.astype(int))]

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The place on the screen of a place on the picture."""
        place = self._place()
        return place["x"] + x * place["width"] / WIDTH, place["y"] + y * place["height"] / HEIGHT

    def choose(self, label: str, nth: int = 0) -> None:
        """Take a label, and with it its tool."""
        self.page.locator(".lsf-label", has_text=label).nth(nth).click()

    def drag(self, *points: tuple[float, float]) -> None:
        """Draw with the mouse held down."""
        mouse = self.page.mouse
        mouse.move(*self.at(*points[0]))
        mouse.down()
        for point in points[1:]:
            mouse.move(*self.at(*point), steps=12)
        mouse.up()

    def click(self, point: tuple[float, float]) -> None:
        """Click on the picture."""
        self.page.mouse.move(*self.at(*point), steps=8)
        self.page.wait_for_timeout(80)
        self.page.mouse.click(*self.at(*point), delay=40)
        self.page.wait_for_timeout(80)

    def submit(self) -> None:
        """Hand in what is there."""
        with self.page.expect_response(
            lambda response: "/annotations" in response.url and response.request.method == "POST"
        ) as answered:
            self.page.locator("button[aria-label='Submit current annotation']").click()
        assert answered.value.ok

    def collected(self) -> dict[int, Any]:
        """Task -> the target that people's answer means."""
        loop.collect(self.recipe, self._workspace)
        with self._workspace.engine.connect() as connection:
            found = list(annotations_of(connection, self.recipe.name))
        return {each.task_id: self.task.decode(each.results, self.items[each.task_id]) for each in found}

    def seen(self, task: int) -> np.ndarray:
        """The image as goldloop decodes it for a network, `(H, W, 3)`."""
        content = Path(self.items[task].uri).read_bytes()
        return np.asarray(decode_upright(content, max(WIDTH, HEIGHT)))


@pytest.fixture
def editor(page, server, workspace, tmp_path):
    """Makes an editor: name, task section, orientations, and what is painted red."""

    def make(
        name: str, task: dict[str, Any], orientations: Sequence[int], shape: Callable[..., object]
    ) -> Editor:
        folder = tmp_path / "images"
        folder.mkdir()
        for orientation in orientations:
            (folder / f"{orientation}.jpg").write_bytes(_taken(orientation, shape))
        recipe = parse({"name": name, "sources": [{"kind": "files", "url": str(folder)}], "task": task})
        made = Editor(page, server.access().url, workspace, recipe)
        assert len(made.items) == len(orientations)
        return made

    return make


def _rectangle(draw: ImageDraw.ImageDraw) -> None:
    draw.rectangle((BOX[0], BOX[1], BOX[2] - 1, BOX[3] - 1), fill=RED)


def _polygon(draw: ImageDraw.ImageDraw) -> None:
    draw.bitmap((0, 0), Image.fromarray(polygon_mask(OUTLINE, WIDTH, HEIGHT)), fill=RED)


def _bounds(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _corners_of(left: float, top: float, right: float, bottom: float) -> list[tuple[float, float]]:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def test_a_box_that_is_drawn_around_a_thing_is_around_its_pixels(editor):
    task = {"kind": "object-detection", "classes": ["red", "blue"]}
    drawn = editor("drawn-boxes", task, EVERY, _rectangle)
    for number in drawn.items:
        drawn.open(number)
        left, top, right, bottom = _bounds(_red(drawn.shown()))
        drawn.choose("red")
        drawn.drag((left, top), (right, bottom))
        drawn.submit()
    found = drawn.collected()
    assert len(found) == 8
    for number, boxes in found.items():
        (box,) = boxes
        assert box["label"] == "red"
        outline = polygon_mask(_corners_of(*enclosing(box)), WIDTH, HEIGHT)
        assert _overlap(outline, _red(drawn.seen(number))) >= 0.99


def test_a_polygon_that_is_clicked_around_a_thing_is_around_its_pixels(editor):
    drawn = editor("drawn-polygons", OBJECTS, SOME, _polygon)
    for number in drawn.items:
        drawn.open(number)
        drawn.choose("red")
        for point in (*OUTLINE, OUTLINE[0]):
            drawn.click(point)
        drawn.submit()
    found = drawn.collected()
    assert len(found) == len(SOME)
    for number, target in found.items():
        (region,) = target["objects"]
        assert len(region["polygon"]) == len(OUTLINE)
        outline = polygon_mask(region["polygon"], WIDTH, HEIGHT)
        assert _overlap(outline, _red(drawn.seen(number))) >= 0.99


def test_what_the_brush_paints_is_what_the_mask_has(editor):
    drawn = editor("drawn-strokes", OBJECTS, SOME, _rectangle)
    painted = {}
    for number in drawn.items:
        drawn.open(number)
        before = drawn.shown().astype(int)
        drawn.choose("blue", 1)
        for _ in range(12):
            drawn.page.keyboard.press("]")
        drawn.drag((200, 170), (380, 250), (220, 260))
        drawn.page.mouse.move(5, 5)
        drawn.page.wait_for_timeout(300)
        painted[number] = _red(before) & (np.abs(drawn.shown() - before).max(axis=2) > 6)
        drawn.submit()
    found = drawn.collected()
    assert len(found) == len(SOME)
    for number, target in found.items():
        (region,) = target["objects"]
        assert region["label"] == "blue"
        mask = from_counts(region["counts"], WIDTH, HEIGHT)
        assert _overlap(mask, painted[number]) >= 0.99


def test_points_that_are_clicked_are_where_the_things_are(editor):
    task = {"kind": "keypoints", "classes": ["red"], "keypoints": list(POINTS)}

    def dots(draw: ImageDraw.ImageDraw) -> None:
        for x, y in POINTS.values():
            draw.rectangle((x - 40, y - 40, x + 39, y + 39), fill=RED)

    drawn = editor("drawn-points", task, SOME, dots)
    for number in drawn.items:
        drawn.open(number)
        for name, point in POINTS.items():
            drawn.choose(name)
            drawn.click(point)
            drawn.page.keyboard.press("Escape")
        drawn.choose("red")
        drawn.drag((100, 60), (500, 400))
        drawn.submit()
    found = drawn.collected()
    assert len(found) == len(SOME)
    for number, poses in found.items():
        (pose,) = poses
        assert [point["name"] for point in pose["points"]] == list(POINTS)
        red = _red(drawn.seen(number))
        for point in pose["points"]:
            x, y = round(point["x"]), round(point["y"])
            around = red[y - 50 : y + 50, x - 50 : x + 50]
            assert _bounds(around) == pytest.approx((10, 10, 90, 90), abs=_TWO_PIXELS)


TURNED = {"label": "blue", "x": 300.5, "y": 100.25, "width": 240.0, "height": 120.0, "rotation": 30.0}
SIZE = {"width": WIDTH, "height": HEIGHT}


def _hole() -> np.ndarray:
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    away = (rows - 240) ** 2 + (columns - 300) ** 2
    return (away < 150**2) & (away > 60**2)


def _ring(draw: ImageDraw.ImageDraw) -> None:
    draw.bitmap((0, 0), Image.fromarray(_hole()), fill=RED)


def _turned(draw: ImageDraw.ImageDraw) -> None:
    draw.bitmap((0, 0), Image.fromarray(polygon_mask(corners(TURNED), WIDTH, HEIGHT)), fill=RED)


def _pose() -> dict[str, Any]:
    left, top, right, bottom = map(float, BOX)
    points = [
        {"name": name, "x": float(x), "y": float(y), "visibility": visibility}
        for (name, (x, y)), visibility in zip(POINTS.items(), (2, 1), strict=True)
    ]
    return {
        "label": "blue",
        "x": left,
        "y": top,
        "width": right - left,
        "height": bottom - top,
        "points": points,
    }


SUGGESTED = {
    "turned-boxes": (
        {"kind": "object-detection", "classes": ["red", "blue"], "rotated": True}, [TURNED], _turned,
    ),
    "polygons": (OBJECTS, {**SIZE, "objects": [{"label": "blue", "polygon": OUTLINE}]}, _polygon),
    "masks": (OBJECTS, {**SIZE, "objects": [{"label": "blue", "counts": to_counts(_hole())}]}, _ring),
    "classes-of-pixels": (
        {"kind": "semantic-segmentation", "classes": ["red", "blue"]},
        {**SIZE, "masks": [{"label": "blue", "counts": to_counts(_hole())}]},
        _ring,
    ),
    "poses": (
        {"kind": "keypoints", "classes": ["red", "blue"], "keypoints": list(POINTS)}, [_pose()], _rectangle,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SUGGESTED)
def test_what_is_suggested_lies_on_the_thing_and_comes_back_unchanged(editor, tmp_path, name):
    task, target, shape = SUGGESTED[name]
    suggested = editor(f"suggested-{name}", task, SOME, shape)
    suggested.suggest(target)
    for number in suggested.items:
        suggested.open(number)
        shown, picture = suggested.shown(), suggested.seen(number)
        thing = _red(picture)
        left, top, right, bottom = _bounds(thing)
        # The editor's tools lie over the picture's right rim.
        around = np.s_[top - 20 : bottom + 20, left - 20 : right + 20]
        covered = np.abs(shown.astype(int) - picture).max(axis=2) > 40
        Image.fromarray(shown).save(tmp_path / f"shown-{number}.png")
        assert _overlap(covered[around], thing[around]) >= 0.97
        suggested.submit()
    found = suggested.collected()
    assert len(found) == len(SOME)
    for number, item in suggested.items.items():
        assert found[number] == suggested.task.parse(target, item)
