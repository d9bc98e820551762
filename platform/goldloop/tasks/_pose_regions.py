"""Poses from JSON and from Label Studio's regions, and back.

An object is a rectangle, each of its points a keypoint.
A point belongs to the box that the annotator has grouped it with, which is its `parentID`; without one, to
the smallest box around it. Whether something hides it is a choice of its region: a result of the same `id`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from goldloop.errors import AnnotationError
from goldloop.records import Item
from goldloop.tasks._geometry import (
    Box,
    box_value,
    check_frame,
    from_percent,
    image_region_fields,
    make_box,
    number,
    pixels,
    size_of,
    to_percent,
    value_box,
)
from goldloop.tasks._poses import OCCLUDED, PLACE, VISIBLE, Point, Pose, box_of
from goldloop.tasks._regions import labels_tag, new_region, region_id, region_value

IMAGE = "image"
_BOX, _BOX_KIND = "box", "rectanglelabels"
_POINT, _POINT_KIND = "point", "keypointlabels"
_HIDDEN, _HIDDEN_KIND, _HIDDEN_VALUE = "visibility", "choices", "occluded"

_SHOWN_WIDTH = 0.6
"""Of a point in the editor, in percent of the image's width; it has no meaning."""
_MOST_OUTSIDE = 1.0
_GROUP = "Drag the point onto its box in the list of regions, and update the annotation"
_UPDATE = "Correct the region in Label Studio and update the annotation"


@dataclass(slots=True)
class _Placed:
    """A box with the points that are known to be its own, and how an error names it."""

    box: Box
    where: str
    points: list[Point] = field(default_factory=list)


def pose_tags(classes: Sequence[str], names: Sequence[str]) -> list[str]:
    """The lines of the labelling interface."""
    return [
        f'  <Image name="{IMAGE}" value="$image" zoom="true" zoomControl="true"/>',
        *labels_tag("RectangleLabels", _BOX, IMAGE, classes, {"canRotate": "false"}),
        *labels_tag("KeyPointLabels", _POINT, IMAGE, names),
        f'  <Choices name="{_HIDDEN}" toName="{IMAGE}" choice="multiple" showInLine="true" perRegion="true"'
        # Only a point can be occluded, so there is nothing to choose where a box is selected.
        f' visibleWhen="region-selected" whenTagName="{_POINT}">',
        f'    <Choice value="{_HIDDEN_VALUE}"/>',
        "  </Choices>",
    ]


def parse_pose(
    entry: Mapping[str, Any],
    item: Item,
    known_class: Callable[[Any, str], str],
    names_of: Callable[[str], Sequence[str]],
    where: str,
) -> Pose:
    """A pose of a source's own; its points in any order.

    Raises:
        AnnotationError: it has no class of the task, a box or point outside the image, or a strange point.
    """
    place = [number(entry, name, where) for name in PLACE]
    box = make_box(known_class(entry.get("label"), where), [*place, 0.0], item, where)
    given = entry.get("points")
    if not isinstance(given, list | tuple) or not all(isinstance(point, Mapping) for point in given):
        raise AnnotationError(
            "points are given as a list",
            where=where,
            found=repr(given)[:80],
            expected="[{name, x, y, visibility}]",
        )
    points: list[Point] = []
    for point in given:
        name, visibility = point.get("name"), point.get("visibility", VISIBLE)
        _check_name(name, names_of(box["label"]), box["label"], where)
        if visibility not in (OCCLUDED, VISIBLE) or any(other["name"] == name for other in points):
            raise AnnotationError(
                f"point {name!r} is there twice, or neither visible nor occluded",
                where=where,
                found=repr(dict(point))[:80],
                expected=f"each once, visibility {OCCLUDED} if occluded and {VISIBLE} if visible",
            )
        x, y = (pixels(number(point, axis, f"{where}, point {name!r}")) for axis in ("x", "y"))
        points.append(_made_point(str(name), x, y, int(visibility), item, where))
    return _posed(_Placed(box, where, points))


