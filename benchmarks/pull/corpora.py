"""Rows and images of any number, the same each time."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path

import numpy
import yaml
from PIL import Image

_WORDS = (
    "the", "of", "a", "claim", "parcel", "late", "account", "card", "where", "when", "please", "refund",
    "order", "number", "new", "open", "close",
)  # fmt: skip
_CLASSES = ("delivery", "payment", "account")
_PER_FOLDER = 1_000
_SIDE = 32


def write_rows(folder: Path, count: int) -> Path:
    """A JSONL file of texts of some 120 characters; returns its recipe."""
    folder.mkdir(parents=True)
    draw = random.Random(7)
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        for number in range(count):
            text = f"{' '.join(draw.choices(_WORDS, k=20))} {number}"
            row = {"text": text, "label": draw.choice(_CLASSES), "year": 2000 + number % 25}
            file.write(json.dumps(row) + "\n")
    source = {
        "kind": "table",
        "url": str(folder / "rows.jsonl"),
        "text": "text",
        "label": {"from": "label", "use": "truth"},
        "metadata": ["year"],
    }
    task = {"kind": "text-classification", "classes": list(_CLASSES)}
    return _recipe(folder, "rows", source, task)


def change_rows(folder: Path) -> None:
    """Give one row in a hundred another text."""
    path = folder / "rows.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    for number in range(0, len(lines), 100):
        row = json.loads(lines[number])
        lines[number] = json.dumps({**row, "text": f"{row['text']} again"})
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_images(folder: Path, count: int) -> Path:
    """PNG files of noise, in folders of a thousand; returns their recipe."""
    for number in range(count):
        _write_image(_path(folder, number), number)
    source = {"kind": "files", "url": str(folder / "images")}
    return _recipe(folder, "images", source, {"kind": "image-classification", "classes": ["one", "other"]})


def change_images(folder: Path, count: int) -> None:
    """Give one file in a hundred another content."""
    for number in range(0, count, 100):
        _write_image(_path(folder, number), count + number)


def _path(folder: Path, number: int) -> Path:
    return folder / "images" / f"{number // _PER_FOLDER:04}" / f"{number:07}.png"


def _write_image(path: Path, seed: int) -> None:
    if not path.parent.exists():
        path.parent.mkdir(parents=True)
    pixels = numpy.random.default_rng(seed).integers(0, 256, (_SIDE, _SIDE, 3), dtype=numpy.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=1)
    path.write_bytes(buffer.getvalue())


def _recipe(folder: Path, name: str, source: dict[str, object], task: dict[str, object]) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"name": name, "sources": [source], "task": task}), encoding="utf-8")
    return path
