"""How training images are varied, anew in each epoch: all of a batch at once, on its device.

    pixels uint8 (B, 3, S, S) -> four in one -> cropped, mirrored, turned, moved -> lit otherwise, RandAugment
                              -> a rectangle painted over -> mixed with another image -> float32 (B, 3, S, S)

B = images, S = side in pixels. A *frame* `(2, 3)` says of each place of the new picture where in the old one
it comes from, both in [-1, 1] across and down; all that moves pixels is one frame, so they are sampled once.
Boxes, masks, points and maps follow the same frame (`_moved_targets.py`).

Every draw comes from the given generator, and nothing waits for the device: what happens to some images only,
happens to all and is kept where it was drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

_MOST_STRETCHED = 4 / 3
_PAINTED = (0.02, 0.2)


@dataclass(frozen=True, slots=True)
class AugmentationOptions:
    """How training images are varied.

    Attributes:
        geometry: a little turned, moved and scaled, as far as the kind of task allows.
        colour: a little lighter or darker, with more or less contrast.
        crop: the least share of a picture's area that a random crop keeps, in (0, 1].
        flip: mirrored half of the time.
        rand_augment: so many operations of RandAugment on each image.
        erase: share of images with a rectangle painted over.
        mixup: share of batches whose images are each laid over another, their answers mixed alike.
        cutmix: share of batches whose images each have a rectangle of another.
        mosaic: share of batches whose pictures are each made of four. Shares are in [0, 1].
    """

    geometry: bool = True
    colour: bool = True
    crop: float | None = None
    flip: Literal["horizontal", "vertical", "both"] | None = None
    rand_augment: int | None = None
    erase: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    mosaic: float = 0.0

    def beyond(self, supported: frozenset[str]) -> tuple[str, ...]:
        """What is asked for that is none of the supported, by the fields' names."""
        return tuple(
            field.name
            for field in fields(self)
            if getattr(self, field.name)
            and getattr(self, field.name) != field.default
            and field.name not in supported
        )

    def mirrored(self) -> AugmentationOptions:
        """The same, mirrored left and right too."""
        return replace(self, flip="both" if self.flip in ("vertical", "both") else "horizontal")


BY_DEFAULT = AugmentationOptions()
OF_IMAGES = frozenset({"geometry", "colour", "crop", "flip", "rand_augment", "erase"})
OF_CLASSES = OF_IMAGES | {"mixup", "cutmix"}
OF_OBJECTS = OF_IMAGES | {"mosaic"}
OF_PIXELS = OF_IMAGES | {"cutmix"}
"""What kinds of task can do whose answers are about the whole image, its classes, objects or pixels."""


@dataclass(frozen=True, slots=True)
class Strength:
    """How far a kind of task lets its pictures vary.

    Attributes:
        zoom: bounds of the side of what is seen, as a share of the picture's side.
        stretch: by how much width and height may be scaled otherwise.
        turn: degrees to either side.
        shift: half sides to either side.
        inside: whether what is seen lies somewhere in the picture, or around it where it is larger.
        light, contrast, tint: by how much brightness, contrast and each colour are scaled at most.
        beyond: what is seen beyond the picture's border.
        bends: whether RandAugment may turn and shear.
    """

    zoom: tuple[float, float]
    stretch: float = 0.0
    turn: float = 0.0
    shift: float = 0.0
    inside: bool = False
    light: float = 0.25
    contrast: float = 0.25
    tint: float = 0.0
    beyond: Literal["reflection", "border"] = "reflection"
    bends: bool = True


WHOLE_IMAGE = Strength(zoom=(1 / 1.1, 1 / 0.9), turn=10, shift=0.16, light=0.2, contrast=0.2)
"""For answers about the whole image, which must stay in the picture."""
OBJECTS = Strength(zoom=(math.exp(-0.3), math.exp(0.3)), shift=0.3, beyond="border", bends=False)
"""For boxes, which are upright: nothing is turned."""
PIXELS = Strength(zoom=(0.5, 1.25), stretch=0.1, inside=True, tint=0.06)
"""For classes of pixels."""


