"""Detectors: what is prepared for them, how batches vary, what they say in pixels of the image.

B = images, S = side of the square in pixels, N = objects of an image. Boxes are left, top, right, bottom in
pixels of the square until a network wants them otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop.errors import ModelError
from goldloop.tasks._images import image_model
from goldloop.tasks._letterbox import out_of_square
from goldloop.tasks.base import Batch, Model

if TYPE_CHECKING:
    import numpy
    import torch
    from numpy.typing import NDArray

    from goldloop.tasks._letterbox import Frame

HEAD = "AutoModelForObjectDetection"
MOST_OBJECTS = 100
LEAST_SCORE = 0.05
_SIDE = 320
_LEAST_LEFT = 0.3
"""Share of an object that must be left in a varied picture for it to be learned."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a network has found in one image, the surest first.

    Attributes:
        boxes: left, top, right, bottom in pixels of the image, float64 `(N, 4)`.
        scores: in [0, 1], `(N,)`.
        labels: class ids, `(N,)`.
        more: what else was found, by name; tensors whose first dimension is N.
        frame: where the image was in its square.
    """

    boxes: NDArray[numpy.float64]
    scores: list[float]
    labels: list[int]
    more: Mapping[str, torch.Tensor]
    frame: Frame


def detector(
    checkpoint: str | Path | Mapping[str, Any], classes: Sequence[str], settings: Mapping[str, Any] | None
) -> Model:
    """A detector of transformers or of torchvision; `Task.model` says what the arguments mean.

    A fresh one gets squares of 320 pixels, where nothing else is said.

    Raises:
        ModelError: the checkpoint cannot be loaded, or does not fit.
    """
    from goldloop.tasks._torchvision_detectors import register

    register()
    chosen = dict(settings or {})
    if isinstance(checkpoint, Mapping) and "image_size" not in checkpoint.get("from-config", {}):
        chosen.setdefault("image_size", _SIDE)
    return image_model(checkpoint, classes, chosen, HEAD)


def batch_of(rows: Sequence[Mapping[str, Any]], names: Sequence[str] = ()) -> Batch:
    """Prepared rows as a batch: `pixel_values` uint8 `(B, 3, S, S)`; frames in the context.

    Targets are a dict for each image: `boxes` float32 `(N, 4)`, `class_labels` int64 `(N,)`, and what else
    `names` says.
    """
    import numpy
    import torch

    pixels = torch.stack([torch.as_tensor(row["pixel_values"]) for row in rows])
    known = all("boxes" in row for row in rows)
    if not known and any("boxes" in row for row in rows):
        raise ValueError("some rows have no label")
    parts = ("boxes", "class_labels", *names) if known else ()
    targets = [{name: torch.as_tensor(row[name]) for name in parts} for row in rows]
    frames = numpy.stack([numpy.asarray(row["frame"]) for row in rows])
    keys = tuple(row.get("key", "") for row in rows)
    return Batch({"pixel_values": pixels}, targets if known else None, keys, context={"frames": frames})


def training_labels(batch: Batch) -> list[dict[str, torch.Tensor]]:
    """Targets as networks want them: boxes as middle and size in shares of the side."""
    import torch

    side = batch.inputs["pixel_values"].shape[-1]
    labels = []
    for target in batch.targets:
        start, end = target["boxes"].float().split(2, dim=1)
        boxes = torch.cat([(start + end) / 2, end - start], 1) / side
        labels.append({**target, "boxes": boxes})
    return labels


def varied(batch: Batch, generator: torch.Generator, *, mirror: bool, partners: Sequence[int] = ()) -> Batch:
    """Each picture a little moved, scaled and lit otherwise, its objects with it.

    Objects of which too little is left in the picture are left out, and points that are no longer in it.

    Args:
        batch: pixels in [0, 255] on any device; its targets have boxes and class ids, and may have `masks`
            uint8 `(N, S, S)` or `keypoints` `(N, K, 3)` in pixels of the square, with visibility.
        generator: every draw comes from it.
        mirror: mirror half of the pictures, left and right.
        partners: of each of K points the one that it becomes in a mirror; by default itself.
    """
    import torch
    from torch.nn.functional import affine_grid, grid_sample

    pixels = batch.inputs["pixel_values"]
    drawn = torch.rand((6, len(pixels)), generator=generator, device=generator.device)
    size, right, down, light, contrast, flip = drawn.to(pixels.device, non_blocking=True) * 2 - 1
    scale = torch.exp(0.3 * size)
    sign = torch.where(flip < 0, -1.0, 1.0) if mirror else torch.ones_like(flip)
    right, down = 0.3 * right, 0.3 * down
    zero = torch.zeros_like(scale)
    # A point of the new picture shows the point of the old one at scale * point + shift, in [-1, 1].
    grid = torch.stack([sign * scale, zero, right, zero, scale, down], 1).view(-1, 2, 3)
    moved = grid_sample(
        pixels.float(),
        affine_grid(grid, list(pixels.shape), align_corners=False),
        padding_mode="border",
        align_corners=False,
    )
    mean = moved.mean((1, 2, 3), keepdim=True)
    light, contrast = ((1 + 0.25 * factor).view(-1, 1, 1, 1) for factor in (light, contrast))
    moved = (((moved - mean) * contrast + mean) * light).clamp_(0, 255)
    targets = batch.targets and [
        _moved(target, grid[number], pixels.shape[-1], partners)
        for number, target in enumerate(batch.targets)
    ]
    return replace(batch, inputs={"pixel_values": moved}, targets=targets)


def _moved(
    target: Mapping[str, torch.Tensor], grid: torch.Tensor, side: int, partners: Sequence[int]
) -> dict[str, torch.Tensor]:
    """An image's objects in its varied picture; `grid` `(2, 3)` says where its points come from."""
    import torch

    # There is no shear, so each axis is a scale and a shift.
    scale, shift = torch.stack([grid[0, 0], grid[1, 1]]), grid[:, 2]
    corners = (target["boxes"].view(-1, 2, 2) / side * 2 - 1 - shift) / scale
    whole = torch.cat([corners.amin(1), corners.amax(1)], 1)
    inside = whole.clamp(-1, 1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (inside, whole)]
    kept = areas[0] > _LEAST_LEFT * areas[1]
    moved = {
        "boxes": ((inside[kept] + 1) / 2 * side).to(target["boxes"].dtype),
        "class_labels": target["class_labels"][kept],
    }
    if "masks" in target:
        moved["masks"] = _moved_masks(target["masks"][kept], grid)
    if "keypoints" in target:
        points = target["keypoints"][kept]
        if partners and bool(scale[0] < 0):
            points = points[:, list(partners)]
        places = (points[..., :2] / side * 2 - 1 - shift) / scale
        seen = torch.where((places.abs() <= 1).all(-1), points[..., 2], 0)
        moved["keypoints"] = torch.cat([(places + 1) / 2 * side, seen[..., None]], -1).to(points.dtype)
    return moved


