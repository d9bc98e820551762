"""Where prepared items are kept: found by content, shared by runs and processes, bounded, never half there.

<folder>/
  <way>/              one way of preparing: a digest of all that decides what becomes of an item
    writer.lock       held (flock) by the one process that adds, merges or drops here
    <segment>/        some items, as `write_columns` writes them; held (shared flock on its index) by each
                      process that reads it, and only dropped by one that can hold it alone

An item is found by a digest of its content and target, whose first half is of the content alone. Those that
are missing make a new segment, so a version that grows costs no more than what is new. Locks end with their
process, however it ends; what a killed process left half written begins with a dot and is removed by the next
that writes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from goldloop.errors import WorkspaceBusy
from goldloop.progress import Progress
from goldloop.training.columns import INDEX, Columns, is_whole, open_columns, write_columns

ITEM = "item_digest"
"""The column with the digest of each row's item, uint8 `(32,)`; no part of the rows."""
_HALF = 16

_LOCK = "writer.lock"
_SEGMENT = 4 * 2**30
_SMALL = 32 * 2**20
_MOST_SMALL = 8
_SHARE_OF_DISK = 4


@dataclass(frozen=True)
class Found:
    """Where items are.

    Attributes:
        folders: open segments, each held as long as it is referred to.
        places: int64 `(N, 2)`: of each item its folder's number and its row there, -1 where it is missing.
    """

    folders: tuple[Columns, ...]
    places: NDArray[Any]

    @property
    def missing(self) -> list[int]:
        """Positions of the items that are nowhere."""
        return [int(number) for number in numpy.flatnonzero(self.places[:, 0] < 0)]


