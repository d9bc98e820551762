"""Boxes: what the annotator drew is what the model sees."""

from __future__ import annotations

import io

import numpy
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from goldloop.errors import AnnotationError
from goldloop.records import Item
from goldloop.tasks import tasks
from goldloop.tasks._geometry import (
    box_overlaps,
    box_value,
    corners,
    degrees,
    enclosing,
    make_box,
    number,
    pixels,
    value_box,
)
from goldloop.tasks._images import decode_upright


def item_of(width=1000, height=500):
    return Item(
        key="k", modality="image", uri="u", group="g", source="0:files", media_type="image/png",
        width=width, height=height,
    )  # fmt: skip


def box_of(x, y, width, height, rotation=0.0, label="a"):
    return {"label": label, "x": x, "y": y, "width": width, "height": height, "rotation": rotation}


sides = st.integers(1, 8000)
shares = st.floats(0, 1, allow_nan=False)


@settings(deadline=None, max_examples=300)
@given(sides, sides, shares, shares, shares, shares, st.floats(-720, 720))
def test_percent_and_back_is_the_same_box_to_the_bit(width, height, x, y, wide, high, rotation):
    item = item_of(width, height)
    place = (x * width * 0.5, y * height * 0.5, max(wide * width * 0.5, 0.01), max(high * height * 0.5, 0.01))
    try:
        box = make_box("a", (*place, rotation), item, "here")
    except AnnotationError as error:
        assert rotation % 360 != 0, error  # noqa: PT017 - a turned box may have its middle outside
        return

    again = value_box("a", box_value(box, item), item, "here")

    assert again == box
    assert (
        make_box("a", [box[name] for name in ("x", "y", "width", "height", "rotation")], item, "here") == box
    )


@given(st.floats(-1e6, 1e6))
def test_canonical_numbers_stay_as_they_are(value):
    assert pixels(pixels(value)) == pixels(value)
    assert degrees(degrees(value)) == degrees(value)
    assert 0 <= degrees(value) < 360
    assert str(pixels(value)) != "-0.0"


@pytest.mark.parametrize("value", [None, True, "7", float("nan"), float("inf"), 10**400, -(10**400), [1]])
def test_what_no_coordinate_can_be_is_named(value):
    with pytest.raises(AnnotationError, match="`x` is no number"):
        number({"x": value}, "x", "here")


def test_45_degrees_on_a_wide_image_stay_a_right_angle():
    item = item_of(1000, 500)
    value = {"x": 40.0, "y": 20.0, "width": 20.0, "height": 20.0, "rotation": 45.0}

    box = value_box("a", value, item, "here")

    assert (box["width"], box["height"]) == (200, 100)
    found = corners(box)
    lengths = numpy.linalg.norm(numpy.roll(found, -1, axis=0) - found, axis=1)
    assert lengths == pytest.approx([200, 100, 200, 100])
    assert float((found[1] - found[0]) @ (found[3] - found[0])) == pytest.approx(0, abs=1e-9)
    assert found[0].tolist() == [400, 100]


def test_a_box_turned_by_90_degrees_lies_left_of_its_corner():
    found = corners(box_of(100, 50, 40, 20, 90))

    assert found == pytest.approx(numpy.array([[100, 50], [100, 90], [80, 90], [80, 50]]))
    assert enclosing(box_of(100, 50, 40, 20, 90)) == pytest.approx((80, 50, 100, 90))


def test_what_sticks_out_by_a_pixel_is_cut_off_and_more_is_refused():
    item = item_of(100, 100)

    assert make_box("a", (-0.6, 5, 50, 95.4, 0), item, "here") == box_of(0, 5, 49.4, 95)
    with pytest.raises(AnnotationError, match="sticks out of the image by 3 pixels"):
        make_box("a", (-3, 5, 50, 50, 0), item, "here")
    with pytest.raises(AnnotationError, match="nothing inside"):
        make_box("a", (3, 5, 0.0001, 50, 0), item, "here")
    with pytest.raises(AnnotationError, match="middle of a box is outside"):
        make_box("a", (99, 50, 80, 10, 10), item, "here")


@pytest.mark.parametrize("rotation", [0.0, 30.0])
def test_overlaps_are_those_of_polygons(rotation):
    ours = [box_of(10, 10, 30, 20, rotation), box_of(60, 60, 5, 5)]
    theirs = [box_of(20, 15, 30, 20), box_of(10, 10, 30, 20, rotation), box_of(200, 200, 1, 1)]

    table = box_overlaps(ours, theirs)

    for row, one in enumerate(ours):
        for column, other in enumerate(theirs):
            a, b = shapely.Polygon(corners(one)), shapely.Polygon(corners(other))
            assert table[row, column] == pytest.approx(a.intersection(b).area / a.union(b).area)
    assert box_overlaps([], theirs).shape == (0, 3)


@pytest.mark.parametrize("rotation", [0.0, 30.0])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_box_drawn_on_a_picture_of_any_orientation_is_where_the_model_sees_the_thing(orientation, rotation):
    seen = Image.new("RGB", (300, 200), "white")
    drawn = box_of(90.0, 40.0, 120.0, 60.0, rotation)
    ImageDraw.Draw(seen).polygon([tuple(point) for point in corners(drawn).tolist()], fill="red")
    # The file holds the pixels as the camera lay; viewers turn them upright by the tag.
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    stored = seen.transpose(turns[orientation]) if orientation in turns else seen
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    stored.save(buffer, format="PNG", exif=exif)
    upright = decode_upright(buffer.getvalue(), 300)
    item = item_of(*upright.size)
    task = tasks.create({"kind": "object-detection", "classes": ["a"], "rotated": True})

    (found,) = task.decode(task.encode([drawn], item), item)

    assert upright.size == (300, 200)
    red = numpy.asarray(upright)[..., 1] < 128
    mask = Image.new("L", upright.size)
    ImageDraw.Draw(mask).polygon([tuple(point) for point in corners(found).tolist()], fill=1)
    marked = numpy.asarray(mask) > 0
    assert (red & marked).sum() / (red | marked).sum() >= 0.99
