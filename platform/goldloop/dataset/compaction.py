"""When files of a version are written anew: small ones become one, and rows that are dead go.

Once eight files are about as large, they become one, so that a row is written again each time that its file
grows eightfold. A shard is written anew when an eighth of its rows are dead, or when more rows are dead than
the card can well list. Over many commits that is a constant times what changed. Versions that are there keep
the files that they have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop.dataset.by_address import count_outside
from goldloop.dataset.manifest import Part
from goldloop.dataset.shards import GROUP_BYTES, GROUP_ROWS, ROW, SHARD_BYTES, part_of, shard_writer

if TYPE_CHECKING:
    import pyarrow

FAN = 8
"""So many files of about one size become one."""
DEAD_SHARE = 1 / 8
MOST_DEAD = 20_000
"""More numbers than these make the card slow to read."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file as it lies now, and what it is."""

    path: Path
    part: Part


def run_to_merge(parts: Sequence[Part]) -> int:
    """From which on the last files are to become one; their number if none are."""
    start = len(parts)
    for level in sorted({_level(part) for part in parts}):
        run = len(parts)
        while run > 0 and not _is_large(parts[run - 1]) and _level(parts[run - 1]) <= level:
            run -= 1
        if sum(_level(part) == level for part in parts[run:]) >= FAN:
            start = min(start, run)
    return start


def _level(part: Part) -> int:
    """How often eight goes into its number of rows."""
    level, rows = 0, part.rows
    while rows >= FAN:
        rows //= FAN
        level += 1
    return level


def _is_large(part: Part) -> bool:
    return part.bytes * FAN > SHARD_BYTES


def shards_to_rewrite(sources: Sequence[Source], dead: Mapping[Path, int]) -> list[Source]:
    """Those of which too many rows are dead, for themselves or for all of them together.

    Args:
        sources: all shards.
        dead: how many rows of each are.
    """
    found = [source for source in sources if dead[source.path] > source.part.rows * DEAD_SHARE]
    left = sum(dead.values()) - sum(dead[source.path] for source in found)
    if left > MOST_DEAD:
        others = [source for source in sources if source not in found]
        for source in sorted(others, key=lambda source: -dead[source.path]):
            if left <= MOST_DEAD // 2:
                break
            found.append(source)
            left -= dead[source.path]
    return found


def merge_shards(
    path: Path, schema: pyarrow.Schema, sources: Sequence[Source], dead: frozenset[int]
) -> Part | None:
    """Write the rows of some shards that are not dead as one; None, and no file, if none is left."""
    import pyarrow
    from pyarrow import compute

    functions: Any = compute
    left_out = pyarrow.array(sorted(dead), pyarrow.int64())
    rows, first, last, outside = 0, -1, -1, 0
    with shard_writer(path, schema) as writer:
        for table in _groups(sources):
            alive = table.filter(functions.invert(functions.is_in(table[ROW], left_out)))
            if len(alive):
                writer.write_table(alive.select(schema.names).cast(schema))
                rows += len(alive)
                outside += count_outside(alive)
                first = first if first >= 0 else alive[ROW][0].as_py()
                last = alive[ROW][-1].as_py()
    if not rows:
        path.unlink()
        return None
    return part_of(path, rows, first, last, outside)


def _groups(sources: Sequence[Source]) -> Iterator[pyarrow.Table]:
    """The row groups of some shards; small ones together, so that they do not stay small."""
    import pyarrow
    from pyarrow import parquet

    waiting: list[pyarrow.Table] = []
    for source in sources:
        with parquet.ParquetFile(source.path) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group).replace_schema_metadata()
                rows, size = (sum(map(of, [*waiting, table])) for of in (len, lambda each: each.nbytes))
                if waiting and (rows > GROUP_ROWS or size > GROUP_BYTES):
                    yield pyarrow.concat_tables(waiting)
                    waiting = []
                waiting.append(table)
    if waiting:
        yield pyarrow.concat_tables(waiting)
