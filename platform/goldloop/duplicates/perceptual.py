"""What an image looks like, in a few kB that survive another encoding, another size and being cropped.

    bytes -> upright -> grey, S x S pixels, and color, C x C -> hashes of W windows

A window is a part of the image that a crop could have left: from 80% to all of its width, in steps of about
5%, and so of its height. The hash of a window is that of a perceptual hash: the signs of its 63 lowest
frequencies. A crop has in its whole about the hash that the image has in one of its windows. All windows of
an image are two products of matrices.

S = `SIDE`, C = `COLOR_SIDE`, W = windows.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

SIDE = 48
COLOR_SIDE = 8
_FREQUENCIES = 8
_SAMPLES = 64
_FLAT = 4.0
"""Images whose grey values hardly differ are like nothing but each other."""

_GREY = SIDE * SIDE


def _intervals() -> list[tuple[float, float]]:
    """What a crop may leave of a side, as shares of it."""
    lengths = {1.0: 1, 0.93: 2, 0.86: 4, 0.8: 5}
    return [
        (float(start), float(start) + length)
        for length, places in lengths.items()
        for start in numpy.linspace(0, 1 - length, places)
    ]


WINDOWS = numpy.array([(*down, *across) for down in _intervals() for across in _intervals()])
"""Top, bottom, left, right of each window as shares of the sides, `(W, 4)`; the first is the whole."""


def _frequencies() -> NDArray[numpy.float64]:
    """The cosines of each interval over the pixels of a side, `(intervals, frequencies, S)`."""
    inside = (numpy.arange(_SAMPLES) + 0.5) / _SAMPLES
    cosines = numpy.cos(numpy.pi * numpy.arange(_FREQUENCIES)[:, None] * inside)
    rows = []
    for low, high in _intervals():
        place = numpy.clip((low + (high - low) * inside) * SIDE - 0.5, 0, SIDE - 1)
        pixel = numpy.minimum(place.astype(int), SIDE - 2)
        read = numpy.zeros((_SAMPLES, SIDE))
        read[numpy.arange(_SAMPLES), pixel] = 1 - (place - pixel)
        read[numpy.arange(_SAMPLES), pixel + 1] += place - pixel
        rows.append(cosines @ read)
    return numpy.stack(rows)


_ROWS = _frequencies().reshape(-1, SIDE)
_DOWN, _ACROSS = numpy.divmod(numpy.arange(1, _FREQUENCIES**2), _FREQUENCIES)

BANDS, BAND_BITS = 3, 21
_BY_FREQUENCY = numpy.argsort(_DOWN + _ACROSS, kind="stable")
_ORDER = numpy.concatenate([_BY_FREQUENCY[band::BANDS] for band in range(BANDS)])
"""Which frequency each bit of a hash is: each band of 21 bits has low and high ones."""
_MIRROR = numpy.uint64(sum(1 << bit for bit, odd in enumerate(_ACROSS[_ORDER] % 2) if odd))
"""The bits that are the other way round in a mirror image."""

_UNSURE, _MOST_FLIPPED = 7, 2
_FLIPS = [flip for size in range(_MOST_FLIPPED + 1) for flip in combinations(range(_UNSURE), size)]


def planes(content: bytes) -> tuple[NDArray[numpy.uint8], NDArray[numpy.uint8]] | None:
    """An image in small, grey `(S, S)` and color `(C, C, 2)`; None if it is flat or cannot be decoded."""
    from PIL import Image, ImageOps

    smooth = Image.Resampling.BILINEAR
    try:
        with Image.open(io.BytesIO(content)) as opened:
            opened.draft("RGB", (SIDE * 4, SIDE * 4))
            upright = _in_eight_bits(ImageOps.exif_transpose(opened)).convert("RGB").convert("YCbCr")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    small = upright.resize((SIDE, SIDE), smooth, reducing_gap=3.0)
    color = upright.resize((COLOR_SIDE, COLOR_SIDE), smooth, reducing_gap=3.0)
    grey = numpy.asarray(small)[..., 0].copy()
    return None if grey.std() < _FLAT else (grey, numpy.asarray(color)[..., 1:].copy())


def planes_of(details: Sequence[bytes]) -> tuple[NDArray[numpy.float32], NDArray[numpy.float32]]:
    """Grey `(N, S, S)` and color `(N, C, C, 2)` of images by their bytes, one behind the other."""
    rows = numpy.frombuffer(b"".join(details), numpy.uint8).reshape(len(details), -1).astype(numpy.float32)
    grey = rows[:, :_GREY].reshape(-1, SIDE, SIDE)
    return grey, rows[:, _GREY:].reshape(-1, COLOR_SIDE, COLOR_SIDE, 2)


def sketch(grey: NDArray[numpy.uint8]) -> bytes:
    """The hashes of an image's windows, and which bits of its own are least sure."""
    spectrum = _ROWS @ grey.astype(numpy.float64) @ _ROWS.T
    count = len(_ROWS) // _FREQUENCIES
    windows = spectrum.reshape(count, _FREQUENCIES, count, _FREQUENCIES).transpose(0, 2, 1, 3)
    ordered = windows.reshape(len(WINDOWS), -1)[:, 1:][:, _ORDER]
    sure = numpy.abs(ordered[0]).reshape(BANDS, BAND_BITS)
    unsure = numpy.argsort(sure, axis=1, kind="stable")[:, :_UNSURE].astype(numpy.uint8)
    return _packed(ordered).tobytes() + unsure.tobytes()