@dataclass(frozen=True, slots=True)
class Draws:
    """Random numbers for a batch of images, from one generator, on the images' device."""

    generator: torch.Generator
    images: int
    device: torch.device

    def shares(self, *shape: int) -> torch.Tensor:
        """Numbers in [0, 1), `(*shape, B)`."""
        return self._rand(*shape, self.images)

    def sides(self, *shape: int) -> torch.Tensor:
        """Numbers in [-1, 1), `(*shape, B)`."""
        return self.shares(*shape) * 2 - 1

    def once(self) -> torch.Tensor:
        """One number in [0, 1) for the batch, `()`."""
        return self._rand()

    def _rand(self, *shape: int) -> torch.Tensor:
        import torch

        drawn = torch.rand(shape, generator=self.generator, device=self.generator.device)
        return drawn.to(self.device, non_blocking=True)


@dataclass(frozen=True, slots=True)
class Varied:
    """Pictures that were varied.

    Attributes:
        pixels: float32 `(B, 3, S, S)` in [0, 255].
        frames: where their places come from, `(B, 2, 3)`; None: nothing has moved.
        painted: rectangles that were painted over, `(B, 4)`: left, top, right, bottom in [-1, 1], of no area
            where none was; None: nowhere.
    """

    pixels: torch.Tensor
    frames: torch.Tensor | None
    painted: torch.Tensor | None


def vary(pixels: torch.Tensor, draws: Draws, strength: Strength, options: AugmentationOptions) -> Varied:
    """Each image in another view, light and state; the images given stay as they are.

    Args:
        pixels: `(B, 3, S, S)` in [0, 255], of any type.
        draws: for as many images.
        strength: how far the kind of task lets them vary.
        options: what is to be done; what mixes images is not done here.
    """
    from goldloop.tasks._rand_augment import colours_of, draw_operations, frames_of

    operations = None
    if options.rand_augment is not None:
        operations = draw_operations(draws, options.rand_augment, bends=strength.bends)
    frames = draw_frames(draws, strength, options)
    if operations is not None and strength.bends:
        frames = frames_of(operations) if frames is None else within(frames, frames_of(operations))
    varied = sampled(pixels, frames, strength.beyond)
    if options.colour:
        relight(varied, draws, strength)
    if operations is not None:
        varied = colours_of(varied, operations)
    painted = paint_over(varied, draws, options.erase) if options.erase else None
    return Varied(varied, frames, painted)


def draw_frames(draws: Draws, strength: Strength, options: AugmentationOptions) -> torch.Tensor | None:
    """Where the places of new pictures come from, `(B, 2, 3)`; None where nothing is to move."""
    import torch

    frames = None
    if options.geometry:
        zoom, stretch, turn, right, down = draws.sides(5)
        low, high = (math.log(bound) for bound in strength.zoom)
        wide = torch.exp((low + high) / 2 + (high - low) / 2 * zoom)
        high_side = wide * (1 + strength.stretch * stretch)
        room = ((1 - wide), (1 - high_side)) if strength.inside else (strength.shift, strength.shift)
        frames = frame_of(wide, high_side, room[0] * right, room[1] * down)
        if strength.turn:
            frames = within(frames, _turned(math.radians(strength.turn) * turn))
    if options.crop is not None:
        area, aspect, right, down = draws.shares(4)
        side = (options.crop + (1 - options.crop) * area).sqrt()
        aspect = torch.exp(math.log(_MOST_STRETCHED) / 2 * (2 * aspect - 1))
        across, along = (side * aspect).clamp(max=1), (side / aspect).clamp(max=1)
        crop = frame_of(across, along, (1 - across) * (2 * right - 1), (1 - along) * (2 * down - 1))
        frames = crop if frames is None else within(crop, frames)
    if options.flip is not None:
        coins = torch.where(draws.shares(2) < 0.5, -1.0, 1.0)
        still = torch.ones_like(coins[0])
        across = still if options.flip == "vertical" else coins[0]
        along = still if options.flip == "horizontal" else coins[1]
        flip = frame_of(across, along, 0 * still, 0 * still)
        frames = flip if frames is None else within(frames, flip)
    return frames


