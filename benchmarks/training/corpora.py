"""The examples of a case, made once and kept in the work folder: `train`, `held-out`, and images as files.

Every arm reads the same rows: `key`, `text` or `image`, `label`.
"""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

sys.path.append(str(Path(__file__).parents[1]))

import datasets
import numpy
from cases import Case, DataConfig, Size
from packaged import MINILM, folder_of

from goldloop.records import content_key

_SPREAD = 0.8
"""Deviation of the logarithm of the lengths: few texts are long, as in a mailbox."""
_QUALITY = 90
_NOISE_CLASSES = 10


def make(case: Case, size: Size, folder: Path, data: Path) -> dict[str, datasets.Dataset]:
    """The splits of a case, with `classes` in the features of `label`.

    Args:
        case: which.
        size: how many.
        folder: where they are kept; what is complete there is read again.
        data: the folder of real data.
    """
    done = folder / "done.json"
    if not done.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, rows in _made(case, size, folder, data).items():
            # An empty split could not be read again.
            if len(rows):
                rows.save_to_disk(str(folder / name))
        done.write_text(json.dumps({"case": case.name}), encoding="utf-8")
    return {path.name: datasets.load_from_disk(str(path)) for path in folder.iterdir() if _is_split(path)}


def _is_split(path: Path) -> bool:
    return (path / "dataset_info.json").is_file()


def _made(case: Case, size: Size, folder: Path, data: Path) -> dict[str, datasets.Dataset]:
    random = numpy.random.default_rng(case.seed)
    if case.data.source == "banking77":
        return {
            "train": _texts(*_chosen(_banking(data, "train"), size.examples, random)),
            "held-out": _texts(*_chosen(_banking(data, "test"), size.held_out, random)),
        }
    if case.data.source == "mixed-lengths":
        return {
            "train": _texts(*_mixed(case.data, _banking(data, "train"), size.examples, random)),
            "held-out": _texts(*_mixed(case.data, _banking(data, "test"), size.held_out, random)),
        }
    count = max(size.examples + size.held_out, size.files or 0)
    paths, labels, classes = (
        _noise(case.data, count, folder / "files", random)
        if case.data.source == "noise"
        else _tiles(case.data, count, folder / "files", data, random)
    )
    order = random.permutation(count).tolist()
    held_out, train = order[: size.held_out], order[size.held_out :]
    splits = {"train": train[: size.examples], "held-out": held_out, "files": sorted(order)}
    return {
        name: _images([paths[p] for p in places], [labels[p] for p in places], classes)
        for name, places in splits.items()
    }


def _banking(data: Path, split: str) -> tuple[list[str], list[str]]:
    with (data / "banking77" / f"{split}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["category"] for row in rows]


def _chosen(
    rows: tuple[list[str], list[str]], count: int, random: numpy.random.Generator
) -> tuple[list[str], list[str], list[str]]:
    """So many of the rows, and the names of all classes."""
    texts, labels = rows
    places = random.permutation(len(texts))[:count].tolist()
    return [texts[place] for place in places], [labels[place] for place in places], sorted(set(labels))


def _mixed(
    config: DataConfig, rows: tuple[list[str], list[str]], count: int, random: numpy.random.Generator
) -> tuple[list[str], list[str], list[str]]:
    """Texts of lengths drawn from a log-normal, put together from questions of one class each."""
    by_class: dict[str, list[str]] = {}
    for text, label in zip(*rows, strict=True):
        by_class.setdefault(label, []).append(text)
    classes = sorted(by_class)
    if not count:
        return [], [], classes
    location = numpy.log(config.mean) - _SPREAD**2 / 2
    wanted = numpy.clip(random.lognormal(location, _SPREAD, count), 4, config.longest).astype(int)
    # What clipping took off is given back, so that the mean is the wanted one.
    wanted = numpy.clip(wanted * (config.mean / max(wanted.mean(), 1)), 4, config.longest).astype(int)
    labels = [classes[place] for place in random.integers(len(classes), size=count)]
    lengths = _Lengths()
    texts = [_text(by_class[label], int(n), lengths, random) for label, n in zip(labels, wanted, strict=True)]
    return texts, labels, classes


class _Lengths:
    """Tokens of a word, by the tokenizer of the MiniLM encoder."""

    def __init__(self) -> None:
        from transformers import AutoTokenizer

        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder_of(MINILM))
        self._known: dict[str, int] = {}

    def of(self, word: str) -> int:
        if word not in self._known:
            self._known[word] = len(self._tokenizer.tokenize(word))
        return self._known[word]


