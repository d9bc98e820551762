"""RandAugment (Cubuk et al., 2019) of a whole batch at once: random operations of random strength.

B = images, S = side in pixels. Each image draws its operations by itself. What two of an image's draws say of
one operation is added up, and operations are applied in one order: those that move, those of a channel's
range, those that mix colours, then the rest. So each is computed once for the batch, whatever was drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from goldloop.tasks._augmentation import Draws

MOVES = ("shear across", "shear along", "move across", "move along", "turn")
COLOURS = (
    "nothing", "brightness", "colour", "contrast", "sharpness", "posterize", "solarize", "range", "equalize",
)  # fmt: skip

_LEAST, _MOST = 0.1, 0.5
"""Bounds of the strength, 1 being the most that the paper has; about its 9 of 30 in the mean."""
_GREY = (0.299, 0.587, 0.114)
_FINE = 2.0**-10
"""Steps of colour that nobody sees."""


@dataclass(frozen=True, slots=True)
class Operations:
    """What was drawn.

    Attributes:
        amounts: of each operation that may be drawn its strength, `(B,)`, of either sign; 0: not drawn.
        expected: how many images an operation is drawn for, in the mean.
    """

    amounts: dict[str, torch.Tensor]
    expected: float

    def amount(self, name: str) -> torch.Tensor:
        """An operation's strength, `(B,)`."""
        return self.amounts[name]

    def chosen(self, name: str) -> torch.Tensor:
        """Which images an operation was drawn for, bool `(B, 1, 1, 1)`."""
        return (self.amounts[name] != 0).view(-1, 1, 1, 1)


def draw_operations(draws: Draws, count: int, *, bends: bool) -> Operations:
    """So many operations for each image.

    Args:
        draws: for the batch.
        count: operations for each image.
        bends: whether there are those that move, turn and shear.
    """
    import torch

    names = (*MOVES, *COLOURS) if bends else COLOURS
    which, strength, sign = draws.shares(3, count)
    drawn = (which * len(names)).long().clamp(max=len(names) - 1)
    strength = _LEAST + (_MOST - _LEAST) * strength
    strength = torch.where(sign < 0.5, -strength, strength)
    amounts = {name: (strength * (drawn == number)).sum(0) for number, name in enumerate(names)}
    return Operations(amounts, draws.images * count / len(names))


def frames_of(operations: Operations) -> torch.Tensor:
    """The frames of the operations that move, `(B, 2, 3)`."""
    import torch

    angle = math.radians(30) * operations.amount("turn")
    across, along = (0.3 * operations.amount(name) for name in MOVES[:2])
    right, down = (0.9 * operations.amount(name) for name in MOVES[2:4])
    cosine, sine = torch.cos(angle), torch.sin(angle)
    first = [cosine - sine * along, cosine * across - sine, right]
    second = [sine + cosine * along, sine * across + cosine, down]
    return torch.stack([*first, *second], 1).view(-1, 2, 3)


def colours_of(pixels: torch.Tensor, operations: Operations) -> torch.Tensor:
    """Pictures, float32 `(B, 3, S, S)` in [0, 255], after the operations that change colours."""
    import torch

    changed = _mixed_colours(pixels, operations).clamp_(0, 255)
    _change_drawn(changed, operations, "sharpness", _sharpened)
    threshold = 255 * (1 - operations.amount("solarize").abs()).clamp(0, 1).view(-1, 1, 1, 1)
    inverted = operations.chosen("solarize") & (changed >= threshold)
    changed = torch.where(inverted, 255 - changed, changed)
    step = 2 ** (8 * operations.amount("posterize").abs()).round().clamp(max=4).view(-1, 1, 1, 1)
    step = torch.where(operations.chosen("posterize"), step, _FINE)
    changed.div_(step).floor_().mul_(step)
    _change_drawn(changed, operations, "equalize", _equalized)
    return changed


def _change_drawn(
    pixels: torch.Tensor,
    operations: Operations,
    name: str,
    change: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> None:
    """Change, in place, the pictures that a dear operation was drawn for, computing few others with them.

    How many these are is not known without asking the device, so it is twice as many as are to be expected,
    and two: where it was drawn for more, the last of them are left as they are.

    Args:
        pixels: `(B, 3, S, S)`.
        operations: what was drawn.
        name: of the operation.
        change: some of the pictures, and the operation's strength for each.
    """
    import torch

    most = min(len(pixels), 2 + math.ceil(2 * operations.expected))
    amounts = operations.amount(name)
    rows = (amounts != 0).to(torch.uint8).argsort(descending=True, stable=True)[:most]
    part, amounts = pixels[rows], amounts[rows]
    pixels.index_copy_(0, rows, torch.where((amounts != 0).view(-1, 1, 1, 1), change(part, amounts), part))


def _mixed_colours(pixels: torch.Tensor, operations: Operations) -> torch.Tensor:
    """What mixes an image's channels: one matrix and one offset for each image."""
    import torch

    chosen = operations.chosen("range").view(-1, 1)
    low, high = pixels.amin((2, 3)), pixels.amax((2, 3))
    wide = chosen & (high > low)
    scale = torch.where(wide, 255 / (high - low).clamp(min=1), 1.0)
    offset = torch.where(wide, -low * scale, 0.0)
    bright, colour, contrast = (
        (1 + 0.9 * operations.amount(name)).view(-1, 1) for name in ("brightness", "colour", "contrast")
    )
    scale, offset = scale * bright, offset * bright
    grey = torch.stack([torch.full_like(bright, weight) for weight in _GREY], 2)
    own = torch.diag_embed(colour.expand(-1, 3))
    matrix = (own + (1 - colour).unsqueeze(2) * grey) @ torch.diag_embed(scale)
    offset = (own + (1 - colour).unsqueeze(2) * grey) @ offset.unsqueeze(2)
    mean = grey @ (matrix @ pixels.mean((2, 3)).unsqueeze(2) + offset)
    contrast = contrast.unsqueeze(2)
    matrix, offset = matrix * contrast, offset * contrast + mean * (1 - contrast)
    return torch.baddbmm(offset, matrix, pixels.flatten(2)).view_as(pixels)


def _sharpened(pixels: torch.Tensor, amounts: torch.Tensor) -> torch.Tensor:
    """Pictures that are sharper, or blurred where the strength is below 0."""
    from torch.nn.functional import avg_pool2d

    blurred = avg_pool2d(pixels, 3, stride=1, padding=1, count_include_pad=False)
    # The paper's blur is the mean of the nine pixels and four times the one in the middle.
    factor = (9 / 13 * 0.9 * amounts).view(-1, 1, 1, 1)
    return (pixels + (pixels - blurred) * factor).clamp_(0, 255)


def _equalized(pixels: torch.Tensor, amounts: torch.Tensor) -> torch.Tensor:
    """Pictures in whose channels all levels are as frequent, whatever the strength."""
    import torch
    from torchvision.transforms.v2.functional import equalize_image

    equalized: torch.Tensor = equalize_image(pixels.round().to(torch.uint8))
    return equalized.float()
