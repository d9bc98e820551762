"""Detectors: what is prepared for them, how batches vary, what they say in pixels of the image.

B = images, S = side of the square in pixels, N = objects of an image. Boxes are left, top, right, bottom in
pixels of the square until a network wants them otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop.errors import ModelError
from goldloop.tasks._images import image_model
from goldloop.tasks._letterbox import out_of_square
from goldloop.tasks._rows import keys_of, stacked
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
    import torch

    pixels = stacked(rows, "pixel_values")
    known = all("boxes" in row for row in rows)
    if not known and any("boxes" in row for row in rows):
        raise ValueError("some rows have no label")
    parts = ("boxes", "class_labels", *names) if known else ()
    targets = [{name: torch.as_tensor(row[name]) for name in parts} for row in rows]
    frames = stacked(rows, "frame").numpy()
    return Batch(
        {"pixel_values": pixels}, targets if known else None, keys_of(rows), context={"frames": frames}
    )


def training_labels(batch: Batch) -> list[dict[str, torch.Tensor]]:
    """Targets as networks want them: boxes as middle and size in shares of the side.

    Objects whose box has no area, as those that have left a varied picture, are left out. Networks want the
    others one behind the other, and their losses match them with answers on the host in any case: so this
    waits for the device, once a batch.
    """
    import torch

    side = batch.inputs["pixel_values"].shape[-1]
    boxes = torch.cat([target["boxes"].float() for target in batch.targets])
    there = (boxes[:, 2:] > boxes[:, :2]).all(1)
    known, labels, first = there.tolist(), [], 0
    for target in batch.targets:
        last = first + len(target["boxes"])
        own, kept = target, sum(known[first:last])
        if kept < last - first:
            order = there[first:last].to(torch.uint8).argsort(descending=True, stable=True)[:kept]
            own = {name: values[order] for name, values in target.items()}
        first = last
        start, end = own["boxes"].float().split(2, dim=1)
        labels.append({**own, "boxes": torch.cat([(start + end) / 2, end - start], 1) / side})
    return labels


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
