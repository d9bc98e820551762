"""Rows in Parquet: what plain `datasets.load_dataset` reads, written the same way each time.

Columns beside the content and the target:

    key           SHA-256 of the content          group         what keeps items in one split
    uri           where the content was found     provenance    human, human-over-prediction, imported
    annotators    pseudonyms                      agreement     mean over pairs, in [0, 1], or null
    shown_models  models whose suggestion an annotator saw
    confidence    probability that the label is true, where the consensus tells one (`dawid-skene`), or null
    row           the row's number, by which a later version leaves it out; `load_dataset` does not show it
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop.dataset.by_address import addressed
from goldloop.dataset.manifest import Manifest, Part
from goldloop.dataset.placement import Place
from goldloop.dataset.splits import SPLITS
from goldloop.errors import VersionError
from goldloop.media import MediaStore
from goldloop.records import Item, Label, content_key
from goldloop.tasks.base import Task

if TYPE_CHECKING:
    import datasets
    import pyarrow

SHARD_BYTES = 256_000_000
"""Content in one file at most, unless one item is larger."""
ROW = "row"
"""The column of the rows' numbers."""
GROUP_BYTES = 32_000_000
GROUP_ROWS = 1_000
"""A row group, which is what lies in memory at once, ends at whichever comes first."""
_PLAIN = ("key", "group", "uri", "text", "image.bytes", "image.path")
"""Columns whose values hardly ever repeat."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row to be written."""

    place: Place
    item: Item
    label: Label[Any]

    @property
    def split(self) -> str:
        """Its split."""
        return self.place.split


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
            "confidence": datasets.Value("float64"),
        }
    )


def target_columns(task: Task[Any]) -> list[str]:
    """The columns that hold a row's target."""
    return [column for column in task.features() if column != task.modality]


@lru_cache(maxsize=8)
def schema_of(task: Task[Any]) -> pyarrow.Schema:
    """The columns of a shard: those of the version, and the rows' numbers."""
    import pyarrow

    schema: pyarrow.Schema = features_of(task).arrow_schema
    return schema.append(pyarrow.field(ROW, pyarrow.int64(), nullable=False))


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """Rows as they are numbered: by split, then by key."""
    places: dict[str, int] = {split: place for place, split in enumerate(SPLITS)}
    return sorted(entries, key=lambda entry: (places[entry.split], entry.item.key))


def write_shards(
    folder: Path,
    task: Task[Any],
    split: str,
    entries: Sequence[Entry],
    media: MediaStore,
    first: int,
    *,
    by_address: bool = False,
) -> list[Part]:
    """Write the rows of one split as `folder/<split>-new-00000.parquet` ...; content streams through memory.

    The bytes depend on the rows and their numbers; and, as of any Parquet file, on pyarrow's version.

    Args:
        folder: where.
        task: with the version's class registry.
        split: theirs.
        entries: in order.
        media: where images lie.
        first: the number of the first row.
        by_address: leave images outside whose address gives just their bytes.

    Raises:
        WorkspaceError: an image is missing from the workspace.
        VersionError: a content is not what its key says.
    """
    parts = []
    images = [entry.item for entry in entries if entry.item.text is None] if by_address else []
    outside = addressed(images)
    sizes = {
        entry.item.key: 0 if entry.item.key in outside else _content_bytes(entry.item, media)
        for entry in entries
    }
    for number, portion in enumerate(_portions(entries, sizes, SHARD_BYTES)):
        path = folder / f"{split}-new-{number:05}.parquet"
        with shard_writer(path, schema_of(task)) as writer:
            start = first
            for group in _portions(portion, sizes, GROUP_BYTES, GROUP_ROWS):
                writer.write_table(_table(task, group, media, start, outside))
                start += len(group)
        count = sum(entry.item.key in outside for entry in portion)
        parts.append(part_of(path, len(portion), first, start - 1, count))
        first = start
    return parts


def shard_writer(path: Path, schema: pyarrow.Schema) -> Any:
    """A Parquet writer whose encodings suit the columns."""
    from pyarrow import parquet

    repeating = [name for name in _leaves(schema) if name not in (*_PLAIN, ROW)]
    return parquet.ParquetWriter(
        path,
        schema,
        compression="zstd",
        use_dictionary=repeating,
        column_encoding={ROW: "DELTA_BINARY_PACKED"},
        write_statistics=["key", ROW],
    )


def part_of(path: Path, rows: int, first: int = 0, last: int = -1, outside: int = 0) -> Part:
    """What a file is that has been written, under its name in its folder."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Part(f"{path.parent.name}/{path.name}", digest, path.stat().st_size, rows, first, last, outside)


def read_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """All rows of one Parquet file in plain Python, images as `{"bytes": ..., "path": ...}`."""
    for batch in batches_of(path, columns):
        yield from batch.to_pylist()


def live_rows(folder: Path, split: str, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a version's split in plain Python, as they lie in its files.

    Raises:
        VersionError: the version cannot be read.
    """
    manifest = Manifest.load(folder)
    dead = frozenset(manifest.dead)
    wanted = None if columns is None else [*columns, ROW]
    for part in manifest.shards.get(split, ()):
        for row in read_rows(folder / part.path, wanted):
            if row.pop(ROW) not in dead:
                yield row


def numbers_of(path: Path, part: Part) -> Sequence[int]:
    """The numbers of all rows of a shard that lies there, ascending."""
    from pyarrow import parquet

    if part.is_gapless:
        return range(part.first, part.last + 1)
    found: list[int] = parquet.read_table(path, columns=[ROW])[ROW].to_pylist()
    return found


