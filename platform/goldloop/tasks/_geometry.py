"""Boxes and points in pixels of the upright image, and in the percent that Label Studio speaks.

A box has its corner at (x, y) and is turned clockwise about it by `rotation` degrees, in pixels: 45 degrees
on an image of 1000 x 500 stays a right-angled box. Coordinates are kept to a thousandth of a pixel, so that
percent and back gives the same number.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, TypeGuard

from goldloop.errors import AnnotationError
from goldloop.records import Item

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

_DIGITS = 3
_ANGLE_DIGITS = 6
_MOST_OUTSIDE = 1.0
"""Pixels by which a box may stick out of its image; an editor's rounding does no worse."""

_AGAIN = "Annotate the task again with this recipe's labelling interface"
_UPDATE = "Correct the region in Label Studio and update the annotation"


class Box(TypedDict):
    """One object: its class and where it is.

    `x`, `y`, `width`, `height` in pixels; `rotation` in degrees, clockwise about (x, y), in [0, 360);
    `score`, of predictions only, in [0, 1].
    """

    label: str
    x: float
    y: float
    width: float
    height: float
    rotation: float
    score: NotRequired[float]


def pixels(value: float) -> float:
    """A coordinate in its canonical form."""
    return round(float(value), _DIGITS) + 0.0


def degrees(value: float) -> float:
    """An angle in its canonical form, in [0, 360)."""
    return round(float(value) % 360, _ANGLE_DIGITS) % 360 + 0.0


def size_of(item: Item) -> tuple[int, int]:
    """Width and height of an item's upright image, in pixels.

    Raises:
        AnnotationError: they are not known.
    """
    if not item.width or not item.height:
        raise AnnotationError("the size of the image is not known", where=f"item {item.key}")
    return item.width, item.height


def image_region_fields(item: Item) -> dict[str, Any]:
    """The fields that Label Studio's regions on images have beside their value."""
    width, height = size_of(item)
    return {"original_width": width, "original_height": height, "image_rotation": 0}


def check_frame(region: Mapping[str, Any], item: Item, where: str) -> None:
    """Hold the image that a region was drawn on against the item's; what it does not say is taken as right.

    `image_rotation` says how the annotator had turned the view. The editor turns the stage, not the regions:
    coordinates, angles and both sides are those of the upright image whatever it says.

    Raises:
        AnnotationError: an image of another size.
    """
    width, height = size_of(item)
    for field, expected in (("original_width", width), ("original_height", height)):
        found = region.get(field)
        if found is not None and found != expected:
            raise AnnotationError(
                f"a region was drawn on an image of another `{field}`",
                where=where,
                found=repr(found),
                expected=f"{expected}, of the upright image",
                remedy=_AGAIN,
            )


def is_finite(value: Any) -> TypeGuard[int | float]:
    """Whether a value is a number that a float can be."""
    # JSON has integers that no float can be, which `math.isfinite` does not bear.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max


def number(value: Mapping[str, Any], name: str, where: str) -> float:
    """A finite number of a value.

    Raises:
        AnnotationError: it is something else.
    """
    found = value.get(name)
    if not is_finite(found):
        raise AnnotationError(f"`{name}` is no number", where=where, found=repr(found)[:80], remedy=_AGAIN)
    return float(found)


def to_percent(x: float, y: float, item: Item) -> tuple[float, float]:
    """A point in percent of the image's sides."""
    width, height = size_of(item)
    return x / width * 100, y / height * 100


def from_percent(x: float, y: float, item: Item) -> tuple[float, float]:
    """A point in pixels, in canonical form: `from_percent(*to_percent(x, y)) == (x, y)`."""
    width, height = size_of(item)
    return pixels(x * width / 100), pixels(y * height / 100)


def box_value(box: Box, item: Item) -> dict[str, float]:
    """Where a box is, as Label Studio's value says it."""
    x, y = to_percent(box["x"], box["y"], item)
    width, height = to_percent(box["width"], box["height"], item)
    return {"x": x, "y": y, "width": width, "height": height, "rotation": box["rotation"]}


def value_box(label: str, value: Mapping[str, Any], item: Item, where: str) -> Box:
    """The box that Label Studio's value says.

    Raises:
        AnnotationError: no numbers, nothing inside, or outside the image.
    """
    x, y = from_percent(number(value, "x", where), number(value, "y", where), item)
    width, height = from_percent(number(value, "width", where), number(value, "height", where), item)
    rotation = number({"rotation": 0, **value}, "rotation", where)
    return make_box(label, (x, y, width, height, rotation), item, where)


