"""The lines of YOLO's label files <-> targets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from goldloop.errors import ItemError
from goldloop.formats._boxes import corners, from_corners
from goldloop.formats._folders import upright_size
from goldloop.tasks._masks import from_counts
from goldloop.tasks.base import Task

_BOX, _ROTATED_BOX, _SMALLEST_POLYGON = 4, 8, 6


class Lines:
    """How the lines of one data set are read.

    Args:
        kind: the task's.
        classes: names by id.
        points: names of keypoints, in order.
        numbers: of each keypoint: 2, or 3 with visibility.
    """

    def __init__(self, kind: str, classes: Sequence[str], points: Sequence[str], numbers: int) -> None:
        self._kind = kind
        self._classes = classes
        self._points = points
        self._numbers = numbers

    def read(self, path: Path, size: tuple[int, int]) -> Any:
        """The target in a label file.

        Raises:
            ItemError: a line that cannot be read; names it.
        """
        try:
            lines = path.read_bytes().decode("utf-8-sig").split("\n")
        except UnicodeDecodeError as error:
            raise ItemError("not UTF-8 text", where="") from error
        regions = []
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    regions.append(self._region(line, size))
                except ItemError as error:
                    raise ItemError(error.problem, where=f", line {number}", found=error.found) from error
        return self._target(regions, size)

    def target(self, regions: list[Any], image: Path) -> Any:
        """The target of an image with these regions."""
        return self._target(regions, upright_size(image))

    def _target(self, regions: list[Any], size: tuple[int, int]) -> Any:
        if self._kind != "instance-segmentation":
            return regions
        return {"width": size[0], "height": size[1], "objects": regions}

    def _region(self, line: str, size: tuple[int, int]) -> dict[str, Any]:
        first, *rest = line.split()
        try:
            identity, values = int(first), [float(value) for value in rest]
        except ValueError as error:
            raise ItemError("a class id and numbers were expected", found=repr(line[:60])) from error
        if not 0 <= identity < len(self._classes):
            raise ItemError(f"the class id is not below {len(self._classes)}", found=first)
        if not all(abs(value) < 1e6 for value in values):
            raise ItemError("a number is impossible", found=repr(line[:60]))
        label = {"label": self._classes[identity]}
        if self._kind == "object-detection" and len(values) == _BOX:
            return {**label, **_box(values, size), "rotation": 0.0}
        if self._kind == "object-detection" and len(values) == _ROTATED_BOX:
            return {**label, **from_corners(_pairs(values, size))}
        if (
            self._kind == "instance-segmentation"
            and len(values) >= _SMALLEST_POLYGON
            and len(values) % 2 == 0
        ):
            return {**label, "polygon": [[round(x, 3), round(y, 3)] for x, y in _pairs(values, size)]}
        if self._kind == "keypoints" and len(values) == _BOX + len(self._points) * self._numbers:
            return {**label, **_box(values[:_BOX], size), "points": self._pose(values[_BOX:], size)}
        raise ItemError(f"no line of {self._kind} has so many numbers", found=f"{len(values) + 1}")

    def _pose(self, values: Sequence[float], size: tuple[int, int]) -> list[dict[str, Any]]:
        points = []
        for place, name in enumerate(self._points):
            x, y, *rest = values[place * self._numbers : (place + 1) * self._numbers]
            # Without visibility, a point at the very corner is one that is not labelled.
            visibility = rest[0] if rest else 2.0 * bool(x or y)
            if visibility not in (0, 1, 2):
                raise ItemError("a keypoint's visibility is none", found=repr(visibility))
            if visibility:
                at = {"x": round(x * size[0], 3), "y": round(y * size[1], 3)}
                points.append({"name": name, **at, "visibility": int(visibility)})
        return points


def _box(values: Sequence[float], size: tuple[int, int]) -> dict[str, float]:
    x, y, across, down = values
    return {
        "x": round((x - across / 2) * size[0], 3),
        "y": round((y - down / 2) * size[1], 3),
        "width": round(across * size[0], 3),
        "height": round(down * size[1], 3),
    }


def _pairs(values: Sequence[float], size: tuple[int, int]) -> list[tuple[float, float]]:
    return [(x * size[0], y * size[1]) for x, y in zip(values[::2], values[1::2], strict=True)]


def written(task: Task[Any], target: Any, size: tuple[int, int], rotated: bool) -> Iterator[str]:
    """The lines of a target.

    Args:
        task: what it is of.
        target: boxes, poses, or objects with outlines.
        size: width and height of the image.
        rotated: write boxes by their corners.
    """
    regions = target if isinstance(target, list) else target["objects"]
    for region in regions:
        values = [value for point in _points(task, region, size, rotated) for value in point]
        numbers = " ".join(f"{value:.17g}" for value in values)
        yield f"{task.classes.index(region['label'])} {numbers}"


def _points(
    task: Task[Any], region: Mapping[str, Any], size: tuple[int, int], rotated: bool
) -> Iterator[tuple[float, ...]]:
    width, height = size
    if "polygon" in region or "counts" in region:
        points = region["polygon"] if "polygon" in region else outline(region["counts"], size)
        yield from ((x / width, y / height) for x, y in points)
        return
    if rotated:
        yield from ((x / width, y / height) for x, y in corners(region))
        return
    yield (region["x"] + region["width"] / 2) / width, (region["y"] + region["height"] / 2) / height
    yield region["width"] / width, region["height"] / height
    if "points" in region:
        known = {point["name"]: point for point in region["points"]}
        for name in task.config.keypoints:
            point = known.get(name)
            yield (point["x"] / width, point["y"] / height, point["visibility"]) if point else (0, 0, 0)


def outline(counts: str, size: tuple[int, int]) -> list[tuple[float, float]]:
    """The outline of the largest part of a mask, along the edges of its pixels; holes are filled."""
    import numpy as np
    from shapely import Polygon, box, union_all

    mask = from_counts(counts, *size)
    runs = []
    for row in np.flatnonzero(mask.any(axis=1)):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], mask[row].astype(np.int8), [0]])))
        runs += [box(left, row, right, row + 1) for left, right in zip(edges[::2], edges[1::2], strict=True)]
    whole = union_all(runs)
    parts = [whole] if isinstance(whole, Polygon) else list(whole.geoms)
    largest = max(parts, key=lambda part: part.area)
    return [(float(x), float(y)) for x, y in largest.simplify(0).exterior.coords[:-1]]