def window_hashes(sketches: Sequence[bytes]) -> NDArray[numpy.uint64]:
    """The hashes of every window, uint64 `(N, W)`."""
    rows = _sketches(sketches)
    return rows[:, : 8 * len(WINDOWS)].copy().view(numpy.uint64)


def probes(
    sketches: Sequence[bytes], *, mirrored: bool
) -> tuple[NDArray[numpy.uint64], NDArray[numpy.int32]]:
    """How windows of other images are found that look as these do in whole, or as their mirror images do.

    Returns:
        the hashes, uint64 `(N,)`, and for each band the keys to look up, int32 `(N, bands, flips)`: its own
        bits, and them with those flipped that are least sure.
    """
    rows = _sketches(sketches)
    looks = rows[:, :8].copy().view(numpy.uint64)[:, 0]
    if mirrored:
        looks = looks ^ _MIRROR
    unsure = 1 << rows[:, 8 * len(WINDOWS) :].reshape(len(rows), BANDS, _UNSURE).astype(numpy.int32)
    flipped = numpy.stack([unsure[..., list(flip)].sum(axis=-1) for flip in _FLIPS], axis=-1)
    own = numpy.stack([band_of(looks, band) for band in range(BANDS)], axis=1)
    return looks, own[..., None] ^ flipped.astype(numpy.int32)


def band_of(found: NDArray[numpy.uint64], band: int) -> NDArray[numpy.int32]:
    """One band of hashes, as numbers below `2 ** BAND_BITS`."""
    shifted = found >> numpy.uint64(band * BAND_BITS)
    return (shifted & numpy.uint64((1 << BAND_BITS) - 1)).astype(numpy.int32)


def _sketches(sketches: Sequence[bytes]) -> NDArray[numpy.uint8]:
    return numpy.frombuffer(b"".join(sketches), numpy.uint8).reshape(len(sketches), -1)


def _packed(spectrum: NDArray[numpy.float64]) -> NDArray[numpy.uint64]:
    # What is nought but for rounding is nought: elsewhere its sign might be the other.
    positive = spectrum > 1e-9 * numpy.abs(spectrum).max(axis=-1, keepdims=True)
    padded = numpy.concatenate([positive, numpy.zeros((*positive.shape[:-1], 1), bool)], axis=-1)
    octets = numpy.ascontiguousarray(numpy.packbits(padded, axis=-1, bitorder="little"))
    return octets.view(numpy.uint64)[..., 0]


def _in_eight_bits(image: Image.Image) -> Image.Image:
    """Grey values of more bits, over their whole range; Pillow itself would cut them off at 255."""
    if not image.mode.startswith(("I", "F")):
        return image
    from PIL import Image

    values = numpy.asarray(image, numpy.float64)
    low, high = values.min(), values.max()
    return Image.fromarray(((values - low) * (255 / max(high - low, 1e-9))).astype(numpy.uint8))
