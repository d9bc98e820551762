"""Losses of networks that choose classes: smoothed, weighed by class, and focal (Lin et al., 2017).

    - sum_c  w_c  q_c  (1 - p_c)^gamma  log p_c        one class of C; p = softmax
    - mean_c [w_c q_c (1 - p_c)^gamma log p_c + (1 - q_c) p_c^gamma log(1 - p_c)]    each class by itself

p = what the network says, q = what is true, smoothed, or a mixture of two truths; w = class weights.
With neither smoothing, weights nor gamma this is cross-entropy; with smoothing and weights it is what
`torch.nn.functional.cross_entropy` gives for one example. The loss of a batch is the mean over its examples
(a tagger's: over its tokens), never divided by the sum of their weights: the parts of a batch then add up to
the whole, whatever classes are in them. So that a weighted loss is as large as a plain one, weights have mean
1 over the training labels.

Nothing here waits for the device.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from goldloop.errors import TrainingError
from goldloop.tasks._classes import nearest
from goldloop.tasks.base import LossOptions, Task

if TYPE_CHECKING:
    import torch

CLASS_LOSS_OPTIONS = frozenset({"label_smoothing", "class_weights", "focal_gamma"})
"""What the losses below heed."""

_LEAST_DOUBT = 1e-6
"""Below it an exponent under 1 would have a gradient without bounds."""


def class_weights(
    task: Task[Any], targets: Iterable[Any], choice: Literal["balanced", "sqrt"] | Mapping[str, float]
) -> tuple[float, ...]:
    """How much each class counts, by id; the mean over the labels of `targets` is 1.

    Args:
        task: says which classes there are and how often a target has each (`Task.class_counts`).
        targets: of the training split.
        choice: weights by name, 1 for a class that is not named; `balanced`: as the inverse of a class's
            share of the labels; `sqrt`: as the square root of that, 1 for a class without a label.

    Raises:
        TrainingError: the task has no such class, or no classes.
    """
    if not isinstance(choice, str):
        for name in choice:
            _check_known(name, task)
    counts: Counter[str] = Counter()
    for target in targets:
        counts.update(task.class_counts(target))
    if isinstance(choice, str):
        power = {"balanced": 1.0, "sqrt": 0.5}[choice]
        raw = {name: counts[name] ** -power for name in task.classes if counts[name]}
    else:
        raw = {name: float(choice.get(name, 1.0)) for name in task.classes}
    labels = sum(counts[name] for name in raw)
    mean = sum(counts[name] * weight for name, weight in raw.items()) / labels if labels else 1.0
    return tuple(raw[name] / mean if name in raw else 1.0 for name in task.classes)


def _check_known(name: str, task: Task[Any]) -> None:
    if name in task.classes:
        return
    near = nearest(name, task.classes)
    raise TrainingError(
        "a weight for a class that the task does not have",
        where="training.class_weights",
        found=repr(name),
        expected=f"one of {', '.join(task.classes)}" if task.classes else "none: the task has no classes",
        remedy=f"Did you mean {near!r}?" if near else "Leave it out",
    )


def choice_loss(logits: torch.Tensor, targets: torch.Tensor, options: LossOptions) -> torch.Tensor:
    """The mean loss over examples whose answer is one class.

    Args:
        logits: `(B, C)`.
        targets: class ids int64 `(B,)`, or each class's share of the truth, float `(B, C)`.
        options: how the loss weighs.
    """
    logits = logits.float()
    if targets.is_floating_point():
        return _of_shares(logits, targets, options).mean()
    return _of_ids(logits, targets, options).mean()


def choices_loss(logits: torch.Tensor, targets: torch.Tensor, options: LossOptions) -> torch.Tensor:
    """The mean loss over examples and classes, where each class is chosen by itself.

    Class weights weigh what is chosen. Smoothed, a target is `s / 2` or `1 - s / 2`.

    Args:
        logits: `(B, C)`.
        targets: float `(B, C)` in [0, 1].
        options: how the loss weighs.
    """
    from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

    logits = logits.float()
    targets = targets * (1 - options.label_smoothing) + options.label_smoothing / 2
    weights = None if options.class_weights is None else on_device(options.class_weights, logits.device)
    if not options.focal_gamma:
        return binary_cross_entropy_with_logits(logits, targets, pos_weight=weights)
    chosen, left = logsigmoid(logits), logsigmoid(-logits)
    hits = targets * _doubt(chosen, options.focal_gamma) * chosen
    if weights is not None:
        hits = hits * weights
    return -(hits + (1 - targets) * _doubt(left, options.focal_gamma) * left).mean()


def pixel_loss(logits: torch.Tensor, maps: torch.Tensor, options: LossOptions, void: int) -> torch.Tensor:
    """The loss averaged over an image's pixels that are not void, then over the images.

    Args:
        logits: `(B, C, h, w)`; stretched to the size of the maps.
        maps: uint8 `(B, S, S)`.
        options: how the loss weighs.
        void: the value of pixels that teach nothing.
    """
    from torch.nn.functional import interpolate

    stretched = interpolate(logits.float(), maps.shape[-2:], mode="bilinear", align_corners=False)
    losses = _of_ids(stretched, maps.long(), options, ignored=void)
    known = (maps != void).sum((1, 2)).clamp(min=1)
    return (losses.sum((1, 2)) / known).mean()


def tag_losses(logits: torch.Tensor, tags: torch.Tensor, options: LossOptions, ignored: int) -> torch.Tensor:
    """The loss of each token, 0 for those without a tag, in the shape of `tags`.

    Both tags of a class, B and I, have its weight; no class (O) has weight 1.

    Args:
        logits: `(..., 2 C + 1)`.
        tags: int64 `(...)`: 0 is no class, 2 c + 1 and 2 c + 2 are class c's.
        options: how the loss weighs.
        ignored: the tag of what is no token.
    """
    of_tags = options
    if options.class_weights is not None:
        doubled = tuple(weight for weight in options.class_weights for _ in "BI")
        of_tags = LossOptions(options.label_smoothing, (1.0, *doubled), options.focal_gamma)
    flat = _of_ids(logits.float().flatten(0, -2), tags.flatten(), of_tags, ignored)
    return flat.view(tags.shape)


def _of_ids(
    logits: torch.Tensor, targets: torch.Tensor, options: LossOptions, ignored: int = -100
) -> torch.Tensor:
    """Losses `(B, ...)` of logits `(B, C, ...)` by class ids `(B, ...)`; 0 where a target is ignored."""
    from torch.nn.functional import cross_entropy

    smoothing, gamma = options.label_smoothing, options.focal_gamma
    weights = None if options.class_weights is None else on_device(options.class_weights, logits.device)
    if not gamma:
        return cross_entropy(
            logits, targets, weights, ignore_index=ignored, label_smoothing=smoothing, reduction="none"
        )
    terms = _terms(logits, weights, gamma)
    known = targets != ignored
    of_truth = terms.gather(1, targets.where(known, targets.new_zeros(())).unsqueeze(1)).squeeze(1)
    losses = (1 - smoothing) * of_truth + smoothing * terms.mean(1) if smoothing else of_truth
    return losses * known


def _of_shares(logits: torch.Tensor, targets: torch.Tensor, options: LossOptions) -> torch.Tensor:
    """Losses `(B,)` of logits `(B, C)` by each class's share of the truth `(B, C)`."""
    weights = None if options.class_weights is None else on_device(options.class_weights, logits.device)
    smoothed = targets * (1 - options.label_smoothing) + options.label_smoothing / logits.shape[1]
    return (smoothed * _terms(logits, weights, options.focal_gamma)).sum(1)


def _terms(logits: torch.Tensor, weights: torch.Tensor | None, gamma: float) -> torch.Tensor:
    """What each class would cost if it were the true one, `(B, C, ...)`."""
    logs = logits.log_softmax(1)
    terms = -logs if not gamma else -logs * _doubt(logs, gamma)
    return terms if weights is None else terms * weights.view(-1, *[1] * (logits.ndim - 2))


def _doubt(logs: torch.Tensor, gamma: float) -> torch.Tensor:
    """`(1 - p) ** gamma` from log p."""
    return (-logs.expm1()).clamp(min=_LEAST_DOUBT if gamma < 1 else 0.0).pow(gamma)


@functools.lru_cache(maxsize=32)
def on_device(values: Sequence[float], device: torch.device) -> torch.Tensor:
    """Numbers that do not change as a tensor, sent to the device once."""
    import torch

    with torch.inference_mode(False):
        return torch.tensor(values, dtype=torch.float32, device=device)