def numbers_of_key(path: Path, key: str) -> list[int]:
    """The numbers of a shard's rows about one content, dead ones among them."""
    from pyarrow import compute, parquet

    functions: Any = compute
    found: list[int] = []
    with parquet.ParquetFile(path) as file:
        for group in _groups_about(file.metadata, key):
            table = file.read_row_group(group, columns=["key", ROW])
            found += table.filter(functions.equal(table["key"], key))[ROW].to_pylist()
    return found


def _groups_about(metadata: Any, key: str) -> Iterator[int]:
    """The row groups between whose first and last key one is."""
    column = next(
        place for place in range(metadata.num_columns) if metadata.schema.column(place).path == "key"
    )
    for group in range(metadata.num_row_groups):
        told = metadata.row_group(group).column(column).statistics
        if told is None or not told.has_min_max or told.min <= key <= told.max:
            yield group


def rows_numbered(
    folder: Path, parts: Iterable[Part], numbers: Iterable[int], columns: Sequence[str]
) -> list[dict[str, Any]]:
    """Some columns of the rows that have these numbers; only the row groups that hold them are read."""
    from pyarrow import parquet

    wanted = sorted(numbers)
    found: list[dict[str, Any]] = []
    for part in parts:
        inside = wanted[bisect_left(wanted, part.first) : bisect_right(wanted, part.last)]
        if inside:
            with parquet.ParquetFile(folder / part.path, memory_map=True) as file:
                read = _by_place if part.is_gapless else _by_number
                found += read(file, part, inside, columns)
    return found


def _by_place(file: Any, part: Part, numbers: Sequence[int], columns: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of a shard that has every number, which tells where they lie."""
    import numpy

    metadata = file.metadata
    sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    starts = numpy.cumsum([0, *sizes])
    places = numpy.asarray(numbers) - part.first
    own = numpy.searchsorted(starts, places, side="right") - 1
    groups, order = numpy.unique(own, return_inverse=True)
    read_before = numpy.cumsum([0, *(sizes[group] for group in groups)])
    table = file.read_row_groups(groups.tolist(), columns=list(columns))
    rows: list[dict[str, Any]] = table.take(read_before[order] + places - starts[own]).to_pylist()
    for row, number in zip(rows, numbers, strict=True):
        row[ROW] = number
    return rows


def _by_number(file: Any, part: Part, numbers: Sequence[int], columns: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of a shard that must be asked for their numbers."""
    import pyarrow
    from pyarrow import compute

    functions: Any = compute
    groups = _groups_with(file.metadata, numbers)
    if not groups:
        return []
    table = file.read_row_groups(groups, columns=[*columns, ROW])
    wanted = functions.is_in(table[ROW], pyarrow.array(numbers, pyarrow.int64()))
    rows: list[dict[str, Any]] = table.filter(wanted).to_pylist()
    return rows


def _groups_with(metadata: Any, numbers: Sequence[int]) -> list[int]:
    """The row groups that may have a row with any of these numbers, which ascend."""
    column = next(place for place in range(metadata.num_columns) if metadata.schema.column(place).path == ROW)
    found = []
    for group in range(metadata.num_row_groups):
        told = metadata.row_group(group).column(column).statistics
        place = bisect_left(numbers, told.min)
        if place < len(numbers) and numbers[place] <= told.max:
            found.append(group)
    return found


def batches_of(path: Path, columns: Sequence[str] | None) -> Iterator[pyarrow.RecordBatch]:
    """All rows of one Parquet file, as many at a time as may lie in memory."""
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            # One at a time: a batch over several would hold more than a group's bytes.
            yield from file.iter_batches(GROUP_ROWS, row_groups=[group], columns=columns)


def _portions(
    entries: Sequence[Entry], sizes: Mapping[str, int], size: int, length: int | None = None
) -> Iterator[list[Entry]]:
    """Entries in order, in portions of so many bytes of content and so many rows at most."""
    portion: list[Entry] = []
    taken = 0
    for entry in entries:
        added = sizes[entry.item.key]
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
    try:
        return media.path(item).stat().st_size
    except FileNotFoundError:
        return len(media.read(item))


def _table(
    task: Task[Any], entries: Sequence[Entry], media: MediaStore, first: int, outside: Container[str]
) -> pyarrow.Table:
    import pyarrow

    rows = [{**_row(task, entry, media, outside), ROW: first + place} for place, entry in enumerate(entries)]
    return pyarrow.Table.from_pylist(rows, schema=schema_of(task))


def _row(task: Task[Any], entry: Entry, media: MediaStore, outside: Container[str]) -> Mapping[str, Any]:
    item, label = entry.item, entry.label
    image = {"bytes": None, "path": item.uri} if item.key in outside else None
    content = {"text": item.text} if item.text is not None else {"image": image or _image(item, media)}
    return {
        "key": item.key,
        **content,
        **task.to_row(label.target),
        "group": entry.place.group,
        "uri": item.uri,
        "provenance": label.provenance,
        "annotators": list(label.annotators),
        "agreement": label.agreement,
        "shown_models": list(label.shown_models),
        "confidence": label.confidence,
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


def _leaves(schema: pyarrow.Schema) -> Iterator[str]:
    """The names of a schema's columns as Parquet has them, `annotators.list.element` among them."""
    from pyarrow import types

    def leaves(name: str, kind: Any) -> Iterator[str]:
        if types.is_struct(kind):
            for place in range(kind.num_fields):
                yield from leaves(f"{name}.{kind.field(place).name}", kind.field(place).type)
        elif types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
            yield from leaves(f"{name}.list.element", kind.value_type)
        else:
            yield name

    for field in schema:
        yield from leaves(field.name, field.type)


def split_of_file(path: Path) -> str:
    """The split that a shard's name says."""
    return path.name.partition("-")[0]
