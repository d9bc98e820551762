"""Arrow files that a version's rows are mapped into memory from; all can be made again from its shards.

    <cache>/<digest of a shard>.arrow                         its rows as they lie, for all that have it
    <cache>/<digest of shards and dead rows>.ordered.arrow    the rows of a split in the order of their keys

Reading is quickest where the rows that follow each other lie beside each other, in few batches. So a split
whose rows lie in several files is put in order once, as `save_to_disk` would have written it, if that is soon
done; a larger one is read from where its rows lie, so that opening a version costs what it changed. Images
that lie outside of the version (see `by_address.py`) are fetched into such a file, each held against its key.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop.dataset.by_address import filled, media_beside
from goldloop.dataset.manifest import Manifest, Part

if TYPE_CHECKING:
    import datasets
    import pyarrow
    from numpy.typing import NDArray

MOST_ORDERED = 1 << 30
"""Bytes of a split, not compressed, that are put in order: a second or two of work."""
MOST_KEPT = 8 * MOST_ORDERED
"""Bytes of all such files; those that were not opened for longest go first."""
_ORDERED = ".ordered.arrow"
_AT_ONCE = 20_000
"""Rows of a batch: so many that there are few, and so few that one is soon made."""
_FETCHED_AT_ONCE = 500
"""Where images lie outside, of which nobody knows the size."""


def shard_file(shard: Path, part: Part, features: datasets.Features, cache: Path) -> Path:
    """The rows of a shard as they lie; the file is made if need be: whole, or not there."""
    import pyarrow
    from pyarrow import parquet

    path = cache / f"{part.sha256}.arrow"
    if path.exists():
        return path
    with _made(path) as aside:
        schema = features.arrow_schema
        with (
            parquet.ParquetFile(shard) as file,
            pyarrow.OSFile(str(aside), "wb") as sink,
            pyarrow.ipc.new_stream(sink, schema) as writer,
        ):
            for group in range(file.num_row_groups):
                writer.write_table(file.read_row_group(group, columns=list(features)).cast(schema))
    return path


def ordered_file(manifest: Manifest, split: str, cache: Path) -> Path | None:
    """Where the rows of a split lie in order, if they have been put so; the file counts as opened now."""
    path = cache / ordered_name(manifest, split)
    try:
        os.utime(path)
    except FileNotFoundError:
        return None
    return path


def is_soon_ordered(folder: Path, parts: Sequence[Part]) -> bool:
    """Whether the rows of some shards are few enough to be put in order."""
    from pyarrow import parquet

    size = 0
    for part in parts:
        told = parquet.read_metadata(folder / part.path)
        size += sum(told.row_group(group).total_byte_size for group in range(told.num_row_groups))
    return size <= MOST_ORDERED


def put_in_order(
    folder: Path,
    manifest: Manifest,
    split: str,
    features: datasets.Features,
    places: Sequence[int] | NDArray[Any],
    cache: Path,
) -> Path:
    """Write the rows of a split in order, as one Arrow file, with all images in it: whole, or not at all.

    Args:
        folder: the version's.
        manifest: its files.
        split: which.
        features: the columns.
        places: of the rows among those of all its shards, `(N,)`, in order.
        cache: the folder of such files.

    Raises:
        VersionError: an image that lies outside is missing or was changed.
    """
    import pyarrow

    schema = features.arrow_schema
    path = cache / ordered_name(manifest, split)
    with _made(path) as aside:
        parts, media = manifest.shards[split], media_beside(folder)
        soon = is_soon_ordered(folder, parts)
        rows = pyarrow.concat_tables(_rows(folder, part, features, cache, soon) for part in parts)
        at_once = _FETCHED_AT_ONCE if any(part.outside for part in parts) else _AT_ONCE
        with pyarrow.OSFile(str(aside), "wb") as sink, pyarrow.ipc.new_stream(sink, schema) as writer:
            for start in range(0, len(places), at_once):
                chosen = rows.take(pyarrow.array(places[start : start + at_once]))
                writer.write_table(filled(chosen, media).cast(schema).combine_chunks())
    _let_go(cache, path)
    return path


def ordered_name(manifest: Manifest, split: str) -> str:
    """The name of the file that has the rows of a split in order."""
    parts = manifest.shards[split]
    dead = [number for number in manifest.dead if any(part.first <= number <= part.last for part in parts)]
    told = json.dumps([[part.sha256 for part in parts], dead])
    return f"{hashlib.sha256(told.encode()).hexdigest()}{_ORDERED}"


def names_of(manifest: Manifest) -> set[str]:
    """The names of all files that the rows of a version may lie in."""
    shards = {f"{part.sha256}.arrow" for parts in manifest.shards.values() for part in parts}
    return shards | {ordered_name(manifest, split) for split in manifest.shards}


def _rows(folder: Path, part: Part, features: datasets.Features, cache: Path, soon: bool) -> pyarrow.Table:
    """The rows of a shard: mapped where an earlier version has had them read, or where they are many."""
    from datasets.table import MemoryMappedTable
    from pyarrow import parquet

    made = cache / f"{part.sha256}.arrow"
    schema = features.arrow_schema
    if not soon:
        shard_file(folder / part.path, part, features, cache)
    if made.exists():
        return MemoryMappedTable.from_file(str(made)).table.cast(schema)
    return parquet.read_table(folder / part.path, columns=list(features)).cast(schema)


def _let_go(cache: Path, kept: Path) -> None:
    """Take away ordered files until the rest is not too much; whoever has one open goes on reading it."""
    known = []
    for path in cache.glob(f"*{_ORDERED}"):
        with suppress(FileNotFoundError):
            told = path.stat()
            known.append((told.st_mtime_ns, told.st_size, path))
    held = sum(size for _, size, _ in known)
    for _, size, path in sorted(known):
        if held <= MOST_KEPT:
            return
        if path != kept:
            path.unlink(missing_ok=True)
            held -= size


@contextmanager
def _made(path: Path) -> Iterator[Path]:
    """A place to write a file aside, from which it is renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
