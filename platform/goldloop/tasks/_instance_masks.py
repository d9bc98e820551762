"""Objects with outlines or masks: how far two are the same, what several are together, how networks see them.

S = side of a network's square in pixels. A *shape* is an object with its pixels beside it, under `rle`, in
the form of pycocotools.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from goldloop.tasks._letterbox import into_square
from goldloop.tasks._masks import from_counts, polygon_mask, to_counts

if TYPE_CHECKING:
    import numpy
    import torch
    from numpy.typing import NDArray

    from goldloop.tasks._label_studio_rle import Mask
    from goldloop.tasks._letterbox import Frame

_INSIDE = 0.5


class Instance(TypedDict):
    """One object: its class, and either its `polygon` as drawn, corners (x, y) in pixels, or its pixels.

    `counts` are those of COCO's compressed RLE; holes and parts are all of one object. `score`, of
    predictions only, in [0, 1].
    """

    label: str
    polygon: NotRequired[list[list[float]]]
    counts: NotRequired[str]
    score: NotRequired[float]


class Instances(TypedDict):
    """The objects of an upright image of so many pixels; they may overlap."""

    width: int
    height: int
    objects: list[Instance]


def mask_of(instance: Instance, width: int, height: int) -> Mask:
    """The pixels of an object, bool `(height, width)`; one at least, however thin its outline is."""
    if "polygon" not in instance:
        return from_counts(instance["counts"], width, height)
    mask = polygon_mask(instance["polygon"], width, height)
    if not mask.any():
        x, y = instance["polygon"][0]
        mask[min(int(y), height - 1), min(int(x), width - 1)] = True
    return mask


def upright_box(instance: Instance, width: int, height: int) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the upright box around an object, in pixels."""
    if "polygon" in instance:
        across, down = zip(*instance["polygon"], strict=True)
        return min(across), min(down), max(across), max(down)
    left, top, right, bottom = _extent(mask_of(instance, width, height)).reshape(-1).tolist()
    return left, top, right, bottom


def shapes_of(target: Instances) -> list[dict[str, Any]]:
    """The objects of an image as shapes."""
    width, height = target["width"], target["height"]
    shapes = []
    for instance in target["objects"]:
        counts = instance.get("counts") or to_counts(mask_of(instance, width, height))
        shapes.append({**instance, "rle": {"size": [height, width], "counts": counts}})
    return shapes


def shape_overlaps(
    ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]
) -> NDArray[numpy.float64]:
    """Intersection over union of each of ours with each of theirs, `(N, M)` in [0, 1], in pixels."""
    import numpy
    from pycocotools.mask import iou

    if not ours or not theirs:
        return numpy.zeros((len(ours), len(theirs)))
    sides = [[shape["rle"] for shape in shapes] for shapes in (ours, theirs)]
    return numpy.asarray(iou(*sides, [0] * len(theirs)), dtype=numpy.float64).clip(0, 1)


