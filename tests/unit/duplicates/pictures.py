"""Pictures made in code, and what becomes of pictures on their way through the world."""

from __future__ import annotations

import io
import random
from collections.abc import Callable

import numpy
from PIL import Image, ImageFilter, ImageOps

Picture = Image.Image


def scene(seed: int, size: tuple[int, int] = (160, 120)) -> Picture:
    """A picture with large and small things in it, unlike that of any other seed."""
    chance = numpy.random.default_rng(seed)
    width, height = size
    picture = Image.fromarray(chance.integers(60, 200, (4, 5, 3), numpy.uint8)).resize(
        size, Image.Resampling.BICUBIC
    )
    for _ in range(14):
        side = int(chance.integers(8, 48))
        patch = Image.new("RGB", (side, side), tuple(int(tone) for tone in chance.integers(0, 255, 3)))
        picture.paste(patch, (int(chance.integers(0, width)), int(chance.integers(0, height))))
    return picture.filter(ImageFilter.GaussianBlur(0.8))


def stored(picture: Picture, form: str = "PNG", **options: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def cut(picture: Picture, share: float, chance: random.Random) -> Picture:
    """A part of a picture, somewhere in it."""
    width, height = round(picture.width * share), round(picture.height * share)
    left, top = chance.randint(0, picture.width - width), chance.randint(0, picture.height - height)
    return picture.crop((left, top, left + width, top + height))


def half(picture: Picture) -> Picture:
    return picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.LANCZOS)


CHANCE = random.Random(0)

COPIES: dict[str, Callable[[Picture], bytes]] = {
    "another encoding": lambda picture: stored(picture, "JPEG", quality=45),
    "another format": lambda picture: stored(picture, "WEBP", quality=70),
    "half the size": lambda picture: stored(half(picture), "JPEG", quality=85),
    "twice the size": lambda picture: stored(picture.resize((picture.width * 2, picture.height * 2))),
    "a mirror image": lambda picture: stored(ImageOps.mirror(picture), "JPEG", quality=85),
    "a crop to 90%": lambda picture: stored(cut(picture, 0.9, CHANCE), "JPEG", quality=85),
    "a crop to 80%": lambda picture: stored(cut(picture, 0.8, CHANCE), "JPEG", quality=85),
    "all of it": lambda picture: stored(
        half(cut(ImageOps.mirror(picture), 0.85, CHANCE)), "JPEG", quality=70
    ),
}
