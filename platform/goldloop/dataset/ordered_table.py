"""Rows of several Arrow files in another order than theirs, without a copy of any.

`datasets` would keep such an order as a list of row numbers, and look up each row there first. Here each run
of rows that follow each other is a batch of the table, so that reading costs what it does of a single file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
import pyarrow
from datasets.table import InMemoryTable, MemoryMappedTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_RUNS = 25_000
"""More runs than these take more memory than reading them is faster."""


class OrderedTable(InMemoryTable):  # type: ignore[misc]
    """A table that is pickled by the names of its files; what is mapped stays mapped.

    Args:
        files: Arrow streams with these columns.
        schema: the columns.
        places: of the rows among those of all files, `(N,)`, in order.
    """

    def __init__(self, files: Sequence[Path], schema: pyarrow.Schema, places: NDArray[Any]) -> None:
        batches = [
            batch
            for file in files
            for batch in MemoryMappedTable.from_file(str(file)).table.cast(schema).to_batches()
            if len(batch)
        ]
        ends = numpy.cumsum([0, *map(len, batches)])
        starts = numpy.flatnonzero(begins_run(places) | numpy.isin(places, ends))
        lengths = numpy.diff(starts, append=len(places))
        first = places[starts]
        inside = numpy.searchsorted(ends, first, side="right") - 1
        ordered = [
            batches[batch].slice(offset, length)
            for batch, offset, length in zip(
                inside.tolist(), (first - ends[inside]).tolist(), lengths.tolist(), strict=True
            )
        ]
        super().__init__(pyarrow.Table.from_batches(ordered, schema=schema))
        self._made_of = (tuple(files), schema, places)

    def __reduce__(self) -> Any:
        return type(self), self._made_of


def begins_run(places: NDArray[Any]) -> NDArray[Any]:
    """Which rows, `(N,)`, do not follow the one before in its file."""
    found: NDArray[Any] = numpy.diff(places, prepend=-2) != 1
    return found