def _text(sentences: Sequence[str], tokens: int, lengths: _Lengths, random: numpy.random.Generator) -> str:
    words: list[str] = []
    left = tokens - 2
    while True:
        for word in sentences[int(random.integers(len(sentences)))].split():
            left -= lengths.of(word)
            if left < 0 and words:
                return " ".join(words)
            words.append(word)


def _tiles(
    config: DataConfig, count: int, folder: Path, data: Path, random: numpy.random.Generator
) -> tuple[list[str], list[int], list[str]]:
    """Cuts of blood smears, each at another place; whether its frame has few or many cells."""
    from PIL import Image

    sources = sorted((data / "bccd" / "BCCD" / "JPEGImages").glob("*.jpg"))
    frames = [Image.open(path).convert("RGB") for path in sources]
    cells = [_cells(data / "bccd" / "BCCD" / "Annotations" / f"{path.stem}.xml") for path in sources]
    middle = sorted(cells)[len(cells) // 2]
    places = random.random((count, 2))

    def write(number: int) -> tuple[str, int]:
        source = number % len(frames)
        frame, label = frames[source], int(cells[source] >= middle)
        left = int(places[number, 0] * (frame.width - config.width))
        top = int(places[number, 1] * (frame.height - config.height))
        tile = frame.crop((left, top, left + config.width, top + config.height))
        path = folder / ("few", "many")[label] / f"{number:06d}.jpg"
        tile.save(path, quality=_QUALITY)
        return str(path), label

    return *_written(write, count, folder, ("few", "many")), ["few", "many"]


def _cells(annotation: Path) -> int:
    return len(ElementTree.parse(annotation).findall("object"))


def _noise(
    config: DataConfig, count: int, folder: Path, random: numpy.random.Generator
) -> tuple[list[str], list[int], list[str]]:
    """Smooth random pictures, for measuring what a device computes."""
    from PIL import Image

    classes = [f"class-{number}" for number in range(_NOISE_CLASSES)]
    small = random.integers(0, 256, (count, 24, 32, 3), dtype=numpy.uint8)

    def write(number: int) -> tuple[str, int]:
        label = number % _NOISE_CLASSES
        path = folder / classes[label] / f"{number:06d}.jpg"
        Image.fromarray(small[number]).resize((config.width, config.height)).save(path, quality=_QUALITY)
        return str(path), label

    return *_written(write, count, folder, classes), classes


def _written(write: Any, count: int, folder: Path, classes: Sequence[str]) -> tuple[list[str], list[int]]:
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(write, range(count)))
    return [path for path, _ in found], [label for _, label in found]


def _texts(texts: Sequence[str], labels: Sequence[str], classes: Sequence[str]) -> datasets.Dataset:
    identity = {name: number for number, name in enumerate(classes)}
    features = datasets.Features(
        {
            "key": datasets.Value("string"),
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=list(classes)),
        }
    )
    columns = {
        "key": [content_key(f"{number}:{text}".encode()) for number, text in enumerate(texts)],
        "text": list(texts),
        "label": [identity[label] for label in labels],
    }
    return datasets.Dataset.from_dict(columns, features=features)


def _images(paths: Sequence[str], labels: Sequence[int], classes: Sequence[str]) -> datasets.Dataset:
    features = datasets.Features(
        {
            "key": datasets.Value("string"),
            "image": datasets.Image(),
            "path": datasets.Value("string"),
            "label": datasets.ClassLabel(names=list(classes)),
        }
    )
    columns = {
        "key": [content_key(Path(path).read_bytes()) for path in paths],
        "image": list(paths),
        "path": list(paths),
        "label": list(labels),
    }
    return datasets.Dataset.from_dict(columns, features=features)
