"""One column of prepared rows on disk: views through a memory map, and many rows with one copy.

Rows are copied by one call, during which other threads run: a call for each would wait each time until the
thread that trains lets go of the interpreter. What was read through the map counts as this process's memory,
though it is the system's; now and then it is handed back, so that memory stays flat.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from goldloop.errors import TrainingError

_LARGE = 16 * 1024
_HANDED_BACK = 128 * 2**20


class Column:
    """What one name stands for in each row.

    Args:
        path: its file.
        count: how many rows there are.
        description: what the index says of it.

    Attributes:
        shape: of each row's array, `()` for scalars; None where rows differ in length.
        trailing: of each row's array without its first dimension.
        dtype: of the numbers.
        empty: whether no row has a number.
    """

    def __init__(self, path: Path, count: int, description: Mapping[str, Any]) -> None:
        self._path = path
        self.dtype = numpy.dtype(description["dtype"])
        flat = _map(path, self.dtype)
        self.empty = not len(flat)
        trailing = tuple(description["trailing"])
        self._offsets: NDArray[Any] | None = None
        if description["ragged"]:
            lengths = _map(path.with_suffix(".lengths"), numpy.dtype(numpy.int64))
            self._offsets = numpy.concatenate([[0], numpy.cumsum(lengths)])
            self.shape: tuple[int, ...] | None = None
            self.trailing = trailing
            self._values = flat.reshape(-1, *trailing)
        else:
            self.shape = trailing
            self.trailing = trailing[1:]
            self._values = flat.reshape(count, *trailing)
        self._bytes = 0 if self.shape is None else int(numpy.prod(self.shape)) * self.dtype.itemsize
        self._reader: mmap.mmap | None = None
        self._source = self._values
        self._read = 0
        if self._bytes >= _LARGE and not self.empty:
            with path.open("rb") as file:
                self._reader = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._source = numpy.frombuffer(self._reader, self.dtype).reshape(self._values.shape)

    @property
    def whole(self) -> NDArray[Any] | None:
        """All rows `(N, ...)`; None where they differ in length."""
        return self._values if self._offsets is None else None

    @property
    def lengths(self) -> NDArray[Any]:
        """First dimension of each row's array, int64 `(N,)`; 1 for scalars."""
        if self._offsets is not None:
            return numpy.diff(self._offsets)
        length = self.shape[0] if self.shape else 1
        return numpy.full(len(self._values), length, dtype=numpy.int64)

    def value(self, position: int) -> Any:
        """A row's array as a view of the map, or its number."""
        if self._offsets is not None:
            return self._values[self._offsets[position] : self._offsets[position + 1]]
        value = self._values[position]
        return value.item() if self.shape == () else value

    def take(self, positions: NDArray[Any], out: NDArray[Any]) -> None:
        """Copy rows of the one shape that all have into an array `(len(positions), ...)`.

        Raises:
            TrainingError: the file has become shorter since it was opened.
        """
        if self._reader is not None and self._reader.size() < self._source.nbytes:
            # To read on would end the process.
            raise TrainingError(
                "prepared data was cut short while it was in use",
                where=self._path,
                remedy="Start again: what is damaged is prepared anew",
            )
        # Any other mode would copy twice; positions are of rows that are there.
        numpy.take(self._source, positions, axis=0, out=out, mode="clip")
        if self._reader is not None:
            self._read += out.nbytes
            if self._read > _HANDED_BACK:
                self._read = 0
                self._reader.madvise(mmap.MADV_DONTNEED)


def _map(path: Path, dtype: numpy.dtype[Any]) -> NDArray[Any]:
    if path.stat().st_size == 0:
        return numpy.empty(0, dtype=dtype)
    # Copy-on-write: torch wants arrays that may be written to, and the file must stay what it is.
    return numpy.asarray(numpy.memmap(path, dtype=dtype, mode="c"))
