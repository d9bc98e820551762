"""Whether one small grey copy is a part of another, to the pixel.

What a hash has found alike is laid upon each other: the window's four edges are moved by Gauss-Newton steps
until the difference is least. A copy then differs by no more than resizing loses of its finest detail;
another picture of the same thing differs by many times that.

G = pixels a side in which the two are compared, P = pairs.
"""

from __future__ import annotations

from typing import Any

import numpy
from numpy.typing import NDArray

_G = 16
_COLOR_G = 4
_READS = 4
_STEPS = 5
_LONGEST_STEP = 0.04
_ALIKE, _DETAIL_LOST, _OTHER_COLORS = 0.98, 0.05, 12.0
"""Least correlation; most of the difference as a share of the fine detail; most mean difference of colors."""

Array = NDArray[numpy.float32]


def are_copies(
    whole: Array, other: Array, whole_color: Array, other_color: Array, windows: NDArray[numpy.float64]
) -> NDArray[numpy.bool_]:
    """Whether images are copies of a part of others, bool `(P,)`.

    Args:
        whole: grey, `(P, S, S)`; mirrored already where they are to be compared so.
        other: grey, `(P, S, S)`: of each a part is compared.
        whole_color: `(P, C, C, 2)`.
        other_color: likewise.
        windows: about which part, `(P, 4)`: top, bottom, left, right as shares of the sides.
    """
    likeness, found = _aligned(whole, other, windows)
    detail = numpy.minimum(_fine_detail(whole), _fine_detail(other)) + 0.01
    shown = _window(other_color.transpose(3, 0, 1, 2), found, _COLOR_G)
    colors = _window(whole_color.transpose(3, 0, 1, 2), _all_of(len(whole)), _COLOR_G)
    apart = numpy.sqrt(((shown - colors) ** 2).mean(axis=(0, 2, 3)))
    close = (likeness >= _ALIKE) & (1 - likeness <= _DETAIL_LOST * detail)
    near: NDArray[numpy.bool_] = close & (apart <= _OTHER_COLORS)
    return near


def _aligned(whole: Array, other: Array, windows: NDArray[numpy.float64]) -> tuple[Array, Array]:
    """The highest correlation found, `(P,)`, and the windows where it is, `(P, 4)`."""
    count = len(whole)
    wanted = _centered(_window(whole, _all_of(count), _G))
    size = _norm(wanted)
    window = windows.astype(numpy.float32)
    best, found = numpy.full(count, -1, numpy.float32), window.copy()
    for step in range(_STEPS + 1):
        seen = _centered(_window(other, window, _G))
        likeness = (wanted * seen).sum(axis=(1, 2)) / (size * _norm(seen))
        better = likeness > best
        best[better], found[better] = likeness[better], window[better]
        if step < _STEPS:
            window = window + _step(wanted, seen, window)
            window[:, [0, 2]] = window[:, [0, 2]].clip(-0.02, 0.3)
            window[:, [1, 3]] = window[:, [1, 3]].clip(0.7, 1.02)
    return best, found


def _step(wanted: Array, seen: Array, window: Array) -> Array:
    """How the edges are to be moved, and beside them the contrast, for the least squares."""
    across = (numpy.arange(_G, dtype=numpy.float32) + 0.5) / _G
    down, right = numpy.gradient(seen * _G, axis=(1, 2))
    moves = [
        down * (1 - across)[:, None],
        down * across[:, None],
        right * (1 - across),
        right * across,
        seen,
    ]
    slopes = numpy.stack(moves, axis=1).reshape(len(seen), 5, -1)
    normal = slopes @ slopes.transpose(0, 2, 1)
    ridge = 1e-5 * numpy.trace(normal, axis1=1, axis2=2) + 1e-3
    normal += ridge[:, None, None] * numpy.eye(5, dtype=numpy.float32)
    solved = numpy.linalg.solve(normal, slopes @ wanted.reshape(len(seen), -1, 1))[:, :, 0]
    contrast = solved[:, 4:]
    moved = solved[:, :4] / numpy.where(numpy.abs(contrast) < 0.2, 0.2, contrast)
    sides = numpy.repeat(window[:, 1::2] - window[:, 0::2], 2, axis=1)
    step: Array = (moved * sides).clip(-_LONGEST_STEP, _LONGEST_STEP)
    return step


def _fine_detail(images: Array) -> Array:
    """What share of the variance is lost in G pixels a side."""
    coarse = _window(images, _all_of(len(images)), _G).var(axis=(1, 2))
    lost: Array = (1 - coarse / (images.var(axis=(1, 2)) + 1e-3)).clip(0)
    return lost


def _window(images: Array, windows: Array, side: int) -> Array:
    """Windows of square images `(..., P, S, S)` in `side` pixels a side, each the mean of what it covers."""
    rows = _reading(windows[:, 0], windows[:, 1], side, images.shape[-1])
    columns = _reading(windows[:, 2], windows[:, 3], side, images.shape[-1])
    seen: Any = rows @ images @ columns.transpose(0, 2, 1)
    found: Array = seen
    return found


def _reading(low: Array, high: Array, side: int, pixels: int) -> Array:
    """The weights `(P, side, pixels)` with which pixels of a side are read between two edges."""
    inside = (numpy.arange(side * _READS, dtype=numpy.float32) + 0.5) / (side * _READS)
    place = ((low[:, None] + (high - low)[:, None] * inside) * pixels - 0.5).clip(0, pixels - 1)
    pixel = numpy.minimum(place.astype(numpy.int64), pixels - 2)
    share = (place - pixel).astype(numpy.float32)
    cell = numpy.arange(len(low) * side).repeat(_READS).reshape(len(low), -1) * pixels + pixel
    shape = len(low) * side * pixels
    weights = numpy.bincount(cell.ravel(), (1 - share).ravel(), shape)
    weights += numpy.bincount(cell.ravel() + 1, share.ravel(), shape)
    return (weights / _READS).reshape(len(low), side, pixels).astype(numpy.float32)


def _all_of(count: int) -> Array:
    return numpy.tile(numpy.array([0, 1, 0, 1], numpy.float32), (count, 1))


def _centered(images: Array) -> Array:
    centered: Array = images - images.mean(axis=(1, 2), keepdims=True)
    return centered


def _norm(images: Array) -> Array:
    norm: Array = numpy.sqrt((images**2).sum(axis=(1, 2))) + numpy.float32(1e-3)
    return norm
