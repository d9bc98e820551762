"""Hard cases: what an annotator did, as Label Studio keeps it, and what that means in pixels or characters.

A truth is a list of entries, one for each image or text that a data set should hold:

    {"name": "a.png", "width": W, "height": H, "regions": [...]}

with regions in pixels of the upright image: `corners` of a box, `polygon`, `counts` of a mask (COCO's RLE),
`points` of a pose by name, with its `box` (x, y, width, height) if it has one; or `start`, `end` and `text`
of a span in code points. All have a `label`.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from PIL import Image

KEYPOINTS = ("nose", "tail")
_TAGS = {"boxes": "RectangleLabels", "polygons": "PolygonLabels", "masks": "BrushLabels", "spans": "Labels"}
_ORIENTATION = 274
# What undoes the turn that a reader makes for each orientation.
_UNDO = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}  # fmt: skip
Size = tuple[int, int]
Regions = list[dict[str, Any]]
Draw = Callable[[Size], tuple[Regions, Regions]]


@dataclass(frozen=True)
class Annotated:
    """One task of Label Studio.

    Attributes:
        name: path of its image below the case's folder; of a text nothing.
        content: the image's bytes, or the text.
        results: the `result` of each annotation.
        skipped: whether they were skipped.
        draft: a `result` that was never submitted.
    """

    name: str
    content: bytes | str
    results: Sequence[Regions] = ()
    skipped: bool = False
    draft: Regions | None = None


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        title: what is hard.
        kind: boxes, polygons, masks, keypoints or spans.
        classes: in the order of the labelling interface.
        tasks: what Label Studio holds.
        truth: what a data set should say.
        before: classes of the interface of an earlier export, whose ids must not have moved.
        offsets: whether spans are wanted by their offsets, not as tagged words.
        alone: keypoints without boxes around them.
        most_formats: how many of a tool's formats are tried, from the one that suits best.
    """

    title: str
    kind: str
    tasks: Sequence[Annotated]
    truth: Regions
    classes: tuple[str, ...] = ("cat", "dog")
    before: tuple[str, ...] = ()
    offsets: bool = False
    alone: bool = False
    most_formats: int | None = None
    config: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "config", label_config(self.kind, self.classes, alone=self.alone))


def label_config(kind: str, classes: Sequence[str], *, alone: bool = False) -> str:
    """A labelling interface as Label Studio's own templates write them."""
    values = [f"<Label value={quoteattr(name)}/>" for name in classes]
    shown = '<Text name="text" value="$text"/>' if kind == "spans" else '<Image name="image" value="$image"/>'
    target = "text" if kind == "spans" else "image"
    if kind != "keypoints":
        tag = _TAGS[kind]
        controls = f'<{tag} name="label" toName="{target}">{"".join(values)}</{tag}>'
    else:
        boxes = f'<RectangleLabels name="label" toName="image">{"".join(values)}</RectangleLabels>'
        points = "".join(f'<Label value="{name}" model_index="{n}"/>' for n, name in enumerate(KEYPOINTS))
        keypoints = f'<KeyPointLabels name="points" toName="image">{points}</KeyPointLabels>'
        controls = keypoints if alone else boxes + keypoints
    return f"<View>{shown}{controls}</View>"


