"""Objects with outlines or masks, from JSON and from Label Studio's polygons and brush strokes, and back.

A polygon is kept corner by corner, a brush region pixel by pixel, as one object however many parts and holes
it has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from goldloop.errors import AnnotationError
from goldloop.records import Item
from goldloop.tasks._geometry import (
    check_frame,
    from_percent,
    image_region_fields,
    number,
    pixels,
    size_of,
    to_percent,
)
from goldloop.tasks._instance_masks import Instance, mask_of
from goldloop.tasks._masks import from_counts, from_label_studio, to_counts
from goldloop.tasks._painted_regions import (
    BRUSH,
    BRUSH_KIND,
    IMAGE,
    POLYGON,
    POLYGON_KIND,
    brush_region,
    brush_stream,
    check_upright,
    polygon_corners,
)
from goldloop.tasks._regions import new_region, region_id, region_value

if TYPE_CHECKING:
    from goldloop.tasks._label_studio_rle import Mask

_FEWEST_CORNERS = 3
_MOST_OUTSIDE = 1.0
_UPDATE = "Correct the region in Label Studio and update the annotation"


def parse_instance(entry: Any, item: Item, known_class: Callable[[Any, str], str], where: str) -> Instance:
    """An object in canonical form.

    Raises:
        AnnotationError: it has no class of the task, or not either a polygon or a mask within the image.
    """
    if not isinstance(entry, Mapping) or ("polygon" in entry) == ("counts" in entry):
        raise AnnotationError(
            "an object has a class, and a polygon or a mask",
            where=where,
            found=repr(entry)[:80],
            expected='{"label": CLASS, "polygon": [[x, y], ...]} or {"label": CLASS, "counts": RLE}',
        )
    label = known_class(entry.get("label"), where)
    if "counts" in entry:
        return _painted(label, from_counts(entry["counts"], *size_of(item), where), where)
    points = entry["polygon"]
    if not isinstance(points, list | tuple) or not all(
        isinstance(point, list | tuple) and len(point) == 2 for point in points
    ):
        raise AnnotationError(
            "a polygon is a list of corners", where=where, found=repr(points)[:80], expected="[[x, y], ...]"
        )
    corners = [[pixels(number({"x": x, "y": y}, name, where)) for name in ("x", "y")] for x, y in points]
    return _outlined(label, corners, item, where)


def decode_instance(region: Any, item: Item, only_class: Callable[[Any, str], str]) -> Instance:
    """The object of a polygon or brush region.

    Raises:
        AnnotationError: another control's region, no class of the task, another image's, nothing inside.
    """
    where = f"item {item.key}, region {region_id(region)}"
    width, height = size_of(item)
    if isinstance(region, Mapping) and region.get("type") == POLYGON_KIND:
        value = region_value(region, POLYGON, IMAGE, POLYGON_KIND, where)
        check_frame(region, item, where)
        label = only_class(value.get(POLYGON_KIND), where)
        points = value.get("points")
        # The form is checked there; the numbers become canonical here, from the very percents.
        polygon_corners(points, width, height, where)
        corners = [list(from_percent(x, y, item)) for x, y in points or ()]
        return _outlined(label, corners, item, where)
    value = region_value(region, BRUSH, IMAGE, BRUSH_KIND, where)
    check_upright(region, (width, height), where)
    label = only_class(value.get(BRUSH_KIND), where)
    return _painted(label, from_label_studio(brush_stream(value, where), width, height, where), where)


def encode_instance(instance: Instance, place: int, item: Item) -> dict[str, Any]:
    """An object as a region, the one at this place in the result."""
    label = instance["label"]
    if "polygon" in instance:
        points = [list(to_percent(x, y, item)) for x, y in instance["polygon"]]
        value = {"points": points, "closed": True, POLYGON_KIND: [label]}
        fields = image_region_fields(item)
        region = new_region(item, place, POLYGON, IMAGE, POLYGON_KIND, value, **fields)
    else:
        region = brush_region(item, place, label, mask_of(instance, *size_of(item)))
    return {**region, "score": instance["score"]} if "score" in instance else region


def _painted(label: str, mask: Mask, where: str) -> Instance:
    if not mask.any():
        raise AnnotationError(
            "an object without a pixel", where=where, remedy="Delete the region in Label Studio"
        )
    return {"label": label, "counts": to_counts(mask)}


def _outlined(label: str, corners: Sequence[Sequence[float]], item: Item, where: str) -> Instance:
    """An object by its polygon; corners out of the image by up to a pixel are moved to its edge."""
    width, height = size_of(item)
    inside = [[min(max(x, 0.0), float(width)), min(max(y, 0.0), float(height))] for x, y in corners]
    for (x, y), (near_x, near_y) in zip(corners, inside, strict=True):
        if max(abs(x - near_x), abs(y - near_y)) > _MOST_OUTSIDE:
            raise AnnotationError(
                "a corner of a polygon is outside the image",
                where=where,
                found=f"{x:g}, {y:g}",
                expected=f"{width} x {height} pixels",
                remedy=_UPDATE,
            )
    spans = [max(values) - min(values) for values in zip(*inside, strict=True)]
    if len(inside) < _FEWEST_CORNERS or min(spans) <= 0:
        raise AnnotationError(
            "there is nothing inside a polygon",
            where=where,
            found=repr(inside)[:80],
            expected="three corners or more around something",
            remedy=_UPDATE,
        )
    return {"label": label, "polygon": inside}
