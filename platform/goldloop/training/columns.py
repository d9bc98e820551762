"""Rows of numbers on disk, read through a memory map: what a split is once it has been prepared.

<folder>/
  NAME.bin       one column: the rows' arrays one after another, in the machine's byte order
  NAME.lengths   of a column whose rows differ in length, each row's first dimension (int64)
  index.json     types, shapes, sizes and digests; it carries its own digest too

A folder is whole or it is not there. One that was damaged since is not read.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy
from numpy.typing import NDArray

_INDEX = "index.json"


class Columns:
    """Prepared rows by position.

    Args:
        folder: what `write_columns` wrote; `open_columns` checks it first.
        index: what its index says.
    """

    def __init__(self, folder: Path, index: Mapping[str, Any]) -> None:
        self.count = int(index["rows"])
        self._columns: dict[str, tuple[NDArray[Any], NDArray[Any] | None, bool]] = {}
        for name, column in index["columns"].items():
            flat = _map(folder / f"{name}.bin", column["dtype"])
            trailing = tuple(column["trailing"])
            if column["ragged"]:
                lengths = _map(folder / f"{name}.lengths", "int64")
                offsets = numpy.concatenate([[0], numpy.cumsum(lengths)])
                self._columns[name] = (flat.reshape(-1, *trailing), offsets, False)
            else:
                self._columns[name] = (flat.reshape(self.count, *trailing), None, not trailing)

    def row(self, position: int) -> dict[str, Any]:
        """One row: arrays as views of the map, scalars as plain numbers."""
        return {name: self._value(name, position) for name in self._columns}

    def column(self, name: str) -> NDArray[Any] | None:
        """A column of scalars or of arrays of one shape, whole; None where there is none of that name."""
        found = self._columns.get(name)
        return found[0] if found is not None and found[1] is None else None

    def lengths(self, name: str) -> NDArray[Any] | None:
        """First dimension of each row's array, int64 `(N,)`; None where there is no such column."""
        found = self._columns.get(name)
        if found is None:
            return None
        values, offsets, _ = found
        if offsets is not None:
            return numpy.diff(offsets)
        return numpy.full(self.count, values.shape[1] if values.ndim > 1 else 1, dtype=numpy.int64)

    def _value(self, name: str, position: int) -> Any:
        values, offsets, scalar = self._columns[name]
        if offsets is not None:
            return values[offsets[position] : offsets[position + 1]]
        return values[position].item() if scalar else values[position]


def _map(path: Path, dtype: str) -> NDArray[Any]:
    if path.stat().st_size == 0:
        return numpy.empty(0, dtype=dtype)
    # Copy-on-write: torch wants arrays that may be written to, and the file must stay what it is.
    return numpy.asarray(numpy.memmap(path, dtype=dtype, mode="c"))


def open_columns(folder: Path) -> Columns | None:
    """The rows in a folder; None where it is absent or anything in it is not what was written."""
    try:
        stored = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        index = stored["index"]
        if stored["digest"] != _digest_of(index):
            return None
        for name, (size, digest) in index["files"].items():
            path = folder / name
            if path.stat().st_size != size:
                return None
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Columns(folder, index)


def write_columns(folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as they come; the folder appears when all are on the disk.

    Every row has the same names; a value is a number or an array-like whose type and shape, but for the
    first dimension, are those of the other rows.

    Raises:
        OSError: the disk is full, or cannot be written to.
        ValueError: rows that do not fit each other.
    """
    aside = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    writers: dict[str, _ColumnWriter] = {}
    count = 0
    try:
        for row in rows:
            if not count:
                writers = {name: _ColumnWriter(aside, name) for name in row}
            if row.keys() != writers.keys():
                raise ValueError(f"row {count} has {sorted(row)}, the first has {sorted(writers)}")
            for name, value in row.items():
                writers[name].add(value)
            count += 1
        columns = {name: writer.finish() for name, writer in writers.items()}
        _write_index(aside, count, columns)
        if folder.exists():
            shutil.rmtree(folder)
        aside.replace(folder)
    finally:
        for writer in writers.values():
            writer.close()
        shutil.rmtree(aside, ignore_errors=True)


def _write_index(aside: Path, count: int, columns: Mapping[str, Mapping[str, Any]]) -> None:
    files = {}
    for path in sorted(aside.iterdir()):
        with path.open("rb") as file:
            files[path.name] = (path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())
            os.fsync(file.fileno())
    index = json.loads(json.dumps({"rows": count, "columns": columns, "files": files}))
    with (aside / _INDEX).open("w", encoding="utf-8") as file:
        json.dump({"digest": _digest_of(index), "index": index}, file)
        file.flush()
        os.fsync(file.fileno())


def _digest_of(index: Any) -> str:
    return hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()


class _ColumnWriter:
    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f"{name}.bin"
        self._file: BinaryIO = self._path.open("wb")
        self._lengths: list[int] = []
        self._dtype: numpy.dtype[Any] | None = None
        self._trailing: tuple[int, ...] | None = None

    def add(self, value: Any) -> None:
        array = numpy.ascontiguousarray(value) if numpy.ndim(value) else numpy.asarray(value)
        if array.size == 0 and self._dtype is not None:
            array = array.astype(self._dtype)
        trailing = None if array.ndim == 0 else array.shape[1:]
        if self._dtype is None:
            if array.dtype.kind not in "biuf":
                raise ValueError(f"column {self._path.stem} holds {array.dtype}, which is no number")
            self._dtype, self._trailing = array.dtype, trailing
        if (array.dtype, trailing) != (self._dtype, self._trailing):
            raise ValueError(
                f"column {self._path.stem} holds {array.dtype} {trailing} "
                f"after {self._dtype} {self._trailing}"
            )
        self._file.write(array.tobytes())
        self._lengths.append(1 if array.ndim == 0 else len(array))

    def finish(self) -> dict[str, Any]:
        self.close()
        lengths = set(self._lengths)
        ragged = self._trailing is not None and len(lengths) > 1
        if ragged:
            numpy.asarray(self._lengths, dtype=numpy.int64).tofile(self._path.with_suffix(".lengths"))
        whole = () if self._trailing is None else (*lengths, *self._trailing)
        trailing = (self._trailing or ()) if ragged else whole
        return {"dtype": str(self._dtype), "trailing": trailing, "ragged": ragged}

    def close(self) -> None:
        self._file.close()