def frame_of(
    across: torch.Tensor, along: torch.Tensor, right: torch.Tensor, down: torch.Tensor
) -> torch.Tensor:
    """Frames `(B, 2, 3)` that scale and shift each axis; all arguments `(B,)`."""
    import torch

    zero = torch.zeros_like(across)
    return torch.stack([across, zero, right, zero, along, down], 1).view(-1, 2, 3)


def _turned(angle: torch.Tensor) -> torch.Tensor:
    import torch

    cosine, sine, zero = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    return torch.stack([cosine, -sine, zero, sine, cosine, zero], 1).view(-1, 2, 3)


def within(outer: torch.Tensor, inner: torch.Tensor) -> torch.Tensor:
    """The frames `(B, 2, 3)` that see through `inner` what `outer` sees of the old picture."""
    import torch

    turned = outer[:, :, :2] @ inner
    return torch.cat([turned[:, :, :2], turned[:, :, 2:] + outer[:, :, 2:]], 2)


def sampled(pixels: torch.Tensor, frames: torch.Tensor | None, beyond: str) -> torch.Tensor:
    """New pictures, float32 `(B, C, S, S)`, a copy even where nothing moves."""
    import torch
    from torch.nn.functional import affine_grid, grid_sample

    if frames is None:
        return pixels.to(torch.float32, copy=True)
    grid = affine_grid(frames, list(pixels.shape), align_corners=False)
    seen: torch.Tensor = grid_sample(pixels.float(), grid, padding_mode=beyond, align_corners=False)
    return seen


def relight(pixels: torch.Tensor, draws: Draws, strength: Strength) -> None:
    """Give each picture another brightness, contrast and tint, in place."""
    light, contrast, *tint = 1 + draws.sides(5) * _column(
        [strength.light, strength.contrast, *[strength.tint] * 3], draws.device
    )
    mean = pixels.mean((1, 2, 3))
    for channel, shade in enumerate(tint):
        scale = contrast * light * shade
        offset = mean * (1 - contrast) * light * shade
        plane = pixels[:, channel]
        plane.mul_(scale.view(-1, 1, 1)).add_(offset.view(-1, 1, 1))
    pixels.clamp_(0, 255)


def _column(values: Sequence[float], device: torch.device) -> torch.Tensor:
    from goldloop.tasks._losses import on_device

    return on_device(tuple(values), device).unsqueeze(1)


def rectangles(draws: Draws, areas: torch.Tensor) -> torch.Tensor:
    """Rectangles in the pictures, `(B, 4)`: left, top, right, bottom in [-1, 1].

    Args:
        draws: say where and of which form, sides up to 3 : 1.
        areas: as shares of the picture, `(B,)`; what would stick out is cut off.
    """
    import torch

    form, right, down = draws.sides(3)
    aspect = torch.exp(math.log(3) / 2 * form)
    half = torch.stack([areas.sqrt() * aspect, areas.sqrt() / aspect], 1)
    middle = torch.stack([right, down], 1)
    return torch.cat([middle - half, middle + half], 1).clamp(-1, 1)


def covered(boxes: torch.Tensor, side: int) -> torch.Tensor:
    """Which pixels lie in a picture's rectangle, bool `(B, 1, S, S)`."""
    import torch

    places = (torch.arange(side, device=boxes.device) + 0.5) / side * 2 - 1
    left, top, right, bottom = boxes.view(-1, 4, 1).unbind(1)
    across = (places >= left) & (places < right)
    along = (places >= top) & (places < bottom)
    inside: torch.Tensor = (along.unsqueeze(2) & across.unsqueeze(1)).unsqueeze(1)
    return inside


def paint_over(pixels: torch.Tensor, draws: Draws, share: float) -> torch.Tensor:
    """Paint a rectangle of some colour into a share of the pictures, in place.

    Returns:
        the rectangles `(B, 4)`, of no area where there is none.
    """
    import torch

    chosen, area = draws.shares(2)
    least, most = _PAINTED
    areas = least + (most - least) * area
    painted: torch.Tensor = rectangles(draws, areas) * (chosen < share).unsqueeze(1)
    shades = 255 * draws.shares(3).T.view(-1, 3, 1, 1)
    pixels.copy_(torch.where(covered(painted, pixels.shape[-1]), shades, pixels))
    return painted