def encode_poses(poses: Sequence[Pose], item: Item) -> list[dict[str, Any]]:
    """Poses as regions, each point grouped with its box."""
    regions: list[dict[str, Any]] = []
    frame = image_region_fields(item)
    for pose in poses:
        value: dict[str, Any] = {**box_value(box_of(pose), item), _BOX_KIND: [pose["label"]]}
        score = {"score": pose["score"]} if "score" in pose else {}
        box = new_region(item, len(regions), _BOX, IMAGE, _BOX_KIND, value, **frame, **score)
        regions.append(box)
        for point in pose["points"]:
            x, y = to_percent(point["x"], point["y"], item)
            place = {"x": x, "y": y, "width": _SHOWN_WIDTH}
            value = {**place, _POINT_KIND: [point["name"]]}
            group = {**frame, "parentID": box["id"]}
            region = new_region(item, len(regions), _POINT, IMAGE, _POINT_KIND, value, **group, **score)
            regions.append(region)
            if point["visibility"] == OCCLUDED:
                value = {**place, _HIDDEN_KIND: [_HIDDEN_VALUE]}
                choice = new_region(item, len(regions), _HIDDEN, IMAGE, _HIDDEN_KIND, value, **group)
                regions.append({**choice, "id": region["id"]})
    return regions


def decode_poses(
    results: Sequence[Any],
    item: Item,
    only_class: Callable[[Any, str], str],
    names_of: Callable[[str], Sequence[str]],
) -> list[Pose]:
    """Poses in regions of any order.

    Args:
        results: of an annotation.
        item: what it is about.
        only_class: the class in a region's list of one.
        names_of: the points that a class has.

    Raises:
        AnnotationError: a region that means nothing, a point twice in one box, or one whose box is not clear.
    """
    boxes: dict[str, _Placed] = {}
    points: list[Mapping[str, Any]] = []
    hidden: dict[str, str] = {}
    for region in results:
        where = f"item {item.key}, region {region_id(region)}"
        kind = region.get("type") if isinstance(region, Mapping) else None
        if kind == _POINT_KIND:
            points.append(region)
        elif kind == _HIDDEN_KIND:
            value = region_value(region, _HIDDEN, IMAGE, _HIDDEN_KIND, where)
            if _is_hidden(value, where):
                hidden[region_id(region)] = where
        else:
            value = region_value(region, _BOX, IMAGE, _BOX_KIND, where)
            check_frame(region, item, where)
            box = _upright(value_box(only_class(value.get(_BOX_KIND), where), value, item, where), where)
            if region_id(region) in boxes:
                raise AnnotationError("two boxes have one id", where=where, remedy=_UPDATE)
            boxes[region_id(region)] = _Placed(box, where)
    _check_hidden(hidden, points)
    for region in points:
        where = f"item {item.key}, region {region_id(region)}"
        point = _decoded_point(region, item, where, hidden=region_id(region) in hidden)
        owner = _owner(point, region.get("parentID"), boxes, names_of, where)
        if any(other["name"] == point["name"] for other in owner.points):
            raise AnnotationError(
                f"point {point['name']!r} is there twice",
                where=where,
                found=f"another one in the same box, {owner.where.rpartition(', ')[2]}",
                remedy="Delete one, or group it with another box",
            )
        owner.points.append(point)
    return [_posed(placed) for placed in boxes.values()]


def _posed(placed: _Placed) -> Pose:
    box = placed.box
    return {
        "label": box["label"], "x": box["x"], "y": box["y"], "width": box["width"], "height": box["height"],
        "points": placed.points,
    }  # fmt: skip


def _is_hidden(value: Mapping[str, Any], where: str) -> bool:
    chosen = value.get(_HIDDEN_KIND)
    if not isinstance(chosen, list | tuple) or any(choice != _HIDDEN_VALUE for choice in chosen):
        raise AnnotationError(
            "a point is occluded or not",
            where=where,
            found=repr(chosen)[:80],
            expected=f"[{_HIDDEN_VALUE!r}] or nothing",
            remedy=_UPDATE,
        )
    return bool(chosen)


def _check_hidden(hidden: Mapping[str, str], points: Sequence[Mapping[str, Any]]) -> None:
    known = {region_id(region) for region in points}
    for identity, where in hidden.items():
        if identity not in known:
            raise AnnotationError(
                "only a point can be occluded",
                where=where,
                found="the choice at a region that is no point",
                remedy=_UPDATE,
            )


