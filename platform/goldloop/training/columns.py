"""Rows of numbers on disk, read through a memory map: what items are once they have been prepared.

<folder>/
  NAME.bin        one column: the rows' arrays one after another, in the machine's byte order
  NAME.lengths    of a column whose rows differ in length, each row's first dimension (int64)
  index.json      types, shapes, sizes and digests; it carries its own digest too
  verified.json   which files, by inode, size and times, had the digests of the index

A folder is whole or it is not there, and one that was damaged since is not read. Digests are computed when
a file is new to this folder or was touched, not at every start: gigabytes would take seconds each time. A
disk that alters bytes behind the file system's back is found by `is_whole`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy
from numpy.typing import NDArray

from goldloop import durable
from goldloop.training.column import Column

INDEX = "index.json"
_VERIFIED = "verified.json"


class Columns:
    """Prepared rows by position.

    Args:
        folder: what `write_columns` wrote; `open_columns` checks it first.
        index: what its index says.
    """

    def __init__(self, folder: Path, index: Mapping[str, Any]) -> None:
        self.folder = folder
        self.count = int(index["rows"])
        self._columns = {
            name: Column(folder / f"{name}.bin", self.count, column)
            for name, column in index["columns"].items()
        }

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(self._columns)

    def row(self, position: int) -> dict[str, Any]:
        """One row: arrays as views of the map, scalars as plain numbers."""
        return {name: column.value(position) for name, column in self._columns.items()}

    def get(self, name: str) -> Column | None:
        """The column of a name."""
        return self._columns.get(name)

    def column(self, name: str) -> NDArray[Any] | None:
        """A column of scalars or of arrays of one shape, whole; None where there is none of that name."""
        found = self._columns.get(name)
        return None if found is None else found.whole

    def lengths(self, name: str) -> NDArray[Any] | None:
        """First dimension of each row's array, int64 `(N,)`; None where there is no such column."""
        found = self._columns.get(name)
        return None if found is None else found.lengths


def open_columns(folder: Path) -> Columns | None:
    """The rows in a folder; None where it is absent or a file in it is not what was written."""
    index = _index(folder)
    if index is None:
        return None
    try:
        identities = _identities(folder, index)
        if _verified(folder) != identities:
            if not _digests_match(folder, index):
                return None
            with suppress(OSError):
                durable.replace(folder / _VERIFIED, json.dumps(identities).encode())
    except OSError:
        return None
    return Columns(folder, index)


def is_whole(folder: Path) -> bool:
    """Whether every byte in a folder is what was written, whatever its files' times say."""
    index = _index(folder)
    try:
        return index is not None and _digests_match(folder, index)
    except OSError:
        return False


def _index(folder: Path) -> dict[str, Any] | None:
    try:
        stored = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        index = stored["index"]
        return index if stored["digest"] == _digest_of(index) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _identities(folder: Path, index: Mapping[str, Any]) -> dict[str, list[int]]:
    """What tells that a file is another or was written to; its digest belongs to it."""
    found = {}
    for name, (_, digest) in index["files"].items():
        stat = (folder / name).stat()
        known = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        found[f"{name} {digest}"] = known
    return found


def _verified(folder: Path) -> Any:
    try:
        return json.loads((folder / _VERIFIED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _digests_match(folder: Path, index: Mapping[str, Any]) -> bool:
    for name, (size, digest) in index["files"].items():
        path = folder / name
        if path.stat().st_size != size:
            return False
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                return False
    return True


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
        files = {name: entry for writer in writers.values() for name, entry in writer.files.items()}
        _write_index(aside, {"rows": count, "columns": columns, "files": files})
        if folder.exists():
            shutil.rmtree(folder)
        aside.replace(folder)
        durable.flush(folder.parent)
    finally:
        for writer in writers.values():
            writer.close()
        shutil.rmtree(aside, ignore_errors=True)


def _write_index(aside: Path, content: Mapping[str, Any]) -> None:
    index = json.loads(json.dumps(content))
    durable.write_text(aside / INDEX, json.dumps({"digest": _digest_of(index), "index": index}))
    durable.write_text(aside / _VERIFIED, json.dumps(_identities(aside, index)))
    durable.flush(aside)


def _digest_of(index: Any) -> str:
    return hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()


class _ColumnWriter:
    def __init__(self, folder: Path, name: str) -> None:
        self.files: dict[str, tuple[int, str]] = {}
        self._path = folder / f"{name}.bin"
        self._file: BinaryIO = self._path.open("wb")
        self._digest = hashlib.sha256()
        self._size = 0
        self._lengths: list[int] = []
        self._dtype: numpy.dtype[Any] | None = None
        self._trailing: tuple[int, ...] | None = None

    def add(self, value: Any) -> None:
        array = numpy.ascontiguousarray(value) if numpy.ndim(value) else numpy.asarray(value)
        # What is empty does not say of what it would be.
        if array.size == 0 and self._size:
            array = array.astype(self._dtype)
        trailing = None if array.ndim == 0 else array.shape[1:]
        if not self._size:
            self._settle(array, trailing)
        if (array.dtype, trailing) != (self._dtype, self._trailing):
            raise ValueError(
                f"column {self._path.stem} holds {array.dtype} {trailing} "
                f"after {self._dtype} {self._trailing}"
            )
        content = array.tobytes()
        self._file.write(content)
        self._digest.update(content)
        self._size += len(content)
        self._lengths.append(1 if array.ndim == 0 else len(array))

    def _settle(self, array: NDArray[Any], trailing: tuple[int, ...] | None) -> None:
        if array.dtype.kind not in "biuf":
            raise ValueError(f"column {self._path.stem} holds {array.dtype}, which is no number")
        if any(self._lengths):
            return
        self._dtype, self._trailing = array.dtype, trailing

    def finish(self) -> dict[str, Any]:
        self._file.flush()
        os.fsync(self._file.fileno())
        self.close()
        self.files[self._path.name] = (self._size, self._digest.hexdigest())
        lengths = set(self._lengths)
        ragged = self._trailing is not None and len(lengths) > 1
        if ragged:
            path = self._path.with_suffix(".lengths")
            content = numpy.asarray(self._lengths, dtype=numpy.int64).tobytes()
            path.write_bytes(content)
            durable.flush(path)
            self.files[path.name] = (len(content), hashlib.sha256(content).hexdigest())
        whole = () if self._trailing is None else (*lengths, *self._trailing)
        trailing = (self._trailing or ()) if ragged else whole
        return {"dtype": str(self._dtype), "trailing": trailing, "ragged": ragged}

    def close(self) -> None:
        self._file.close()
