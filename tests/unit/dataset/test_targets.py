"""What is wrong with a label for its own item is found in the bytes of both."""

from __future__ import annotations

import io
from typing import Any

import numpy
import pytest
from PIL import Image

from goldloop.dataset.targets import judge
from goldloop.tasks import tasks
from goldloop.tasks._masks import to_counts

WIDTH, HEIGHT = 60, 40
KEY = "k" * 64


def png(width: int = WIDTH, height: int = HEIGHT) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, format="PNG")
    return buffer.getvalue()


def sideways() -> bytes:
    """A file of 40 x 60 pixels that a person sees as 60 x 40."""
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (HEIGHT, WIDTH)).save(buffer, format="JPEG", exif=exif)
    return buffer.getvalue()


def box(**changes: float) -> dict[str, Any]:
    return {"label": 0, "x": 5.0, "y": 5.0, "width": 20.0, "height": 10.0, "rotation": 0.0, **changes}


def mask(width: int = WIDTH, height: int = HEIGHT) -> str:
    pixels = numpy.zeros((height, width), dtype=numpy.bool_)
    pixels[2:9, 3:7] = True
    return to_counts(pixels)


SIZE = {"width": WIDTH, "height": HEIGHT}
DETECTION = {"kind": "object-detection", "classes": ["a", "b"], "rotated": True}
POINTS = {"kind": "keypoints", "classes": ["a", "b"], "keypoints": ["nose"]}
INSTANCES = {"kind": "instance-segmentation", "classes": ["a", "b"]}
MAPS = {"kind": "semantic-segmentation", "classes": ["a", "b"]}


def point(x: float, y: float) -> dict[str, Any]:
    place = {name: value for name, value in box().items() if name != "rotation"}
    return {"poses": [{**place, "points": [{"name": "nose", "x": x, "y": y, "visibility": 2}]}]}


def outline(*corners: list[float]) -> dict[str, Any]:
    return {**SIZE, "objects": [{"label": 0, "polygon": list(corners), "counts": ""}]}


FITTING = [
    (DETECTION, {"boxes": [box()]}),
    (DETECTION, {"boxes": [box(x=0.0, y=0.0, width=60.0, height=40.0)]}),
    # A mean of several people's boxes is rounded after it was cut off at the edge.
    (DETECTION, {"boxes": [box(x=40.001, width=20.0)]}),
    (DETECTION, {"boxes": [box(x=50.0, y=0.0, width=20.0, height=10.0, rotation=45.0)]}),
    (POINTS, point(60.0, 40.0)),
    (INSTANCES, outline([0, 0], [60, 0], [60, 40])),
    (INSTANCES, {**SIZE, "objects": [{"label": 0, "polygon": [], "counts": mask()}]}),
    (MAPS, {**SIZE, "masks": [{"label": 1, "counts": mask()}]}),
]
OUTSIDE = [
    (DETECTION, {"boxes": [box(), box(x=48.0)]}, "box 1: a box sticks out of the image by 8 pixels"),
    (DETECTION, {"boxes": [box(x=-30.0)]}, "box 0: a box sticks out of the image by 30 pixels"),
    (DETECTION, {"boxes": [box(x=58.0, y=36.0, rotation=10.0)]}, "the middle of a box is outside"),
    (POINTS, point(70.0, 5.0), "a point is outside the image"),
    (INSTANCES, outline([0, 0], [62, 0], [60, 40]), "object 0: a corner of a polygon is outside"),
    (INSTANCES, {**outline([0, 0], [9, 0], [9, 9]), "width": 61}, "an image of another size"),
    (
        INSTANCES,
        {**SIZE, "objects": [{"label": 0, "polygon": [], "counts": mask(WIDTH + 1)}]},
        "a mask has another size than its image",
    ),
    (MAPS, {"width": 61, "height": 40, "masks": []}, "masks of another size than the image"),
    (MAPS, {**SIZE, "masks": [{"label": 1, "counts": mask(WIDTH, HEIGHT - 1)}]}, "has another size"),
]


@pytest.mark.parametrize(("config", "target"), FITTING)
@pytest.mark.parametrize("content", [png(), sideways()], ids=["upright", "turned"])
def test_places_inside_the_image_as_people_see_it_fit(config, target, content):
    judged = judge(tasks.create(config), KEY, content, target)
    assert judged.meaningless is None
    assert judged.misfit is None


@pytest.mark.parametrize(("config", "target", "problem"), OUTSIDE)
def test_a_place_outside_is_named_with_its_item(config, target, problem):
    judged = judge(tasks.create(config), KEY, png(), target)
    assert judged.meaningless is None
    assert judged.misfit is not None
    assert problem in judged.misfit
    assert f"item {KEY}" in judged.misfit


TEXT = "\N{GRINNING FACE} Ada met\r\nBoris"


@pytest.mark.parametrize(
    ("start", "end", "fits"), [(2, 5, True), (3, 6, False), (1, 4, False), (2, 6, False)]
)
def test_a_span_that_is_off_by_one_is_named(start, end, fits):
    task = tasks.create({"kind": "token-classification", "classes": ["person"]})
    target = {"spans": [{"label": 0, "start": start, "end": end, "text": "Ada"}]}
    judged = judge(task, KEY, TEXT, target)
    assert judged.meaningless is None
    assert (judged.misfit is None) == fits
    if not fits:
        assert judged.misfit is not None
        assert f"item {KEY}, span 0: a span's quote is not what stands there" in judged.misfit


def test_an_unknown_class_means_nothing():
    judged = judge(tasks.create(DETECTION), KEY, png(), {"boxes": [box(label=2)]})
    assert judged.meaningless is not None
    assert "unknown class id" in judged.meaningless


def test_an_image_that_cannot_be_opened_has_no_places():
    judged = judge(tasks.create(DETECTION), KEY, b"no image", {"boxes": []})
    assert judged.misfit is not None
    assert "cannot be decoded" in judged.misfit