def _moved_masks(masks: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    from torch.nn.functional import affine_grid, grid_sample

    if not len(masks):
        return masks
    # The objects of a picture move alike, so they are its channels.
    field = affine_grid(grid[None], [1, *masks.shape], align_corners=False)
    return grid_sample(masks[None].float(), field, mode="nearest", align_corners=False)[0].to(masks.dtype)


def found_in(model: Model, batch: Batch) -> list[Found]:
    """What the network finds in each image of a batch that has been normalised.

    Raises:
        ModelError: its answers are no numbers.
    """
    pixels = batch.inputs["pixel_values"]
    outputs = model.network(pixel_values=pixels)
    if getattr(outputs, "detections", None) is not None:
        answers = outputs.detections
    else:
        answers = _from_queries(outputs, len(model.settings["classes"]), pixels.shape[-1])
    return [_found(answer, frame) for answer, frame in zip(answers, batch.context["frames"], strict=True)]


def _from_queries(outputs: Any, classes: int, side: int) -> list[dict[str, torch.Tensor]]:
    """Boxes of a DETR, one class for each query and class of enough score.

    A network with a logit more than there are classes has one for no object; else each class has its own
    probability.
    """
    import torch

    logits = outputs.logits.float()
    scores = logits.softmax(-1)[..., :-1] if logits.shape[-1] == classes + 1 else logits.sigmoid()
    middle, size = outputs.pred_boxes.float().split(2, dim=-1)
    boxes = torch.cat([middle - size / 2, middle + size / 2], -1) * side
    answers = []
    for of_image, places in zip(scores, boxes, strict=True):
        best, order = of_image.flatten().topk(min(MOST_OBJECTS, of_image.numel()))
        answers.append({"boxes": places[order // classes], "scores": best, "labels": order % classes})
    return answers


def _found(answer: Mapping[str, torch.Tensor], frame: Frame) -> Found:
    import numpy
    import torch

    scores, order = answer["scores"].detach().float().cpu().sort(descending=True, stable=True)
    boxes = answer["boxes"].detach().double().cpu()
    if not bool(torch.isfinite(scores).all() and torch.isfinite(boxes).all()):
        raise ModelError(
            "the network answers with something other than numbers",
            found="NaN or infinite boxes",
            remedy="Train again with a lower learning rate or without mixed precision",
        )
    order = order[scores >= LEAST_SCORE][:MOST_OBJECTS]
    places = out_of_square(boxes[order].numpy().reshape(-1, 2, 2), frame).reshape(-1, 4)
    more = {
        name: tensor.detach().cpu()[order]
        for name, tensor in answer.items()
        if name not in ("boxes", "scores", "labels")
    }
    return Found(
        numpy.asarray(places),
        answer["scores"].detach().float().cpu()[order].tolist(),
        answer["labels"].detach().cpu()[order].tolist(),
        more,
        frame,
    )


def confidence_of(scores: Sequence[float], least: float) -> float:
    """How sure an answer is as a whole: the mean of what it shows; of nothing, that nothing is there."""
    shown = [score for score in scores if score >= least]
    return sum(shown) / len(shown) if shown else 1 - max(scores, default=0.0)
