"""Rows in Parquet: what plain `datasets.load_dataset` reads, written the same way each time.

Columns beside the content and the target:

    key           SHA-256 of the content          group         what keeps items in one split
    uri           where the content was found     provenance    human, human-over-prediction, imported
    annotators    pseudonyms                      agreement     mean over pairs, in [0, 1], or null
    shown_models  models whose suggestion an annotator saw
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop.dataset.splits import SPLITS
from goldloop.durable import flush
from goldloop.errors import VersionError
from goldloop.media import MediaStore
from goldloop.records import Item, Label, content_key
from goldloop.tasks.base import Task

if TYPE_CHECKING:
    import datasets

SHARD_BYTES = 256_000_000
"""Content in one file at most, unless one item is larger."""
_GROUP_BYTES = 32_000_000
_GROUP_ROWS = 100
"""A row group, which is what lies in memory at once, ends at whichever comes first."""


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

    A split without rows has no file. The bytes depend on the entries, not on their order; and, as of any
    Parquet file, on pyarrow's version.

    Raises:
        WorkspaceError: an image is missing from the workspace.
        VersionError: a content is not what its key says.
    """
    folder.mkdir(parents=True)
    written = []
    for split in SPLITS:
        rows = sorted((entry for entry in entries if entry.split == split), key=lambda entry: entry.item.key)
        shards = list(_portions(rows, media, SHARD_BYTES))
        for number, shard in enumerate(shards):
            path = folder / f"{split}-{number:05}-of-{len(shards):05}.parquet"
            _write(path, task, shard, media)
            written.append(path)
    return written


def read_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of one shard in plain Python, images as `{"bytes": ..., "path": ...}`."""
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            # One at a time: a batch over several would hold more than a group's bytes.
            for batch in file.iter_batches(_GROUP_ROWS, row_groups=[group], columns=columns):
                yield from batch.to_pylist()


def _portions(
    entries: Sequence[Entry], media: MediaStore, size: int, length: int | None = None
) -> Iterator[list[Entry]]:
    """Entries in order, in portions of so many bytes of content and so many rows at most."""
    portion: list[Entry] = []
    taken = 0
    for entry in entries:
        added = _content_bytes(entry.item, media)
        if portion and (taken + added > size or len(portion) == length):
            yield portion
            portion, taken = [], 0
        portion.append(entry)
        taken += added
    if portion:
        yield portion


def _content_bytes(item: Item, media: MediaStore) -> int:
    if item.text is not None:
        return len(item.text.encode())
    path = media.path(item)
    return path.stat().st_size if path.exists() else len(media.read(item))


def _write(path: Path, task: Task[Any], entries: Sequence[Entry], media: MediaStore) -> None:
    import pyarrow
    from pyarrow import parquet

    schema = features_of(task).arrow_schema
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for portion in _portions(entries, media, _GROUP_BYTES, _GROUP_ROWS):
            rows = [_row(task, entry, media) for entry in portion]
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
    content = media.read(item)
    if content_key(content) != item.key:
        raise VersionError(
            "an image in the workspace is not what it was when it was pulled",
            where=media.path(item),
            found=f"SHA-256 {content_key(content)}",
            remedy=f"Delete the file and run `goldloop pull` again; it came from {item.uri}",
        )
    return {"bytes": content, "path": media.path(item).name}


def split_of_file(path: Path) -> str:
    """The split that a shard's name says."""
    return path.name.partition("-")[0]


def counts(entries: Iterable[Entry]) -> dict[str, int]:
    """Rows per split, in the splits' order."""
    found = [entry.split for entry in entries]
    return {split: found.count(split) for split in SPLITS}


def class_counts(task: Task[Any], entries: Iterable[Entry]) -> dict[str, dict[str, int]]:
    """Split -> class -> how often its rows name it; empty for a task whose answers name no class."""
    found = Counter((entry.split, name) for entry in entries for name in task.classes_in(entry.label.target))
    if not found:
        return {}
    return {split: {name: found[split, name] for name in task.classes} for split in SPLITS}
