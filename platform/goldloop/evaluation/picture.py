"""The confusion matrix as a picture: rows what was expected, columns what the model said."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy
from numpy.typing import NDArray

_COUNTS_UP_TO = 24
_NAMES_UP_TO = 120
_LONGEST_NAME = 30
_DIGITS_UP_TO = 5
"""Counts of pixels are longer than a cell is wide; their shares are written instead."""


def confusion_picture(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> bytes:
    """A PNG of a confusion matrix.

    A cell's colour is its share of its row, so that rare classes are seen as well as common ones, on a
    scale of square roots, so that the few errors of a good model are seen too. Counts are written in the
    cells where they can be read, names at the axes up to 120 classes.

    Args:
        confusion: counts `(C, C)`, rows expected, columns predicted.
        classes: C names in id order.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    counts = numpy.asarray(confusion, dtype=numpy.int64)
    size = len(classes)
    names = [_short(name) for name in classes]
    side = min(max(0.16 * size, 0.42 * min(size, _COUNTS_UP_TO), 2.2), 16)
    longest = max(map(len, names)) * 0.07 + 0.9
    figure = Figure(figsize=(side + longest + 0.9, side + longest + 0.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shares = counts / numpy.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1), interpolation="nearest")
    _name_axes(axes, names)
    if size <= _COUNTS_UP_TO:
        _write_counts(axes, counts, shares)
    bar = figure.colorbar(image, ax=axes, shrink=0.7, pad=0.02, aspect=30)
    bar.set_label("share of the expected class", fontsize=9)
    bar.set_ticks([0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1])
    bar.ax.yaxis.set_major_formatter("{x:.0%}")
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    return _png(figure)


def _name_axes(axes: Any, names: Sequence[str]) -> None:
    size = len(names)
    font = 9 if size <= _COUNTS_UP_TO else 7
    shown = names if size <= _NAMES_UP_TO else [""] * size
    upright = 0 if max(map(len, names)) <= 2 and size <= _COUNTS_UP_TO else 90
    # A class may be called `$x$`: its name is no formula.
    axes.set_xticks(range(size), shown, rotation=upright, fontsize=font, parse_math=False)
    axes.set_yticks(range(size), shown, fontsize=font, parse_math=False)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted", fontsize=10)
    axes.set_ylabel("expected", fontsize=10)
    axes.set_xticks(numpy.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(numpy.arange(size + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#e6e9ee", linewidth=0.5)
    axes.tick_params(which="minor", length=0)
    for spine in axes.spines.values():
        spine.set_color("#c3c9d2")


def _write_counts(axes: Any, counts: NDArray[numpy.int64], shares: NDArray[numpy.float64]) -> None:
    digits = len(str(int(counts.max(initial=0))))
    font = 9 if digits <= 3 else 7
    for row, column in zip(*numpy.nonzero(counts), strict=True):
        color = "white" if shares[row, column] > 0.35 else "#1d2733"
        text = str(counts[row, column]) if digits <= _DIGITS_UP_TO else f"{shares[row, column]:.0%}"
        axes.text(column, row, text, ha="center", va="center", fontsize=font, color=color)


def _short(name: str) -> str:
    line = " ".join(name.split())
    return line if len(line) <= _LONGEST_NAME else line[: _LONGEST_NAME - 1] + "…"


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A script that the font lacks is drawn as boxes; the page beside the picture has the names in full.
        warnings.filterwarnings("ignore", message=r"(?s).*Glyph .* missing from font", category=UserWarning)
        warnings.filterwarnings(
            "ignore", message="Matplotlib currently does not support", category=UserWarning
        )
        figure.savefig(buffer, format="png", facecolor="white")
    return buffer.getvalue()
