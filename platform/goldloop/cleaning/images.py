"""Images that a recipe leaves out, by what can be measured of them."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from goldloop.cleaning.config import ImageCleaning
from goldloop.errors import Dropped
from goldloop.records import Item

if TYPE_CHECKING:
    from PIL import Image

_LONGEST = 512


@dataclass(frozen=True, slots=True)
class Looks:
    """What an image looks like, in grey.

    Attributes:
        brightness: mean, in [0, 255].
        contrast: standard deviation, in [0, 127.5].
        sharpness: variance of the Laplacian, from 0; higher is sharper. Pech-Pacheco et al. 2000.
    """

    brightness: float
    contrast: float
    sharpness: float


def check(item: Item, config: ImageCleaning) -> None:
    """Raise Dropped if an image is not wanted; `content` must be there."""
    width, height = item.width or 0, item.height or 0
    if config.min_side is not None and min(width, height) < config.min_side:
        raise _dropped("too small", f"{width} x {height} pixels", f"at least {config.min_side} on each side")
    if config.max_aspect is not None and max(width, height) > config.max_aspect * min(width, height):
        found = f"{width} x {height} pixels"
        raise _dropped(
            "too long and thin", found, f"a longer side of at most {config.max_aspect:g} shorter ones"
        )
    if not config.looks or item.content is None:
        return
    looks = look(item.content)
    for name, problem, value, low, high in (
        ("brightness", "too dark", looks.brightness, config.min_brightness, None),
        ("brightness", "too bright", looks.brightness, None, config.max_brightness),
        ("contrast", "blank", looks.contrast, config.min_contrast, None),
        ("sharpness", "blurred", looks.sharpness, config.min_sharpness, None),
    ):
        if low is not None and value < low:
            raise _dropped(problem, f"{name} {value:.1f}", f"at least {low:g}")
        if high is not None and value > high:
            raise _dropped(problem, f"{name} {value:.1f}", f"at most {high:g}")


def look(content: bytes) -> Looks:
    """Measure an image that is known to decode; of several frames, the first."""
    import numpy
    from PIL import Image
    from scipy import ndimage

    with warnings.catch_warnings(), Image.open(io.BytesIO(content)) as image:
        warnings.simplefilter("ignore")
        image.draft("L", (_LONGEST * 2, _LONGEST * 2))
        grey = _grey(image)
    grey.thumbnail((_LONGEST, _LONGEST))
    pixels = numpy.asarray(grey, dtype=numpy.float32)
    edges = ndimage.laplace(pixels)
    return Looks(float(pixels.mean()), float(pixels.std()), float(edges.var()))


def _grey(image: Image.Image) -> Image.Image:
    """In grey, what is transparent on white, as a browser shows it."""
    import numpy
    from PIL import Image

    if "A" in image.getbands() or "transparency" in image.info:
        layered = image.convert("RGBA")
        ground = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(ground, layered).convert("L")
    if image.mode.startswith(("I", "F")):
        values = numpy.asarray(image, numpy.float64)
        # Sixteen bits are scaled to eight: Pillow itself would cut them off.
        scale = 257 if values.max(initial=0) > 255 else 1
        return Image.fromarray((values / scale).clip(0, 255).astype(numpy.uint8))
    return image.convert("L")


def _dropped(problem: str, found: str, expected: str) -> Dropped:
    return Dropped(problem, found=found, expected=expected)
