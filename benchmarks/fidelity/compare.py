"""What of a case survived: the truth held against what came back."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

SURVIVES = "survives"
_DIGEST = re.compile("^[0-9a-f]{8}__")
_LEAST_OVERLAP = 0.99
_MOST_PIXELS = 0.51
"""By which a keypoint may be off: formats that keep whole pixels do no better."""


def verdict(case: Mapping[str, Any], found: Mapping[str, Any]) -> str | None:
    """`survives`, or in a few words what was lost; None where the case means nothing for the format.

    Args:
        case: has `truth`, `before`, `offsets`.
        found: `entries`, perhaps `ids` and `ids_before`; or `problem`.
    """
    if "problem" in found:
        return str(found["problem"])
    if case["before"] and not found.get("ids_before"):
        return None
    if case["before"]:
        moved = [name for name in case["before"] if found["ids"].get(name) != found["ids_before"].get(name)]
        return f"{len(moved)} ids moved" if moved else SURVIVES
    expected, entries = case["truth"], found["entries"]
    if len(entries) != len(expected):
        return f"{len(entries)} entries for {len(expected)}"
    outcomes = _outcomes(expected, entries)
    lost = [outcome for outcome in outcomes if outcome != SURVIVES]
    if not lost:
        return SURVIVES
    if found.get("losses"):
        return f"refused: {found['losses'][0].partition(':')[0]}"
    return lost[0] if len(outcomes) == 1 else f"{lost[0]} ({len(lost)} of {len(outcomes)})"


def _outcomes(expected: Sequence[Mapping[str, Any]], entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """An outcome for each entry of the truth; joined by name, or the best way where names are equal."""
    if len({_stem(entry) for entry in expected}) == len(expected):
        by_name = {_stem(entry): entry for entry in entries}
        return [
            _entry(truth, by_name[_stem(truth)]) if _stem(truth) in by_name else "name lost"
            for truth in expected
        ]
    if len({str(entry["name"]) for entry in entries}) < len(entries):
        return ["names fall together"] * len(expected)
    ways = (
        [_entry(*pair) for pair in zip(expected, order, strict=True)]
        for order in itertools.permutations(entries)
    )
    return max(ways, key=lambda way: way.count(SURVIVES))


def _stem(entry: Mapping[str, Any]) -> str:
    return name_of(str(entry["name"]))


def name_of(path: str) -> str:
    """An image's name without folder, extension and the digest that the SDK puts before it."""
    return _DIGEST.sub("", PurePosixPath(path).stem)


def _entry(expected: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    if "content" in expected and found.get("content", expected["content"]) != expected["content"]:
        return "another text"
    if "width" in found and (found["width"], found["height"]) != (expected["width"], expected["height"]):
        return f"size {found['width']} x {found['height']}"
    wanted, given = expected["regions"], found["regions"]
    if len(wanted) != len(given):
        return f"{len(given)} regions for {len(wanted)}"
    if sorted(_labels(wanted)) != sorted(_labels(given)):
        return f"class {_labels(given)[0]!r}"
    if wanted and "text" in wanted[0]:
        return _spans(wanted, given)
    for region, other in zip(wanted, given, strict=True):
        outcome = _shape(region, other, (expected["width"], expected["height"]))
        if outcome != SURVIVES:
            return outcome
    return SURVIVES


def _labels(regions: Sequence[Mapping[str, Any]]) -> list[str]:
    return [str(region["label"]) for region in regions]


def _spans(wanted: Sequence[Mapping[str, Any]], given: Sequence[Mapping[str, Any]]) -> str:
    if "words" in given[0]:
        texts = sorted((region["label"], region["text"].split()) for region in wanted)
        others = sorted((region["label"], region["words"]) for region in given)
        return SURVIVES if texts == others else f"marks {' '.join(_strange(others, texts))!r}"
    places = sorted((region["label"], region["start"], region["end"], region["text"]) for region in wanted)
    found = sorted((region["label"], region["start"], region["end"], region["text"]) for region in given)
    return SURVIVES if places == found else f"marks {_strange(found, places)!r}"


def _strange(found: Sequence[Any], wanted: Sequence[Any]) -> Any:
    return next(entry for entry in found if entry not in wanted)[-1]


def _shape(expected: Mapping[str, Any], found: Mapping[str, Any], size: tuple[int, int]) -> str:
    if "counts" in expected:
        return _mask(expected["counts"], found, size)
    if "points" in expected:
        if set(expected["points"]) != set(found["points"]):
            return f"{len(found['points'])} points for {len(expected['points'])}"
        away = max(
            abs(value - other)
            for name, point in expected["points"].items()
            for value, other in zip(point, found["points"][name], strict=True)
        )
        return SURVIVES if away <= _MOST_PIXELS else f"points {away:.0f} px off"
    import shapely

    outlines = [shapely.Polygon(region.get("corners") or region["polygon"]) for region in (expected, found)]
    if not all(outline.is_valid and outline.area for outline in outlines):
        return "no outline"
    shared = shapely.intersection(*outlines).area
    overlap = shared / (outlines[0].area + outlines[1].area - shared)
    return SURVIVES if overlap >= _LEAST_OVERLAP else f"IoU {overlap:.2f}"


def _mask(counts: str, found: Mapping[str, Any], size: tuple[int, int]) -> str:
    from pycocotools.mask import decode, frPyObjects, merge

    if "counts" in found:
        if found["counts"] == counts:
            return SURVIVES
        other = {"size": [size[1], size[0]], "counts": found["counts"].encode("ascii")}
    else:
        ring = [value for point in found["polygon"] for value in point]
        other = merge(frPyObjects([ring], size[1], size[0]))
    truth = decode({"size": [size[1], size[0]], "counts": counts.encode("ascii")})
    wrong = int((truth != decode(other)).sum())
    return f"{wrong / max(int(truth.sum()), 1):.0%} of pixels wrong" if wrong else SURVIVES
