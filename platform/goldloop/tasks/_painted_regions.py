"""Label Studio's painted regions: brush strokes and polygons, each of one class, as masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from goldloop.errors import AnnotationError
from goldloop.records import Item
from goldloop.tasks._classes import unknown_class
from goldloop.tasks._geometry import is_finite
from goldloop.tasks._masks import from_label_studio, polygon_mask, to_label_studio
from goldloop.tasks._regions import labels_tag, new_region, region_id, region_value

if TYPE_CHECKING:
    from goldloop.tasks._label_studio_rle import Mask

Tool = Literal["brush", "polygon"]

IMAGE = "image"
BRUSH, BRUSH_KIND = "mask", "brushlabels"
POLYGON, POLYGON_KIND = "outline", "polygonlabels"

_FEWEST_CORNERS = 3
_AGAIN = "Annotate the task again with this recipe's labelling interface"
_UPDATE = "Correct the region in Label Studio and update the annotation"


def drawing_tag(tool: Tool, classes: Sequence[str]) -> list[str]:
    """The lines of the labelling interface for one tool, each class in a colour of its own."""
    tag, name = {"brush": ("BrushLabels", BRUSH), "polygon": ("PolygonLabels", POLYGON)}[tool]
    return labels_tag(tag, name, IMAGE, classes)


def size_of(item: Item) -> tuple[int, int]:
    """Width and height of an item's upright image.

    Raises:
        AnnotationError: they are not known.
    """
    if not item.width or not item.height:
        raise AnnotationError("the size of the image is not known", where=f"item {item.key}")
    return item.width, item.height


def read_region(region: Any, item: Item, classes: Sequence[str]) -> tuple[str, Mask]:
    """The class of a brush or polygon region, and its pixels, bool `(H, W)` of the item's size.

    Raises:
        AnnotationError: another control's region, an unknown class, another image's size, no pixels.
    """
    where = f"item {item.key}, region {region_id(region)}"
    drawn = isinstance(region, Mapping) and region.get("type") == POLYGON_KIND
    name, kind = (POLYGON, POLYGON_KIND) if drawn else (BRUSH, BRUSH_KIND)
    value = region_value(region, name, IMAGE, kind, where)
    labels = value.get(kind)
    if not isinstance(labels, list | tuple) or len(labels) != 1 or not isinstance(labels[0], str):
        raise AnnotationError(
            "a region has exactly one class",
            where=where,
            found=repr(labels)[:80],
            expected=f'{{"{kind}": [CLASS]}}',
            remedy=_UPDATE,
        )
    if labels[0] not in classes:
        raise unknown_class(labels[0], classes, where)
    width, height = size_of(item)
    check_upright(region, (width, height), where)
    if drawn:
        return labels[0], polygon_mask(
            polygon_corners(value.get("points"), width, height, where), width, height
        )
    return labels[0], from_label_studio(brush_stream(value, where), width, height, where)


def brush_region(item: Item, number: int, label: str, mask: Mask) -> dict[str, Any]:
    """A mask as a brush region; see `new_region`."""
    height, width = mask.shape
    return new_region(
        item,
        number,
        BRUSH,
        IMAGE,
        BRUSH_KIND,
        {"format": "rle", "rle": to_label_studio(mask), BRUSH_KIND: [label]},
        original_width=width,
        original_height=height,
        image_rotation=0,
    )


def check_upright(region: Mapping[str, Any], size: tuple[int, int], where: str) -> None:
    """Hold the image that a region was painted on against the item's; what it does not say is taken as right.

    Raises:
        AnnotationError: an image of another size, or a turned view of it.
    """
    for field, expected in (
        ("original_width", size[0]),
        ("original_height", size[1]),
        ("image_rotation", 0),
    ):
        found = region.get(field)
        if found is not None and found != expected:
            raise AnnotationError(
                f"a region was drawn on an image of another `{field}`",
                where=where,
                found=repr(found),
                expected=f"{expected}, of the upright image",
                remedy=_AGAIN,
            )


def polygon_corners(points: Any, width: int, height: int, where: str) -> list[tuple[float, float]]:
    """A polygon's corners in pixels, from percent of the image.

    Raises:
        AnnotationError: fewer than three corners, or no numbers.
    """
    if (
        not isinstance(points, list | tuple)
        or len(points) < _FEWEST_CORNERS
        or not all(isinstance(point, list | tuple) and len(point) == 2 for point in points)
        or not all(is_finite(value) for point in points for value in point)
    ):
        raise AnnotationError(
            f"a polygon has {_FEWEST_CORNERS} corners or more",
            where=where,
            found=repr(points)[:80],
            expected='{"points": [[x, y], ...]} in percent of the image',
            remedy=_UPDATE,
        )
    return [(x * width / 100, y * height / 100) for x, y in points]


def brush_stream(value: Mapping[str, Any], where: str) -> Sequence[int]:
    """The RLE in a brush region's value.

    Raises:
        AnnotationError: there is none.
    """
    stream = value.get("rle")
    if value.get("format") != "rle" or not isinstance(stream, list | tuple):
        raise AnnotationError(
            "a brush region has no mask",
            where=where,
            found=repr(value.get("format"))[:80],
            expected='{"format": "rle", "rle": [bytes]}',
            remedy=_AGAIN,
        )
    return stream
