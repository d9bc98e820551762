"""Rows of several Arrow files in another order than theirs, without a copy of any.

`datasets` would keep such an order as a list of row numbers, and slice that first for each row. Here each run
of rows that follow each other is a batch of the table, and single rows are taken from where they lie.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
import pyarrow
from datasets.table import InMemoryTable, MemoryMappedTable
from typing_extensions import override

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
        self._made_of = (tuple(files), schema, places)
        self._sources = [
            batch
            for file in files
            for batch in MemoryMappedTable.from_file(str(file)).table.cast(schema).to_batches()
            if len(batch)
        ]
        ends = numpy.cumsum([0, *map(len, self._sources)])
        self._ends = ends.tolist()
        starts = numpy.flatnonzero(begins_run(places) | numpy.isin(places, ends))
        lengths = numpy.diff(starts, append=len(places)).tolist()
        ordered = [
            self._slice(place, length) for place, length in zip(places[starts].tolist(), lengths, strict=True)
        ]
        super().__init__(pyarrow.Table.from_batches(ordered, schema=schema))

    @override
    def fast_slice(self, offset: int = 0, length: int | None = None) -> pyarrow.Table:
        if length == 1 and 0 <= offset < len(self._made_of[2]):
            return self.fast_gather([offset])
        return super().fast_slice(offset, length)

    @override
    def fast_gather(self, indices: Sequence[int] | NDArray[Any]) -> pyarrow.Table:
        places = self._made_of[2]
        rows = [self._slice(int(places[index]), 1) for index in indices]
        return pyarrow.Table.from_batches(rows, schema=self._schema)

    @override
    def replace_schema_metadata(self, metadata: Any = None) -> OrderedTable:
        # `datasets` does it to every table; what is made of this one must be no copy either.
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.table = self.table.replace_schema_metadata(metadata)
        other._schema = other.table.schema
        other._made_of = (self._made_of[0], other._schema, self._made_of[2])
        return other

    def __reduce__(self) -> Any:
        return type(self), self._made_of

    def _slice(self, place: int, length: int) -> pyarrow.RecordBatch:
        """Rows that follow each other in one batch of a file."""
        batch = bisect_right(self._ends, place) - 1
        return self._sources[batch].slice(place - self._ends[batch], length)


def begins_run(places: NDArray[Any]) -> NDArray[Any]:
    """Which rows, `(N,)`, do not follow the one before in its file."""
    found: NDArray[Any] = numpy.diff(places, prepend=-2) != 1
    return found