def _upright(box: Box, where: str) -> Box:
    if box["rotation"]:
        raise AnnotationError(
            "the box of an object with points is not turned",
            where=where,
            found=f"{box['rotation']:g} degrees",
            remedy=_UPDATE,
        )
    return box


def _decoded_point(region: Mapping[str, Any], item: Item, where: str, *, hidden: bool) -> Point:
    value = region_value(region, _POINT, IMAGE, _POINT_KIND, where)
    check_frame(region, item, where)
    names = value.get(_POINT_KIND)
    if not isinstance(names, list | tuple) or len(names) != 1 or not isinstance(names[0], str):
        raise AnnotationError(
            "a point has exactly one name",
            where=where,
            found=repr(names)[:80],
            expected="[NAME]",
            remedy=_UPDATE,
        )
    x, y = from_percent(number(value, "x", where), number(value, "y", where), item)
    return _made_point(names[0], x, y, OCCLUDED if hidden else VISIBLE, item, where)


def _made_point(name: str, x: float, y: float, visibility: int, item: Item, where: str) -> Point:
    """A point in canonical form; one out of the image by up to a pixel is moved to its edge."""
    width, height = size_of(item)
    near_x, near_y = min(max(x, 0.0), float(width)), min(max(y, 0.0), float(height))
    if max(abs(x - near_x), abs(y - near_y)) > _MOST_OUTSIDE:
        raise AnnotationError(
            "a point is outside the image",
            where=where,
            found=f"{x:g}, {y:g}",
            expected=f"{width} x {height} pixels",
            remedy=_UPDATE,
        )
    return {"name": name, "x": near_x, "y": near_y, "visibility": visibility}


def _owner(
    point: Point,
    parent: Any,
    boxes: Mapping[str, _Placed],
    names_of: Callable[[str], Sequence[str]],
    where: str,
) -> _Placed:
    """The box that a point belongs to."""
    name = point["name"]
    if parent:
        if not isinstance(parent, str) or parent not in boxes:
            raise AnnotationError(
                "a point is grouped with something that is no box",
                where=where,
                found=repr(parent),
                remedy=_GROUP,
            )
        _check_name(name, names_of(boxes[parent].box["label"]), boxes[parent].box["label"], where)
        return boxes[parent]
    around = [placed for placed in boxes.values() if _is_around(placed.box, point["x"], point["y"])]
    fitting = [placed for placed in around if name in names_of(placed.box["label"])]
    if not fitting and around:
        _check_name(name, names_of(around[0].box["label"]), around[0].box["label"], where)
    if not fitting:
        raise AnnotationError("a point is in no box", where=where, found=repr(name), remedy=_GROUP)
    fitting.sort(key=lambda placed: placed.box["width"] * placed.box["height"])
    smallest = fitting[0]
    if not all(_is_within(smallest.box, other.box) for other in fitting[1:]):
        raise AnnotationError(
            "a point could belong to several boxes",
            where=where,
            found=f"{name!r} in {len(fitting)} boxes that overlap",
            remedy=_GROUP,
        )
    return smallest


def _check_name(name: Any, names: Sequence[str], label: str, where: str) -> None:
    """Refuse a point that objects of a class do not have."""
    if name not in names:
        raise AnnotationError(
            f"class {label!r} has no such point",
            where=where,
            found=repr(name)[:80],
            expected=f"one of {', '.join(names)}",
            remedy=_UPDATE,
        )


def _is_around(box: Box, x: float, y: float) -> bool:
    return box["x"] <= x <= box["x"] + box["width"] and box["y"] <= y <= box["y"] + box["height"]


def _is_within(inner: Box, outer: Box) -> bool:
    ends = (inner["x"] + inner["width"], inner["y"] + inner["height"])
    same = (inner["x"], inner["y"], *ends) == (
        outer["x"], outer["y"], outer["x"] + outer["width"], outer["y"] + outer["height"],
    )  # fmt: skip
    return not same and _is_around(outer, inner["x"], inner["y"]) and _is_around(outer, *ends)
