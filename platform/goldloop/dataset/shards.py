"""Rows in Parquet: what plain `datasets.load_dataset` reads, written the same way each time.

Columns beside the content and the target:

    key           SHA-256 of the content          group         what keeps items in one split
    uri           where the content was found     provenance    human, human-over-prediction, imported
    annotators    pseudonyms                      agreement     mean over pairs, in [0, 1], or null
    shown_models  models whose suggestion an annotator saw
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop.dataset.splits import SPLITS
from goldloop.media import MediaStore
from goldloop.records import Item, Label
from goldloop.tasks.base import Task

if TYPE_CHECKING:
    import datasets

SHARD_BYTES = 256_000_000
"""Content in one file at most, unless one item is larger."""
_ROWS_PER_GROUP = 100


@dataclass(frozen=True, slots=True)
class Entry:
    """One row to be written."""

    split: str
    item: Item
    label: Label[Any]


def features_of(task: Task[Any]) -> datasets.Features:
    """All columns of a version."""
    import datasets

    text, texts = datasets.Value("string"), datasets.List(datasets.Value("string"))
    return datasets.Features(
        {
            "key": text,
            **task.features(),
            "group": text,
            "uri": text,
            "provenance": text,
            "annotators": texts,
            "agreement": datasets.Value("float64"),
            "shown_models": texts,
        }
    )


def write_shards(folder: Path, task: Task[Any], entries: Sequence[Entry], media: MediaStore) -> list[Path]:
    """Write `folder/<split>-00000-of-00002.parquet`, rows by key; content streams through memory.

    A split without rows has no file.
    """
    folder.mkdir(parents=True)
    written = []
    for split in SPLITS:
        rows = sorted((entry for entry in entries if entry.split == split), key=lambda entry: entry.item.key)
        shards = list(_shards(rows, media))
        for number, shard in enumerate(shards):
            path = folder / f"{split}-{number:05}-of-{len(shards):05}.parquet"
            _write(path, task, shard, media)
            written.append(path)
    return written


def read_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of one shard in plain Python, images as `{"bytes": ..., "path": ...}`."""
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS_PER_GROUP, columns=columns):
            yield from batch.to_pylist()


def flush(path: Path) -> None:
    """Make what was written to a file or folder survive a loss of power."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _shards(entries: Sequence[Entry], media: MediaStore) -> Iterator[list[Entry]]:
    shard: list[Entry] = []
    size = 0
    for entry in entries:
        length = _length(entry.item, media)
        if shard and size + length > SHARD_BYTES:
            yield shard
            shard, size = [], 0
        shard.append(entry)
        size += length
    if shard:
        yield shard


def _length(item: Item, media: MediaStore) -> int:
    return media.path(item).stat().st_size if item.text is None else len(item.text)


def _write(path: Path, task: Task[Any], entries: Sequence[Entry], media: MediaStore) -> None:
    import pyarrow
    from pyarrow import parquet

    schema = features_of(task).arrow_schema
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, len(entries), _ROWS_PER_GROUP):
            rows = [_row(task, entry, media) for entry in entries[start : start + _ROWS_PER_GROUP]]
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
    flush(path)


def _row(task: Task[Any], entry: Entry, media: MediaStore) -> Mapping[str, Any]:
    item, label = entry.item, entry.label
    content = {"text": item.text} if item.text is not None else {"image": _image(item, media)}
    return {
        "key": item.key,
        **content,
        **task.to_row(label.target),
        "group": item.group,
        "uri": item.uri,
        "provenance": label.provenance,
        "annotators": list(label.annotators),
        "agreement": label.agreement,
        "shown_models": list(label.shown_models),
    }


def _image(item: Item, media: MediaStore) -> dict[str, Any]:
    return {"bytes": media.read(item), "path": media.path(item).name}


def split_of_file(path: Path) -> str:
    """The split that a shard's name says."""
    return path.name.partition("-")[0]


def counts(entries: Iterable[Entry]) -> dict[str, int]:
    """Rows per split, in the splits' order."""
    found = [entry.split for entry in entries]
    return {split: found.count(split) for split in SPLITS}