class PreparedStore:
    """What was prepared in one way.

    Args:
        folder: of all ways.
        way: a digest.
    """

    def __init__(self, folder: Path, way: str) -> None:
        self._root = folder
        self._folder = folder / way

    def find(self, items: Sequence[bytes]) -> Found:
        """Open the segments that hold some of these items.

        Args:
            items: a digest of 32 bytes for each.
        """
        wanted: dict[bytes, list[int]] = {}
        for number, item in enumerate(items):
            wanted.setdefault(item, []).append(number)
        places = numpy.full((len(items), 2), -1, dtype=numpy.int64)
        folders: list[Columns] = []
        for path in _segments(self._folder):
            if not wanted:
                break
            columns = _open(path)
            if columns is None:
                continue
            here = False
            for row, item in enumerate(_items(columns)):
                for number in wanted.pop(item, ()):
                    places[number] = len(folders), row
                    here = True
            if here:
                folders.append(columns)
                _touch(path)
        return Found(tuple(folders), places)

    @contextmanager
    def writing(self, progress: Progress) -> Iterator[None]:
        """Wait until no other process writes here, and keep others from it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with _locked(self._folder / _LOCK, wait=False) as held:
            if held:
                _tidy(self._folder)
                yield
                return
        progress.say("another process prepares data in the same way: waiting for it")
        with _locked(self._folder / _LOCK, wait=True):
            _tidy(self._folder)
            yield

    def add(self, items: Sequence[bytes], rows: Iterable[Mapping[str, Any]]) -> None:
        """Keep the rows of some items; to be called while `writing`.

        A process that is killed loses the segment that it writes, four gigabytes at most, and none before it.

        Raises:
            OSError: the disk is full, or cannot be written to.
        """
        named = ({**row, ITEM: _array(item)} for item, row in zip(items, rows, strict=True))
        for part in _parts(named):
            write_columns(self._new(), part)

    def merge(self) -> None:
        """Make one segment of many small ones; to be called while `writing`."""
        small = [path for path in _segments(self._folder) if _bytes(path) < _SMALL]
        if len(small) <= _MOST_SMALL:
            return
        # Not worth a failure: the disk may have no room for both.
        with suppress(OSError):
            for path in self._merged(small):
                _drop(path)

    def _merged(self, small: Sequence[Path]) -> list[Path]:
        """Write segments anew as one; which of them that has made needless."""
        opened = [columns for columns in map(_open, small) if columns is not None]
        for alike in _of_one_kind(opened):
            write_columns(self._new(), _rows_once(alike))
        return [columns.folder for columns in opened]

    def _new(self) -> Path:
        return self._folder / uuid.uuid4().hex


def item_digest(key: str, line: bytes) -> bytes:
    """The digest by which an item is found.

    Args:
        key: of its content.
        line: its content key and its target, as one text.
    """
    return _of_content(key) + hashlib.sha256(line).digest()[:_HALF]


def rows_with(folder: Path, key: str) -> dict[Path, int]:
    """Segment -> how many rows it has of one content, whatever their targets.

    Args:
        folder: of all ways.
        key: of the content.
    """
    found = {}
    for path in (path for way in _ways(folder) for path in _segments(way)):
        columns = _open(path)
        count = 0 if columns is None else sum(map(_is_of(key), _items(columns)))
        if count:
            found[path] = count
    return found


def drop_rows(folder: Path, key: str) -> None:
    """Leave no row of one content, nor what a killed process left half written.

    Args:
        folder: of all ways.
        key: of the content.

    Raises:
        WorkspaceBusy: a process reads or writes there.
        OSError: the disk is full, or cannot be written to.
    """
    for way in _ways(folder):
        with _locked(way / _LOCK, wait=False) as held:
            if not held:
                raise _busy(way)
            _tidy(way)
            for path in _segments(way):
                _drop_rows_of(path, _is_of(key))


def _drop_rows_of(path: Path, is_of: Callable[[bytes], bool]) -> None:
    columns = _open(path)
    if columns is None:
        return
    kept = [row for row, item in enumerate(_items(columns)) if not is_of(item)]
    if len(kept) == columns.count:
        return
    if kept:
        write_columns(path.with_name(uuid.uuid4().hex), map(columns.row, kept))
    # What is held is not dropped.
    del columns
    if not _drop(path):
        raise _busy(path)


def _busy(where: Path) -> WorkspaceBusy:
    return WorkspaceBusy(
        "a process works with prepared data",
        where=where,
        remedy="Wait until it has finished, or stop it, and run the same command again",
    )


def _is_of(key: str) -> Callable[[bytes], bool]:
    start = _of_content(key)
    return lambda item: item.startswith(start)


def _of_content(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()[:_HALF]


def verify(folder: Path) -> int:
    """Read every byte of all prepared data and drop what is damaged, but for what is in use.

    Args:
        folder: of all ways.

    Returns:
        how many segments were damaged.
    """
    damaged = [path for way in _ways(folder) for path in _segments(way) if not is_whole(path)]
    for path in damaged:
        _drop(path)
    return len(damaged)


def bound(folder: Path, most_bytes: int | None = None) -> None:
    """Drop the segments that were not used for longest until the rest fits; never one that is in use.

    Args:
        folder: of all ways.
        most_bytes: what all may hold; None: a quarter of what they hold and what is free on the disk.
    """
    known = []
    for path in (path for way in _ways(folder) for path in _segments(way)):
        with suppress(OSError):
            known.append((path.stat().st_mtime_ns, _bytes(path), path))
    held = sum(size for _, size, _ in known)
    if most_bytes is None:
        most_bytes = (held + shutil.disk_usage(folder).free) // _SHARE_OF_DISK if known else 0
    for _, size, path in sorted(known):
        if held <= most_bytes:
            return
        # Whoever writes there has not opened yet what it has just written.
        with _locked(path.parent / _LOCK, wait=False) as alone:
            if alone and _drop(path):
                held -= size


def _ways(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _segments(way: Path) -> list[Path]:
    """The segments of a way, the one that was used last first."""
    found = []
    with suppress(OSError):
        for path in way.iterdir():
            if not path.name.startswith(".") and path.name != _LOCK:
                with suppress(OSError):
                    found.append((-path.stat().st_mtime_ns, path.name, path))
    return [path for _, _, path in sorted(found)]


def _bytes(folder: Path) -> int:
    with suppress(OSError):
        return sum(path.stat().st_size for path in folder.iterdir())
    return 0


def _touch(path: Path) -> None:
    with suppress(OSError):
        os.utime(path)


def _open(path: Path) -> Columns | None:
    """A segment, held against being dropped while it is referred to; a damaged one is dropped."""
    try:
        handle = os.open(path / INDEX, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        # It may have been dropped between the two calls.
        there = os.fstat(handle).st_ino == (path / INDEX).stat().st_ino
    except OSError:
        os.close(handle)
        return None
    columns = open_columns(path) if there else None
    if columns is None or columns.column(ITEM) is None:
        os.close(handle)
        if there:
            _drop(path)
        return None
    weakref.finalize(columns, os.close, handle)
    return columns


def _drop(path: Path) -> bool:
    """Remove a segment unless somebody reads it; whoever looks sees all of it or nothing."""
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with _locked(path / INDEX, wait=False, make=False) as alone:
        if not alone:
            return False
        try:
            path.rename(aside)
        except OSError:
            return False
    shutil.rmtree(aside, ignore_errors=True)
    return True


def _tidy(way: Path) -> None:
    """Remove what a killed process left half written or half removed, and what lost its index."""
    for path in way.iterdir():
        if path.name.startswith(".") or (path.is_dir() and not (path / INDEX).exists()):
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _locked(path: Path, *, wait: bool, make: bool = True) -> Iterator[bool]:
    """Hold a file alone; False where another process holds it, and there is no waiting."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT if make else os.O_RDONLY, 0o644)
    except OSError:
        if wait:
            raise
        yield False
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)


def _items(columns: Columns) -> list[bytes]:
    column = columns.column(ITEM)
    content = b"" if column is None else column.tobytes()
    return [content[start : start + 32] for start in range(0, len(content), 32)]


def _array(item: bytes) -> NDArray[Any]:
    return numpy.frombuffer(item, dtype=numpy.uint8)


def _parts(rows: Iterator[dict[str, Any]]) -> Iterator[Iterator[dict[str, Any]]]:
    """Rows in runs of about as many bytes as a segment should have."""
    for first in rows:
        yield _until(chain([first], rows))


def _until(rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    size = 0
    for row in rows:
        yield row
        size += sum(
            8 * len(value) if isinstance(value, list) else getattr(value, "nbytes", 8)
            for value in row.values()
        )
        if size >= _SEGMENT:
            return


def _of_one_kind(opened: Sequence[Columns]) -> list[list[Columns]]:
    """Segments that can become one: rows of the same names."""
    kinds: dict[tuple[str, ...], list[Columns]] = {}
    for columns in opened:
        kinds.setdefault(columns.names, []).append(columns)
    return list(kinds.values())


def _rows_once(opened: Sequence[Columns]) -> Iterator[dict[str, Any]]:
    seen: set[bytes] = set()
    for columns in opened:
        for row, item in enumerate(_items(columns)):
            if item not in seen:
                seen.add(item)
                yield columns.row(row)
