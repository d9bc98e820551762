"""Networks that name the class of every pixel: from an image and its map of classes to theirs, and back.

    bytes -> upright RGB -> uint8 (3, S, S) }
    map of classes       -> uint8 (S, S)    } once; varied together on the device
    logits (C, h, w) -> each class as large as the image (H, W) -> the class that is highest

C = classes, S = side in pixels of the network's input, h and w = what the network makes of it. The whole
picture is squeezed into the square, as those do who train such networks; the answer is stretched back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from goldloop.errors import ModelError
from goldloop.tasks._class_maps import VOID
from goldloop.tasks._images import decode_upright

if TYPE_CHECKING:
    import torch

    from goldloop.tasks._class_maps import ClassMap

HEAD = "AutoModelForSemanticSegmentation"

_FARTHEST, _NEAREST = 0.8, 2.0
_STRETCH = 0.1
_LIGHT, _CONTRAST, _TINT = 0.25, 0.25, 0.06


def squeeze_image(content: Any, side: int) -> torch.Tensor:
    """A picture as the network's input, uint8 `(3, S, S)`.

    Args:
        content: a file's bytes, a `datasets.Image` row or a PIL image.
        side: S.

    Raises:
        ItemError: the bytes are no image that can be decoded.
    """
    import numpy
    import torch
    from PIL import Image

    resized = decode_upright(content, side).resize((side, side), Image.Resampling.BILINEAR)
    return torch.from_numpy(numpy.array(resized, dtype=numpy.uint8)).permute(2, 0, 1).contiguous()


def squeeze_map(pixels: ClassMap, side: int) -> torch.Tensor:
    """A map of classes as large as the network's input, uint8 `(S, S)`."""
    import numpy
    import torch
    from PIL import Image

    resized = Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST)
    return torch.from_numpy(numpy.array(resized, dtype=numpy.uint8))


def vary(
    pixels: torch.Tensor, maps: torch.Tensor, generator: torch.Generator, *, mirror: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Each image nearer or farther, moved and in another light, its map along with it.

    Args:
        pixels: `(B, 3, S, S)` in [0, 255], on any device.
        maps: uint8 `(B, S, S)` on the same device.
        generator: every draw comes from it.
        mirror: whether half of the images are mirrored, left to right.

    Returns:
        float32 `(B, 3, S, S)` in [0, 255], and uint8 `(B, S, S)`; what lies beyond the image is void.
    """
    import torch
    from torch.nn.functional import affine_grid, grid_sample

    drawn = torch.rand((6, len(pixels)), generator=generator, device=generator.device)
    tint = torch.rand((len(pixels), 3, 1, 1), generator=generator, device=generator.device)
    nearer, stretch, right, down, light, contrast = drawn.to(pixels.device, non_blocking=True)
    tint = 1 + _TINT * (2 * tint.to(pixels.device, non_blocking=True) - 1)
    wide = (1 / _FARTHEST) * (_FARTHEST / _NEAREST) ** nearer
    high = wide * (1 + _STRETCH * (2 * stretch - 1))
    # The window that is seen lies somewhere in the picture, or around it where it is larger.
    across, along = (1 - wide) * (2 * right - 1), (1 - high) * (2 * down - 1)
    side = torch.ones_like(wide)
    if mirror:
        coin = torch.rand(len(pixels), generator=generator, device=generator.device)
        side = torch.where(coin.to(pixels.device) < 0.5, -side, side)
    still = torch.zeros_like(wide)
    rows = torch.stack([side * wide, still, across, still, high, along], 1).view(-1, 2, 3)
    grid = affine_grid(rows, list(pixels.shape), align_corners=False)
    seen = grid_sample(pixels.float(), grid, padding_mode="reflection", align_corners=False)
    # Void, 255, becomes 0 by one step round the byte, and 0 is what is beyond the border.
    shifted = (maps + 1).float().unsqueeze(1)
    moved = grid_sample(shifted, grid, mode="nearest", align_corners=False).squeeze(1).to(torch.uint8) - 1
    mean = seen.mean((1, 2, 3), keepdim=True)
    bright = (1 + _LIGHT * (2 * light - 1)).view(-1, 1, 1, 1)
    strong = (1 + _CONTRAST * (2 * contrast - 1)).view(-1, 1, 1, 1)
    return (((seen - mean) * strong + mean) * bright * tint).clamp_(0, 255), moved


def pixel_loss(logits: torch.Tensor, maps: torch.Tensor, label_smoothing: float) -> torch.Tensor:
    """Cross-entropy, averaged over an image's pixels that are not void, then over the images.

    Args:
        logits: `(B, C, h, w)`; stretched to the size of the maps.
        maps: uint8 `(B, S, S)`.
        label_smoothing: in [0, 1).
    """
    from torch.nn.functional import cross_entropy, interpolate

    stretched = interpolate(logits.float(), maps.shape[-2:], mode="bilinear", align_corners=False)
    losses = cross_entropy(
        stretched, maps.long(), ignore_index=VOID, label_smoothing=label_smoothing, reduction="none"
    )
    known = (maps != VOID).sum((1, 2)).clamp(min=1)
    return (losses.sum((1, 2)) / known).mean()


def highest_classes(
    logits: torch.Tensor, sizes: Sequence[tuple[int, int]]
) -> list[tuple[ClassMap, float, list[float]]]:
    """Of each image its map, the mean of its pixels' highest probability, and each class's mean one.

    Args:
        logits: `(B, C, h, w)`.
        sizes: width and height of each image.

    Raises:
        ModelError: the network answers with something other than numbers.
    """
    import torch

    if not bool(torch.isfinite(logits).all()):
        raise ModelError(
            "the network answers with something other than numbers",
            found="NaN or infinite logits",
            remedy="Train again with a lower learning rate or without mixed precision",
        )
    answers = []
    for own, size in zip(logits.float(), sizes, strict=True):
        probabilities = own.softmax(0)
        sure = min(float(probabilities.amax(0).mean()), 1.0)
        answers.append((_stretched(own, *size), sure, probabilities.mean((1, 2)).tolist()))
    return answers


def _stretched(logits: torch.Tensor, width: int, height: int) -> ClassMap:
    """The highest class of each pixel; class by class, for all at once would be a hundred bytes per pixel."""
    import torch
    from torch.nn.functional import interpolate

    best = torch.full((height, width), -torch.inf, device=logits.device)
    chosen = torch.zeros((height, width), dtype=torch.uint8, device=logits.device)
    for number, layer in enumerate(logits):
        large = interpolate(layer[None, None], (height, width), mode="bilinear", align_corners=False)[0, 0]
        higher = large > best
        best = torch.where(higher, large, best)
        chosen[higher] = number
    pixels: ClassMap = chosen.cpu().numpy()
    return pixels
