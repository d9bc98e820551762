"""What is in a picture moves along when the picture does: boxes, masks, points, maps of classes.

B = images, S = side in pixels, N = objects of an image, K = points of an object. Frames `(B, 2, 3)` are those
of `_augmentation.py`. An object of which too little is left is *gone*: its box is 0, its mask empty, its
points are not labelled. It keeps its place in the tensors, so that their sizes are known without asking the
device; `_detectors.training_labels` leaves it out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from goldloop.tasks._augmentation import covered

if TYPE_CHECKING:
    import torch

    Objects = Mapping[str, torch.Tensor]

LEAST_LEFT = 0.3
"""Share of an object that must be left in a varied picture for it to be learned."""

_VISIBLE, _OCCLUDED = 2, 1


def moved_maps(maps: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    """Maps of classes, uint8 `(B, S, S)`, as the frames see them; 255 beyond the picture."""
    import torch

    # Void, 255, becomes 0 by one step round the byte, and 0 is what is beyond the border.
    shifted = (maps + 1).unsqueeze(1)
    return _nearest(shifted, frames).squeeze(1).to(torch.uint8) - 1


def _nearest(layers: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    """Layers `(B, C, S, S)` as the frames see them, float32; 0 beyond the picture."""
    from torch.nn.functional import affine_grid, grid_sample

    grid = affine_grid(frames, list(layers.shape), align_corners=False)
    return grid_sample(layers.float(), grid, mode="nearest", align_corners=False)


def moved_objects(
    targets: Sequence[Objects],
    frames: torch.Tensor,
    side: int,
    *,
    partners: Sequence[int] = (),
    windows: torch.Tensor | None = None,
    there: torch.Tensor | None = None,
) -> list[dict[str, torch.Tensor]]:
    """The objects of pictures as frames see them.

    Args:
        targets: see `_varied_batches.augment_objects`.
        frames: `(B, 2, 3)`.
        side: S.
        partners: as there.
        windows: the part of each new picture that shows the old one, `(B, 4)` in [-1, 1]; all by default.
        there: whether an image's objects are there at all, bool `(B,)`.
    """
    import torch

    boxes = _together(targets, "boxes")
    if windows is None:
        windows = whole_windows(frames[:, 0])
    least, most = windows.view(-1, 1, 1, 4)[..., :2], windows.view(-1, 1, 1, 4)[..., 2:]
    left, top, right, bottom = boxes.unbind(2)
    corners = torch.stack([left, top, right, top, right, bottom, left, bottom], 2)
    corners = corners.view(*boxes.shape[:2], 4, 2) / side * 2 - 1
    backward = inverse(frames)
    corners = _through(backward, corners.flatten(1, 2)).view_as(corners)
    whole = torch.cat([corners.amin(2), corners.amax(2)], 2)
    inside = whole.view(*boxes.shape[:2], 2, 2).maximum(least).minimum(most).flatten(2)
    visible, before = ((part[..., 2:] - part[..., :2]).prod(2) for part in (inside, whole))
    kept = visible > LEAST_LEFT * before
    if there is not None:
        kept = kept & there.view(-1, 1)
    moved = {"boxes": (inside + 1) / 2 * side * kept.unsqueeze(2)}
    if "keypoints" in targets[0]:
        mirrored = frames[:, 0, 0] * frames[:, 1, 1] < frames[:, 0, 1] * frames[:, 1, 0]
        points = _swapped(_together(targets, "keypoints"), partners, mirrored)
        places = _through(backward, (points[..., :2] / side * 2 - 1).flatten(1, 2)).view_as(points[..., :2])
        seen = ((places >= least) & (places <= most)).all(3) & kept.unsqueeze(2)
        seen = points[..., 2:] * seen.unsqueeze(3)
        moved["keypoints"] = torch.cat([(places + 1) / 2 * side, seen], 3)
    apart = _apart(targets, moved)
    if "masks" in targets[0]:
        for number, (objects, own) in enumerate(zip(apart, targets, strict=True)):
            here = covered(windows[number : number + 1], side)[0] & kept[number, : len(own["boxes"])].view(
                -1, 1, 1
            )
            objects["masks"] = _moved_masks(own["masks"], frames[number : number + 1], here)
    return apart


def whole_windows(like: torch.Tensor) -> torch.Tensor:
    """Windows `(B, 4)` that show all of each picture."""
    import torch

    edge = torch.ones_like(like[:, :2])
    return torch.cat([-edge, edge], 1)


def hidden_objects(
    targets: Sequence[Objects], painted: torch.Tensor, side: int
) -> list[dict[str, torch.Tensor]]:
    """The objects of pictures that rectangles `(B, 4)` in [-1, 1] were painted into.

    Objects of which too little is to be seen are gone; points under the paint are occluded.
    """
    import torch

    paint = ((painted + 1) / 2 * side).unsqueeze(1)
    boxes = _together(targets, "boxes")
    across = boxes[..., 2:].minimum(paint[..., 2:]) - boxes[..., :2].maximum(paint[..., :2])
    hidden = across.clamp(min=0).prod(2)
    kept = hidden <= (1 - LEAST_LEFT) * (boxes[..., 2:] - boxes[..., :2]).prod(2)
    moved = {"boxes": boxes * kept.unsqueeze(2)}
    if "keypoints" in targets[0]:
        points = _together(targets, "keypoints")
        low, high = paint[..., :2].unsqueeze(2), paint[..., 2:].unsqueeze(2)
        under = ((points[..., :2] >= low) & (points[..., :2] < high)).all(3)
        seen = torch.where(under & (points[..., 2] == _VISIBLE), float(_OCCLUDED), points[..., 2])
        seen = seen * kept.unsqueeze(2)
        moved["keypoints"] = torch.cat([points[..., :2], seen.unsqueeze(3)], 3)
    apart = _apart(targets, moved)
    if "masks" in targets[0]:
        for objects, own, still in zip(apart, targets, kept, strict=True):
            objects["masks"] = own["masks"] * still[: len(own["masks"])].view(-1, 1, 1)
    return apart


def inverse(frames: torch.Tensor) -> torch.Tensor:
    """The frames `(B, 2, 3)` that lead back: where in the new picture a place of the old one is."""
    import torch

    a, b, c, d = frames[:, 0, 0], frames[:, 0, 1], frames[:, 1, 0], frames[:, 1, 1]
    turned = torch.stack([d, -b, -c, a], 1).view(-1, 2, 2) / (a * d - b * c).view(-1, 1, 1)
    return torch.cat([turned, -turned @ frames[:, :, 2:]], 2)


def _through(frames: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Places `(B, P, 2)` through the frames of their images."""
    return places @ frames[:, :, :2].mT + frames[:, :, 2].unsqueeze(1)


