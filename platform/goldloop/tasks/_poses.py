"""Poses: objects with a box and named points. How far two are the same, and what several make together.

How near two points are is measured as COCO does, by object keypoint similarity:
exp(-d^2 / (2 area (2 sigma)^2)) for a distance d in an object of that area; sigma says how far apart careful
people place the same point, as a share of the area's square root.

Ruggero Ronchi and Perona, Benchmarking and Error Diagnosis in Multi-Instance Pose Estimation, 2017.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

from goldloop.tasks._geometry import Box, box_overlaps, pixels
from goldloop.tasks._letterbox import into_square

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    from goldloop.tasks._letterbox import Frame

PLACE = ("x", "y", "width", "height")
SIGMA = 0.05
OCCLUDED, VISIBLE = 1, 2


class Point(TypedDict):
    """A named point in pixels; its `visibility` is 1 where something hides it, 2 where it is seen."""

    name: str
    x: float
    y: float
    visibility: int


class Pose(TypedDict):
    """One object: its class, its upright box in pixels and the points that are labelled, in the task's order.

    `score`, of predictions only, in [0, 1].
    """

    label: str
    x: float
    y: float
    width: float
    height: float
    points: list[Point]
    score: NotRequired[float]


Sigmas = Mapping[str, float]
Similarity = Literal["of-two", "to-truth"]


def box_of(pose: Pose) -> Box:
    """The box of a pose."""
    return {
        "label": pose["label"], "x": pose["x"], "y": pose["y"], "width": pose["width"],
        "height": pose["height"], "rotation": 0.0,
    }  # fmt: skip


def pose_boxes(ours: Sequence[Pose], theirs: Sequence[Pose]) -> NDArray[numpy.float64]:
    """Intersection over union of the boxes of each of ours with each of theirs, `(N, M)` in [0, 1]."""
    return box_overlaps([box_of(pose) for pose in ours], [box_of(pose) for pose in theirs])


def similarities(
    sigmas: Sigmas, kind: Similarity
) -> Callable[[Sequence[Pose], Sequence[Pose]], NDArray[numpy.float64]]:
    """A function of N poses and M others: how far each is each, `(N, M)` in [0, 1].

    Args:
        sigmas: of points by name; of those that it does not name, 0.05.
        kind: `to-truth` is COCO's measure of predictions against what is true: the mean over the points
            that are labelled there, in units of its box. `of-two` takes two answers alike: the mean over the
            points that either has, in units of the mean of both boxes. Where there are no such points, boxes
            are compared, which COCO leaves out.
    """

    def table(ours: Sequence[Pose], theirs: Sequence[Pose]) -> NDArray[numpy.float64]:
        import numpy

        found = numpy.zeros((len(ours), len(theirs)))
        boxes = pose_boxes(ours, theirs)
        for row, one in enumerate(ours):
            for column, other in enumerate(theirs):
                near = _nearness(one, other, sigmas, kind)
                found[row, column] = boxes[row, column] if near is None else near
        return found

    return table


def _nearness(one: Pose, other: Pose, sigmas: Sigmas, kind: Similarity) -> float | None:
    ours, theirs = ({point["name"]: point for point in pose["points"]} for pose in (one, other))
    counted = set(theirs) if kind == "to-truth" else set(ours) | set(theirs)
    if not counted:
        return None
    area = other["width"] * other["height"]
    if kind == "of-two":
        area = (area + one["width"] * one["height"]) / 2
    total = 0.0
    for name in sorted(counted & set(ours) & set(theirs)):
        a, b = ours[name], theirs[name]
        squared = (a["x"] - b["x"]) ** 2 + (a["y"] - b["y"]) ** 2
        total += math.exp(-squared / (2 * area * (2 * sigmas.get(name, SIGMA)) ** 2))
    return total / len(counted)


def merged(poses: Sequence[Pose]) -> Pose:
    """One pose of several that are the same object: the mean box, and the points that more than half have.

    A point is where it is on average, and hidden unless more than half of those who have it see it.
    """
    ordered = sorted(poses, key=repr)
    if all(pose == ordered[0] for pose in ordered):
        return ordered[0]
    votes = Counter(point["name"] for pose in ordered for point in pose["points"])
    # The order of names is the task's, which each pose keeps; the caller sorts what several bring.
    points = [
        _mean_point([point for pose in ordered for point in pose["points"] if point["name"] == name])
        for name, count in votes.items()
        if count * 2 > len(ordered)
    ]
    sides = [
        [pose["x"], pose["y"], pose["x"] + pose["width"], pose["y"] + pose["height"]] for pose in ordered
    ]
    left, top, right, bottom = (math.fsum(values) / len(ordered) for values in zip(*sides, strict=True))
    return {
        "label": ordered[0]["label"], "x": pixels(left), "y": pixels(top),
        "width": pixels(right - left), "height": pixels(bottom - top), "points": points,
    }  # fmt: skip


def _mean_point(points: Sequence[Point]) -> Point:
    seen = sum(point["visibility"] == VISIBLE for point in points)
    return {
        "name": points[0]["name"],
        "x": pixels(math.fsum(point["x"] for point in points) / len(points)),
        "y": pixels(math.fsum(point["y"] for point in points) / len(points)),
        "visibility": VISIBLE if seen * 2 > len(points) else OCCLUDED,
    }


def in_square(
    poses: Sequence[Pose], names: Sequence[str], frame: Frame
) -> tuple[NDArray[numpy.float32], NDArray[numpy.float32]]:
    """Where poses are in a network's square.

    Returns:
        Boxes, left, top, right, bottom in its pixels, `(N, 4)`; points in the order of `names` with their
        visibility, 0 where they are not labelled, `(N, K, 3)`.
    """
    import numpy

    boxes = numpy.zeros((len(poses), 2, 2), dtype=numpy.float32)
    points = numpy.zeros((len(poses), len(names), 3), dtype=numpy.float32)
    for place, pose in enumerate(poses):
        start, size = [pose["x"], pose["y"]], [pose["width"], pose["height"]]
        boxes[place] = into_square(numpy.array([start, numpy.add(start, size)]), frame)
        for point in pose["points"]:
            spot = into_square(numpy.array([point["x"], point["y"]]), frame)
            points[place, names.index(point["name"])] = [*spot, point["visibility"]]
    return boxes.reshape(-1, 4), points


def draw_poses(
    poses: Sequence[Pose],
    skeleton: Sequence[tuple[str, str]],
    picture: Any,
    scale: float,
    colours: Sequence[str],
) -> Any:
    """A copy of a picture with poses drawn in: box, skeleton, points seen as discs and hidden ones as rings.

    Args:
        poses: in pixels of the image.
        skeleton: pairs of points that are joined by a line.
        picture: PIL, RGB; is left as it is.
        scale: pixels of `picture` for one of the image.
        colours: one for each pose.
    """
    from PIL import ImageDraw

    copy = picture.copy()
    draw = ImageDraw.Draw(copy)
    for pose, tone in zip(poses, colours, strict=True):
        left, top = pose["x"] * scale, pose["y"] * scale
        right, bottom = left + pose["width"] * scale, top + pose["height"] * scale
        draw.rectangle((left, top, right, bottom), outline=tone, width=1)
        places = {point["name"]: (point["x"] * scale, point["y"] * scale) for point in pose["points"]}
        for one, other in skeleton:
            if one in places and other in places:
                draw.line([places[one], places[other]], fill=tone, width=2)
        for point in pose["points"]:
            x, y = places[point["name"]]
            seen = point["visibility"] == VISIBLE
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=tone if seen else None, outline=tone)
    return copy
