"""What targets of any kind say: the classes and the keypoints in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from goldloop.tasks import tasks

_PARTS = ("masks", "objects")


def regions(target: Any) -> list[Any]:
    """The parts of a target that have a class each: classes, boxes, masks, poses, spans."""
    if isinstance(target, dict):
        return [region for part in _PARTS for region in target.get(part, ())]
    return target if isinstance(target, list) else [target]


def classes_in(target: Any) -> Iterator[str]:
    """The class of each part of a target."""
    for region in regions(target):
        name = region.get("label") if isinstance(region, dict) else region
        if isinstance(name, str):
            yield name


def keypoints_in(targets: Iterable[Any]) -> list[str]:
    """The names of points in poses, in the order in which they appear."""
    found: dict[str, None] = {}
    for target in targets:
        for pose in regions(target):
            if isinstance(pose, dict):
                found.update((point["name"], None) for point in pose.get("points", ()))
    return list(found)


def has_classes(kind: str) -> bool:
    """Whether a task kind has a list of classes."""
    return "classes" in tasks.get(kind).Config.model_fields


def has_keypoints(kind: str) -> bool:
    """Whether a task kind has a list of keypoints."""
    return "keypoints" in tasks.get(kind).Config.model_fields