def image(size: Size, orientation: int = 1) -> bytes:
    """A JPEG that is of this size once upright, stored as a camera held that way stores it."""
    ramp = np.add.outer(np.arange(size[1]), np.arange(size[0])) % 256
    picture = Image.fromarray(np.stack([ramp, ramp // 2, 255 - ramp], axis=2).astype(np.uint8))
    if orientation in _UNDO:
        picture = picture.transpose(_UNDO[orientation])
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", exif=exif)
    return buffer.getvalue()


def _region(
    number: int, name: str, shown: str, kind: str, value: dict[str, Any], size: Size
) -> dict[str, Any]:
    return {
        "id": f"region{number}",
        "from_name": name,
        "to_name": shown,
        "type": kind,
        "origin": "manual",
        "original_width": size[0],
        "original_height": size[1],
        "image_rotation": 0,
        "value": value,
    }


def box(place: Sequence[float], rotation: float = 0.0, label: str = "cat", number: int = 0) -> Draw:
    """A box at x, y, width, height in pixels, turned clockwise about (x, y)."""
    x, y, across, down = place

    def draw(size: Size) -> tuple[Regions, Regions]:
        width, height = size
        value = {
            "x": x / width * 100, "y": y / height * 100, "width": across / width * 100,
            "height": down / height * 100, "rotation": rotation, "rectanglelabels": [label],
        }  # fmt: skip
        angle = math.radians(rotation)
        right = (across * math.cos(angle), across * math.sin(angle))
        below = (-down * math.sin(angle), down * math.cos(angle))
        corners = [
            [x, y],
            [x + right[0], y + right[1]],
            [x + right[0] + below[0], y + right[1] + below[1]],
            [x + below[0], y + below[1]],
        ]
        region = _region(number, "label", "image", "rectanglelabels", value, size)
        return [region], [{"label": label, "corners": corners}]

    return draw


def polygon(points: Sequence[Sequence[float]], label: str = "cat") -> Draw:
    """A polygon by its corners in pixels."""

    def draw(size: Size) -> tuple[Regions, Regions]:
        percent = [[x / size[0] * 100, y / size[1] * 100] for x, y in points]
        value = {"points": percent, "closed": True, "polygonlabels": [label]}
        region = _region(0, "label", "image", "polygonlabels", value, size)
        return [region], [{"label": label, "polygon": [list(point) for point in points]}]

    return draw


def mask(pixels: np.ndarray[Any, Any], label: str = "cat") -> Draw:
    """A brush region of exactly these pixels."""

    def draw(size: Size) -> tuple[Regions, Regions]:
        from pycocotools.mask import encode

        value = {"format": "rle", "rle": _brush(pixels), "brushlabels": [label]}
        counts = encode(np.asfortranarray(pixels, dtype=np.uint8))["counts"].decode("ascii")
        region = _region(0, "label", "image", "brushlabels", value, size)
        return [region], [{"label": label, "counts": counts}]

    return draw


def _brush(pixels: np.ndarray[Any, Any]) -> list[int]:
    """Label Studio's RLE: by the SDK's own encoder, which takes minutes for millions of pixels."""
    if pixels.size > 1_000_000:
        from goldloop.tasks._masks import to_label_studio

        return to_label_studio(pixels)
    from label_studio_sdk.converter.brush import mask2rle

    encoded: list[int] = mask2rle(pixels.astype(np.uint8) * 255)
    return encoded


def pose(points: dict[str, tuple[float, float]], place: Sequence[float] | None, label: str = "cat") -> Draw:
    """Keypoints, in a box if there is one."""

    def draw(size: Size) -> tuple[Regions, Regions]:
        regions = box(place, label=label, number=9)(size)[0] if place else []
        for number, (name, (x, y)) in enumerate(points.items()):
            value = {"x": x / size[0] * 100, "y": y / size[1] * 100, "width": 0.5, "keypointlabels": [name]}
            region = _region(number, "points", "image", "keypointlabels", value, size)
            regions.append({**region, "parentID": "region9"} if place else region)
        named = {name: list(at) for name, at in points.items()}
        return regions, [{"label": label, "points": named, "box": place and list(place)}]

    return draw


def span(text: str, start: int, end: int, label: str = "cat", number: int = 0) -> tuple[Regions, Regions]:
    """A span as Label Studio's editor stores it: code points, and a quote with escaped line ends."""
    quoted = text[start:end].replace("\r", "\\n").replace("\n", "\\n")
    value = {"start": start, "end": end, "text": quoted, "labels": [label]}
    region = {
        "id": f"region{number}", "from_name": "label", "to_name": "text", "type": "labels",
        "origin": "manual", "value": value,
    }  # fmt: skip
    return [region], [{"label": label, "start": start, "end": end, "text": text[start:end]}]


def drawn(name: str, size: Size, draw: Draw, orientation: int = 1) -> tuple[Annotated, dict[str, Any]]:
    """A task with one annotation, and its entry in the truth."""
    results, truth = draw(size)
    entry = {"name": name, "width": size[0], "height": size[1], "regions": truth}
    return Annotated(name, image(size, orientation), [results]), entry


def case_of(title: str, kind: str, pairs: Sequence[tuple[Annotated, dict[str, Any]]], **fields: Any) -> Case:
    """A case of tasks that are all to be in the data set."""
    return Case(title, kind, [task for task, _ in pairs], [entry for _, entry in pairs], **fields)
