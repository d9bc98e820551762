"""What all tools version: rows with a small image or a text and a label, and twenty sets of changes to them.

Made anew from a seed, so that every tool, in a process of its own, finds the same. The rows are one Parquet
file (`key`, `text` or `image`, `label`, `uri`), those that are there from the start first.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

CLASSES = tuple(f"class-{number}" for number in range(10))
STEPS = 20
SPLITS = ("train", "validation", "test")
_WORDS = 20_000
_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Size:
    """How much of it.

    Attributes:
        kind: `images` or `texts`.
        rows: how many are there from the start.
        changed: how many labels a commit changes.
        added: how many rows a commit adds.
        reads: how many rows are read at random.
    """

    kind: str
    rows: int
    changed: int
    added: int
    reads: int = 5_000


def make(folder: Path, size: Size, seed: int = 0) -> None:
    """Write rows and changes."""
    import pyarrow
    from pyarrow import parquet

    folder.mkdir(parents=True)
    content = "image" if size.kind == "images" else "text"
    kind = pyarrow.binary() if content == "image" else pyarrow.string()
    columns = [
        ("key", pyarrow.string()),
        (content, kind),
        ("label", pyarrow.int64()),
        ("uri", pyarrow.string()),
    ]
    total = size.rows + STEPS // 2 * size.added
    contents = _images(total, seed) if content == "image" else _texts(total, seed)
    draw = random.Random(seed)
    with parquet.ParquetWriter(folder / "rows.parquet", pyarrow.schema(columns)) as writer:
        for start in range(0, total, _AT_ONCE):
            rows = []
            for number in range(start, min(start + _AT_ONCE, total)):
                made = next(contents)
                key = hashlib.sha256(made if isinstance(made, bytes) else made.encode()).hexdigest()
                label, uri = draw.randrange(len(CLASSES)), f"s3://bucket/{size.kind}/{number:07}"
                rows.append({"key": key, content: made, "label": label, "uri": uri})
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=pyarrow.schema(columns)))
    (folder / "changes.json").write_text(json.dumps({"size": asdict(size), "steps": _steps(size, seed)}))


def _steps(size: Size, seed: int) -> list[dict[str, Any]]:
    """Changed labels and added rows, in turn."""
    draw = random.Random(seed + 1)
    steps = []
    for number in range(STEPS):
        if number % 2 == 0:
            rows = draw.sample(range(size.rows), size.changed)
            labels = [draw.randrange(len(CLASSES)) for _ in rows]
            steps.append({"what": "changed", "rows": rows, "labels": labels})
        else:
            start = size.rows + number // 2 * size.added
            steps.append({"what": "added", "rows": list(range(start, start + size.added)), "labels": []})
    return steps


def load(folder: Path) -> tuple[Any, Size, list[dict[str, Any]]]:
    """The rows as a table of pyarrow, the size, and the changes."""
    from pyarrow import parquet

    told = json.loads((folder / "changes.json").read_text())
    return parquet.read_table(folder / "rows.parquet"), Size(**told["size"]), told["steps"]


def split_of(key: str) -> str:
    """Nine in ten rows train, the others validate and test; as good as goldloop's, and as even."""
    place = int(key[:8], 16) / 2**32
    return "test" if place < 0.05 else "validation" if place < 0.1 else "train"


def _texts(count: int, seed: int) -> Iterator[str]:
    draw = random.Random(seed)
    words = ["".join(draw.choices("aeinorstlumdpc", k=draw.randint(3, 9))) for _ in range(_WORDS)]
    for number in range(count):
        yield " ".join(draw.choices(words, k=draw.randint(8, 20))) + f" {number}"


def _images(count: int, seed: int) -> Iterator[bytes]:
    """Small PNG files: a ramp of two colours under noise, 3 kB or so."""
    import numpy
    from PIL import Image

    draw = numpy.random.default_rng(seed)
    ramp = numpy.linspace(0, 1, 32)[:, None, None]
    for _ in range(count):
        ends = draw.integers(0, 200, size=(2, 1, 3))
        pixels = ends[0] * ramp + ends[1] * (1 - ramp) + draw.integers(0, 40, size=(32, 32, 3))
        buffer = io.BytesIO()
        Image.fromarray(pixels.astype("uint8")).save(buffer, "PNG")
        yield buffer.getvalue()
