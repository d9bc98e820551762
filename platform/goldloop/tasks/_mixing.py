"""Images made of several: mixup, cutmix and mosaic, each with those before it in the batch.

Batches are drawn at random, so the image before another one in the batch is a random one. B = images, S =
side in pixels, C = classes.

- mixup (Zhang et al., 2018): an image shines through another, shares of Beta(1/2, 1/2).
- cutmix (Yun et al., 2019): an image has a rectangle of another, its area uniform.
- mosaic (Bochkovskiy et al., 2020): four pictures around a point, each at half its size or more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from goldloop.tasks._augmentation import (
    Draws,
    covered,
    frame_of,
    rectangles,
    sampled,
)
from goldloop.tasks._moved_targets import moved_objects, whole_windows

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

_OFF_CENTRE = 0.4
_SMALLEST, _LARGEST = 0.5, 0.9


def shares_of(targets: torch.Tensor, classes: int) -> torch.Tensor:
    """Class ids `(B,)` as shares of the truth, float `(B, C)`; shares are left as they are."""
    import torch

    if targets.is_floating_point():
        return targets
    return (targets.unsqueeze(1) == torch.arange(classes, device=targets.device)).float()


def mixed(
    pixels: torch.Tensor, draws: Draws, mixup: float, cutmix: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures `(B, 3, S, S)` mixed with the one before, and the share `(B,)` that is their own.

    Args:
        pixels: float.
        draws: for the batch.
        mixup: the share of batches that are laid over each other.
        cutmix: the share of those that are cut; of both together a batch gets one at most, and where they are
            more than 1 their shares are in proportion.
    """
    import torch

    together = max(mixup + cutmix, 1.0)
    coin = draws.once() * together
    other = pixels.roll(1, 0)
    own = torch.ones(len(pixels), device=pixels.device)
    if mixup:
        # The arcsine law: Beta(1/2, 1/2).
        drawn = torch.sin(math.pi / 2 * draws.shares()).square()
        own = torch.where(coin < mixup, torch.maximum(drawn, 1 - drawn), own)
        pixels = other.lerp(pixels, own.view(-1, 1, 1, 1))
    if cutmix:
        chosen = (coin >= mixup) & (coin < mixup + cutmix)
        inside, share = _cut(draws, chosen, pixels.shape[-1])
        pixels = torch.where(inside, other, pixels)
        own = own - share
    return pixels, own


def cut_in(draws: Draws, share: float, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Which pixels show another picture, in a share of batches: bool `(B, 1, S, S)`; and how many, `(B,)`."""
    return _cut(draws, draws.once() < share, side)


def _cut(draws: Draws, chosen: torch.Tensor, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    inside = covered(rectangles(draws, draws.shares()), side) & chosen
    return inside, inside.float().mean((1, 2, 3))


def mosaic(
    pixels: torch.Tensor, targets: Sequence[Mapping[str, torch.Tensor]] | None, draws: Draws, share: float
) -> tuple[torch.Tensor, list[dict[str, torch.Tensor]] | None]:
    """Pictures each made of four, in a share of batches: the picture itself and the three before it.

    Args:
        pixels: `(B, 3, S, S)` in [0, 255].
        targets: the objects in them, see `_varied_batches.augment_objects`; or None.
        draws: for the batch.
        share: of batches.

    Returns:
        float32 pixels, and of each picture the objects of all four.
    """
    import torch

    side = pixels.shape[-1]
    chosen = draws.once() < share
    middle, (size,) = _OFF_CENTRE * draws.sides(2), draws.shares(1)
    size = _SMALLEST + (_LARGEST - _SMALLEST) * size
    still = torch.zeros_like(size)
    whole = frame_of(still + 1, still + 1, still, still)
    made = pixels.float()
    objects: list[list[dict[str, torch.Tensor]]] = [[] for _ in pixels]
    for number, (across, along) in enumerate(((-1, -1), (1, -1), (-1, 1), (1, 1))):
        # The corner of the picture that lies in the middle is the one opposite to its quarter.
        frames = frame_of(1 / size, 1 / size, -across - middle[0] / size, -along - middle[1] / size)
        windows = _quarter(middle, across, along)
        view = sampled(pixels.roll(number, 0), frames, "border")
        made = torch.where(covered(windows, side) & chosen, view, made)
        if not targets:
            continue
        if number == 0:
            frames = torch.where(chosen, frames, whole)
            windows = torch.where(chosen, windows, whole_windows(windows))
        there = chosen.expand(len(pixels)) if number else None
        before = [targets[(place - number) % len(targets)] for place in range(len(targets))]
        for own, found in zip(
            objects, moved_objects(before, frames, side, windows=windows, there=there), strict=True
        ):
            own.append(found)
    if not targets:
        return made, None
    return made, [{name: torch.cat([part[name] for part in own]) for name in own[0]} for own in objects]


def _quarter(middle: torch.Tensor, across: int, along: int) -> torch.Tensor:
    """One of the four parts around the middles `(2, B)`, `(B, 4)` in [-1, 1]."""
    import torch

    x, y = middle
    edge = torch.ones_like(x)
    left, right = (-edge, x) if across < 0 else (x, edge)
    top, bottom = (-edge, y) if along < 0 else (y, edge)
    return torch.stack([left, top, right, bottom], 1)