def _swapped(points: torch.Tensor, partners: Sequence[int], mirrored: torch.Tensor) -> torch.Tensor:
    """Points `(B, N, K, 3)`, left and right exchanged where an image is mirrored, `(B,)`."""
    import torch

    if not partners:
        return points
    exchanged = torch.stack([points[:, :, partner] for partner in partners], 2)
    return torch.where(mirrored.view(-1, 1, 1, 1), exchanged, points)


def _moved_masks(masks: torch.Tensor, frame: torch.Tensor, here: torch.Tensor) -> torch.Tensor:
    """Masks `(N, S, S)` of one picture; `here` are pixels that may show them, bool `(N or 1, S, S)`."""
    if not len(masks):
        return masks
    # The objects of a picture move alike, so they are its channels.
    return _nearest(masks[None], frame)[0].to(masks.dtype) * here


def _together(targets: Sequence[Objects], name: str) -> torch.Tensor:
    """What objects have, of all images in one: `(B, most N, ...)`, 0 where an image has fewer."""
    from torch.nn.utils.rnn import pad_sequence

    return pad_sequence([target[name].float() for target in targets], batch_first=True)


def _apart(targets: Sequence[Objects], moved: Objects) -> list[dict[str, torch.Tensor]]:
    """The images' objects with what has moved in the place of what was, in its type."""
    return [
        {
            **target,
            **{
                name: values[number, : len(target["boxes"])].to(target[name].dtype)
                for name, values in moved.items()
            },
        }
        for number, target in enumerate(targets)
    ]
