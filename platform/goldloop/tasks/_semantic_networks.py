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
