"""Handwritten digits, from scikit-learn's copy of the UCI test set, as image files."""

from __future__ import annotations

import io
from pathlib import Path

from goldloop import durable

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
"""Class names, which are also the names of the folders."""

_SIDE = 64
_BRIGHTEST = 16


def write_digits(folder: Path, per_class: int = 120) -> Path:
    """Write `folder/<class>/<number>.png`: 8-bit grey, 64 x 64 pixels, light on dark; returns the folder.

    Files that are there already are left alone; the same bytes come out on any machine with the same
    Pillow.

    Args:
        folder: made if need be.
        per_class: images of each class, at most 174.
    """
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    data = load_digits()
    for number, name in enumerate(DIGITS):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in np.flatnonzero(data.target == number)[:per_class]:
            path = folder / name / f"{index:04}.png"
            if path.exists():
                continue
            grey = (data.images[index] * (255 / _BRIGHTEST)).round().astype("uint8")
            picture = Image.fromarray(grey).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
            buffer = io.BytesIO()
            picture.save(buffer, format="PNG")
            durable.replace(path, buffer.getvalue())
    return folder