def make_box(label: str, place: Sequence[float], item: Item, where: str) -> Box:
    """A box in canonical form.

    One that is not turned and sticks out of the image by up to a pixel is cut off at the edge; a turned one
    may stick out, its middle may not.

    Args:
        label: its class.
        place: x, y, width and height in pixels, rotation in degrees.
        item: whose image.
        where: names the region in errors.

    Raises:
        AnnotationError: nothing inside, or outside the image.
    """
    wide, high = size_of(item)
    x, y, width, height = (pixels(value) for value in place[:4])
    box: Box = {
        "label": label, "x": x, "y": y, "width": width, "height": height, "rotation": degrees(place[4]),
    }  # fmt: skip
    if width <= 0 or height <= 0:
        raise _misplaced("there is nothing inside a box", box, where, "a width and a height above 0")
    if box["rotation"]:
        middle_x, middle_y = corners(box).mean(axis=0).tolist()
        if not (0 <= middle_x <= wide and 0 <= middle_y <= high):
            raise _misplaced(
                "the middle of a box is outside the image", box, where, f"{wide} x {high} pixels"
            )
        return box
    outside = max(-x, -y, x + width - wide, y + height - high)
    if outside > _MOST_OUTSIDE:
        raise _misplaced(
            f"a box sticks out of the image by {outside:g} pixels", box, where, f"{wide} x {high} pixels"
        )
    if outside > 0:
        left, top = max(x, 0.0), max(y, 0.0)
        box["x"], box["width"] = left, pixels(min(x + width, wide) - left)
        box["y"], box["height"] = top, pixels(min(y + height, high) - top)
        if box["width"] <= 0 or box["height"] <= 0:
            raise _misplaced("a box is outside the image", box, where, f"{wide} x {high} pixels")
    return box


def _misplaced(problem: str, box: Box, where: str, expected: str) -> AnnotationError:
    shown = ", ".join(f"{name} {box[name]:g}" for name in ("x", "y", "width", "height", "rotation"))
    return AnnotationError(problem, where=where, found=shown, expected=expected, remedy=_UPDATE)


def corners(box: Box) -> NDArray[numpy.float64]:
    """The four corners in pixels, `(4, 2)`, clockwise from (x, y)."""
    import numpy

    angle = math.radians(box["rotation"])
    right = numpy.array([math.cos(angle), math.sin(angle)]) * box["width"]
    down = numpy.array([-math.sin(angle), math.cos(angle)]) * box["height"]
    start = numpy.array([box["x"], box["y"]])
    return numpy.stack([start, start + right, start + right + down, start + down])


def enclosing(box: Box) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the upright box around a box, in pixels."""
    if not box["rotation"]:
        return box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]
    found = corners(box)
    (left, top), (right, bottom) = found.min(axis=0).tolist(), found.max(axis=0).tolist()
    return left, top, right, bottom


def box_overlaps(ours: Sequence[Box], theirs: Sequence[Box]) -> NDArray[numpy.float64]:
    """Intersection over union of each of ours with each of theirs, `(N, M)` in [0, 1], turned or not."""
    import numpy

    if not ours or not theirs:
        return numpy.zeros((len(ours), len(theirs)))
    if any(box["rotation"] for box in (*ours, *theirs)):
        return _turned_overlaps(ours, theirs)
    one, other = (numpy.array([enclosing(box) for box in boxes]) for boxes in (ours, theirs))
    start = numpy.maximum(one[:, None, :2], other[None, :, :2])
    end = numpy.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = (end - start).clip(min=0).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (one, other)]
    overlaps: NDArray[numpy.float64] = shared / (areas[0][:, None] + areas[1][None, :] - shared)
    return overlaps


def _turned_overlaps(ours: Sequence[Box], theirs: Sequence[Box]) -> NDArray[numpy.float64]:
    import shapely

    one, other = (shapely.polygons([corners(box) for box in boxes]) for boxes in (ours, theirs))
    shared = shapely.area(shapely.intersection(one[:, None], other[None, :]))
    union = shapely.area(one)[:, None] + shapely.area(other)[None, :] - shared
    overlaps: NDArray[numpy.float64] = (shared / union).clip(0, 1)
    return overlaps