def merged(shapes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One shape of several that are the same object: the pixels that more than half of them have.

    Shapes that are equal stay as they were drawn. Where no pixel is in so many, the shape that overlaps most
    with the others stands for all.
    """
    import numpy

    ordered = sorted(shapes, key=repr)
    if all(shape == ordered[0] for shape in ordered):
        return ordered[0]
    height, width = ordered[0]["rle"]["size"]
    votes = numpy.zeros((height, width), dtype=numpy.int32)
    for shape in ordered:
        votes += from_counts(shape["rle"]["counts"], width, height)
    mask = votes * 2 > len(ordered)
    if not mask.any():
        return ordered[int(shape_overlaps(ordered, ordered).sum(axis=1).argmax())]
    counts = to_counts(mask)
    return {
        "label": ordered[0]["label"],
        "counts": counts,
        "rle": {"size": [height, width], "counts": counts},
    }


def plain(shape: Mapping[str, Any]) -> Instance:
    """A shape without its pixels beside it."""
    instance: Any = {name: value for name, value in shape.items() if name != "rle"}
    found: Instance = instance
    return found


def in_square(
    target: Instances, frame: Frame, side: int
) -> tuple[NDArray[numpy.float32], NDArray[numpy.uint8]]:
    """Where objects are in a network's square.

    Returns:
        Boxes, left, top, right, bottom in its pixels, float32 `(N, 4)`; masks, 8 pixels of a row to the byte,
        uint8 `(N, S, ceil(S / 8))`.
    """
    import numpy

    objects = target["objects"]
    boxes = numpy.zeros((len(objects), 4), dtype=numpy.float32)
    masks = numpy.zeros((len(objects), side, -(-side // 8)), dtype=numpy.uint8)
    for number, instance in enumerate(objects):
        if "polygon" in instance:
            corners = into_square(numpy.array(instance["polygon"], dtype=numpy.float64), frame)
            mask = polygon_mask(corners.tolist(), side, side)
        else:
            whole = mask_of(instance, target["width"], target["height"])
            corners = into_square(_extent(whole), frame)
            mask = _squeezed(whole, frame, side)
        boxes[number] = [*corners.min(axis=0), *corners.max(axis=0)]
        masks[number] = numpy.packbits(mask, axis=1)
    return boxes, masks


def unpacked(masks: Any, side: int) -> torch.Tensor:
    """Masks of `in_square`, uint8 `(N, S, S)`, 1 inside."""
    import numpy
    import torch

    return torch.from_numpy(numpy.unpackbits(numpy.asarray(masks), axis=2, count=side))


def _extent(mask: Mask) -> NDArray[numpy.float64]:
    """The corners (left, top) and (right, bottom) of what is in a mask, in pixels, `(2, 2)`."""
    import numpy

    columns, rows = numpy.flatnonzero(mask.any(axis=0)), numpy.flatnonzero(mask.any(axis=1))
    return numpy.array([[columns[0], rows[0]], [columns[-1] + 1, rows[-1] + 1]], dtype=numpy.float64)


def _squeezed(mask: Mask, frame: Frame, side: int) -> Mask:
    import numpy
    from PIL import Image

    height, width = mask.shape
    fitted = (round(width * frame[0]), round(height * frame[1]))
    small = Image.fromarray(mask.astype(numpy.uint8) * 255).resize(fitted, Image.Resampling.BOX)
    square = numpy.zeros((side, side), dtype=numpy.bool_)
    left, top = int(frame[2]), int(frame[3])
    square[top : top + fitted[1], left : left + fitted[0]] = numpy.asarray(small) >= 128
    return square


def spread(shares: torch.Tensor, box: Sequence[float], width: int, height: int) -> Mask:
    """A network's mask of a box as the pixels of the image, bool `(height, width)`.

    Args:
        shares: how likely each part of the box is inside, float `(M, M)` in [0, 1].
        box: left, top, right and bottom in pixels of the image.
        width: the image's, in pixels.
        height: the image's, in pixels.
    """
    import numpy
    import torch
    from torch.nn.functional import grid_sample

    mask = numpy.zeros((height, width), dtype=numpy.bool_)
    first = [max(0, int(box[0])), max(0, int(box[1]))]
    end = [min(width, int(numpy.ceil(box[2]))), min(height, int(numpy.ceil(box[3])))]
    if first[0] >= end[0] or first[1] >= end[1]:
        return mask
    # The centre of each pixel, from -1 at the box's left or upper edge to 1 at its right or lower one.
    across, down = (
        (torch.arange(first[axis], end[axis]) + 0.5 - box[axis]) / (box[axis + 2] - box[axis]) * 2 - 1
        for axis in (0, 1)
    )
    grid = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1)[None]
    sampled = grid_sample(
        shares.float()[None, None], grid.float(), padding_mode="border", align_corners=False
    )
    inside = (sampled[0, 0] >= _INSIDE) & (grid[0].abs() <= 1).all(-1)
    mask[first[1] : end[1], first[0] : end[0]] = inside.numpy()
    return mask
