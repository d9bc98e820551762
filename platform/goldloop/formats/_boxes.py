"""Boxes as targets have them, for formats that turn them into something else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

ROTATED = "rotation of boxes"


def corners(box: Mapping[str, Any]) -> list[tuple[float, float]]:
    """The corners in pixels, clockwise on the screen from the one that is top-left before rotation."""
    turn = math.radians(box["rotation"])
    cosine, sine = math.cos(turn), math.sin(turn)
    across, down = box["width"], box["height"]
    return [
        (box["x"] + right * cosine - below * sine, box["y"] + right * sine + below * cosine)
        for right, below in ((0, 0), (across, 0), (across, down), (0, down))
    ]


def enclosing(box: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """x, y, width and height of the upright box around a box; of one without rotation its own."""
    if not box["rotation"]:
        return box["x"], box["y"], box["width"], box["height"]
    xs, ys = zip(*corners(box), strict=True)
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def from_corners(points: list[tuple[float, float]]) -> dict[str, float]:
    """The box whose corners are these, in the order of `corners`."""
    (x, y), (right_x, right_y), (low_x, low_y), _ = points
    rotation = math.degrees(math.atan2(right_y - y, right_x - x)) % 360
    return {
        "x": round(x, 3),
        "y": round(y, 3),
        "width": round(math.hypot(right_x - x, right_y - y), 3),
        "height": round(math.hypot(low_x - right_x, low_y - right_y), 3),
        "rotation": round(rotation, 6) % 360,
    }
