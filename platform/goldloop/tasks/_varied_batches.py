"""Batches of images varied with their answers: of the whole image, of its objects, of its pixels.

B = images, S = side in pixels, N = objects of an image, K = points of an object, C = classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from goldloop.tasks._augmentation import (
    BY_DEFAULT,
    OBJECTS,
    PIXELS,
    WHOLE_IMAGE,
    AugmentationOptions,
    Draws,
    covered,
    vary,
)
from goldloop.tasks._class_maps import VOID
from goldloop.tasks._mixing import cut_in, mixed, mosaic, shares_of
from goldloop.tasks._moved_targets import hidden_objects, moved_maps, moved_objects
from goldloop.tasks.base import Batch

if TYPE_CHECKING:
    import torch


def augment_images(batch: Batch, generator: torch.Generator, options: AugmentationOptions | None) -> Batch:
    """A batch of images whose answers are about the whole image: its pixels varied.

    Nothing is mirrored by default, which would change what digits and signs mean.
    """
    pixels = batch.inputs["pixel_values"]
    varied = vary(pixels, Draws(generator, len(pixels), pixels.device), WHOLE_IMAGE, options or BY_DEFAULT)
    return replace(batch, inputs={**batch.inputs, "pixel_values": varied.pixels})


def augment_classes(
    batch: Batch, generator: torch.Generator, options: AugmentationOptions | None, classes: int
) -> Batch:
    """A batch of images varied, and mixed where the options say so.

    Args:
        batch: pixels in [0, 255] on any device; targets are class ids int64 `(B,)` or, of several classes,
            float `(B, C)`.
        generator: every draw comes from it.
        options: by default nothing is mixed.
        classes: C.

    Returns:
        a batch whose targets are float `(B, C)`, each class's share of the truth, where mixing is asked for.
    """
    batch = augment_images(batch, generator, options)
    if options is None or not (options.mixup or options.cutmix) or batch.targets is None:
        return batch
    pixels = batch.inputs["pixel_values"]
    draws = Draws(generator, len(pixels), pixels.device)
    truth = shares_of(batch.targets, classes)
    pixels, own = mixed(pixels, draws, options.mixup, options.cutmix)
    truth = truth.roll(1, 0).lerp(truth, own.unsqueeze(1))
    return replace(batch, inputs={**batch.inputs, "pixel_values": pixels}, targets=truth)


def augment_objects(
    batch: Batch,
    generator: torch.Generator,
    options: AugmentationOptions | None,
    *,
    mirror: bool,
    partners: Sequence[int] = (),
) -> Batch:
    """Each picture varied, its objects with it.

    Args:
        batch: pixels in [0, 255] on any device; targets are a dict for each image with `boxes` `(N, 4)`:
            left, top, right, bottom in pixels; `class_labels` `(N,)`; and perhaps `masks` uint8 `(N, S, S)`
            or `keypoints` `(N, K, 3)` with visibility.
        generator: every draw comes from it.
        options: by default moved, scaled and lit otherwise.
        mirror: mirror half of the pictures, left and right, whatever the options say.
        partners: of each of K points the one that it becomes in a mirror; by default itself.
    """
    options = options or BY_DEFAULT
    options = options.mirrored() if mirror else options
    pixels, targets = batch.inputs["pixel_values"], batch.targets
    draws = Draws(generator, len(pixels), pixels.device)
    if options.mosaic:
        pixels, targets = mosaic(pixels, targets, draws, options.mosaic)
    varied = vary(pixels, draws, OBJECTS, options)
    if targets and varied.frames is not None:
        targets = moved_objects(targets, varied.frames, pixels.shape[-1], partners=partners)
    if targets and varied.painted is not None:
        targets = hidden_objects(targets, varied.painted, pixels.shape[-1])
    return replace(batch, inputs={**batch.inputs, "pixel_values": varied.pixels}, targets=targets)


def augment_maps(
    batch: Batch, generator: torch.Generator, options: AugmentationOptions | None, *, mirror: bool
) -> Batch:
    """Each picture varied, its map of classes with it; void where nothing of the picture is seen.

    Args:
        batch: pixels in [0, 255] on any device; its targets have `map`, uint8 `(B, S, S)`, 255 where void.
        generator: every draw comes from it.
        options: by default nearer or farther, moved and lit otherwise.
        mirror: mirror half of the pictures, left and right, whatever the options say.
    """
    import torch

    options = options or BY_DEFAULT
    options = options.mirrored() if mirror else options
    pixels, maps = batch.inputs["pixel_values"], batch.targets["map"]
    draws = Draws(generator, len(pixels), pixels.device)
    varied = vary(pixels, draws, PIXELS, options)
    pixels = varied.pixels
    if varied.frames is not None:
        maps = moved_maps(maps, varied.frames)
    if varied.painted is not None:
        maps = torch.where(covered(varied.painted, maps.shape[-1]).squeeze(1), maps.new_full((), VOID), maps)
    if options.cutmix:
        inside, _ = cut_in(draws, options.cutmix, maps.shape[-1])
        pixels = torch.where(inside, pixels.roll(1, 0), pixels)
        maps = torch.where(inside.squeeze(1), maps.roll(1, 0), maps)
    targets = {**batch.targets, "map": maps}
    return replace(batch, inputs={**batch.inputs, "pixel_values": pixels}, targets=targets)
