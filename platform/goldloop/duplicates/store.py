"""The cache of traces, and of which of them are near-duplicates: one SQLite file for each kind of likeness.

    classes    contents that are the same but for what does not count; `compared` with all others that are
    sketches, details    what finds and compares them      items    content key -> class
    pairs      classes whose contents are near-duplicates

All of it can be made again. A file that is damaged is begun anew.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from goldloop.duplicates.likeness import Trace

_TABLES = """
CREATE TABLE IF NOT EXISTS classes
    (number INTEGER PRIMARY KEY, same BLOB UNIQUE NOT NULL, compared INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS new_classes ON classes (number) WHERE compared = 0;
CREATE TABLE IF NOT EXISTS sketches (number INTEGER PRIMARY KEY, sketch BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS details (number INTEGER PRIMARY KEY, detail BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS items (key BLOB PRIMARY KEY, class INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS items_by_class ON items (class);
CREATE TABLE IF NOT EXISTS pairs (one INTEGER, other INTEGER, PRIMARY KEY (one, other)) WITHOUT ROWID;
"""
_PATIENCE = 600
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_AT_ONCE = 500
_CLASS = "SELECT class FROM items WHERE key = ?"
_MEMBERS = "SELECT key FROM items WHERE class = ?"


class Store:
    """Traces by content key, in `folder/NAME.db`.

    Args:
        folder: made if need be.
        name: the likeness's.
    """

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{name}.db"
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode not in _DAMAGED:
                raise
            self.path.unlink()
            self._prepare()

    def classes(self) -> dict[str, int]:
        """Content key -> class, of everything that is known."""
        with self._open() as connection:
            return {key.hex(): number for key, number in connection.execute("SELECT key, class FROM items")}

    def classes_of(self, keys: Iterable[str]) -> dict[str, int]:
        """Content key -> class, of those among these that are known."""
        with self._open() as connection:
            asked = ((key, connection.execute(_CLASS, (bytes.fromhex(key),)).fetchone()) for key in keys)
            return {key: row[0] for key, row in asked if row is not None}

    def members(self, numbers: Iterable[int]) -> dict[int, list[str]]:
        """Class -> the content keys that it has."""
        with self._open() as connection:
            return {
                number: [key.hex() for (key,) in connection.execute(_MEMBERS, (number,))]
                for number in numbers
            }

    def add(self, traces: Mapping[str, Trace]) -> None:
        """Keep traces by content key; those of a class that is there add nothing but their keys."""
        same = [(trace.same,) for trace in traces.values()]
        with self._open() as connection, connection:
            connection.executemany("INSERT OR IGNORE INTO classes (same, compared) VALUES (?, 0)", same)
            for key, trace in traces.items():
                (number,) = connection.execute(
                    "SELECT number FROM classes WHERE same = ?", (trace.same,)
                ).fetchone()
                connection.execute("INSERT OR REPLACE INTO items VALUES (?, ?)", (bytes.fromhex(key), number))
                if trace.sketch:
                    connection.execute("INSERT OR IGNORE INTO sketches VALUES (?, ?)", (number, trace.sketch))
                    connection.execute("INSERT OR IGNORE INTO details VALUES (?, ?)", (number, trace.detail))

    def traces(self, keys: Iterable[str]) -> dict[str, Trace]:
        """What is kept under content keys; of those that are not known nothing."""
        found = {}
        query = (
            "SELECT same, sketch, detail FROM items JOIN classes ON class = number"
            " LEFT JOIN sketches USING (number) LEFT JOIN details USING (number) WHERE key = ?"
        )
        with self._open() as connection:
            for key in keys:
                row = connection.execute(query, (bytes.fromhex(key),)).fetchone()
                if row is not None:
                    found[key] = Trace(row[0], row[1] or b"", row[2] or b"")
        return found

    def sketched(self, *, compared: bool) -> list[int]:
        """The classes that can be near others and were compared with all such, or were not yet."""
        query = "SELECT number FROM classes JOIN sketches USING (number) WHERE compared = ? ORDER BY number"
        with self._open() as connection:
            return [number for (number,) in connection.execute(query, (int(compared),))]

    def sketches(self, numbers: Sequence[int]) -> list[bytes]:
        """Sketches of classes, in their order."""
        return self._read("sketches", "sketch", numbers)

    def details(self, numbers: Sequence[int]) -> list[bytes]:
        """Details of classes, in their order."""
        return self._read("details", "detail", numbers)

    def relate(self, pairs: Iterable[tuple[int, int]], compared: Iterable[int]) -> None:
        """Note which classes are near-duplicates, and that these are now compared with all others."""
        with self._open() as connection, connection:
            connection.executemany(
                "INSERT OR IGNORE INTO pairs VALUES (?, ?)", ((min(pair), max(pair)) for pair in pairs)
            )
            connection.executemany(
                "UPDATE classes SET compared = 1 WHERE number = ?", ((each,) for each in compared)
            )

    def pairs(self) -> list[tuple[int, int]]:
        """Classes that are near-duplicates."""
        with self._open() as connection:
            return list(connection.execute("SELECT one, other FROM pairs ORDER BY one, other"))

    def forget(self, key: str) -> None:
        """Wipe out what is kept of a content, unless another content has the very same."""
        with self._open() as connection, connection:
            row = connection.execute(
                "SELECT class FROM items WHERE key = ?", (bytes.fromhex(key),)
            ).fetchone()
            if row is None:
                return
            connection.execute("DELETE FROM items WHERE key = ?", (bytes.fromhex(key),))
            if connection.execute("SELECT 1 FROM items WHERE class = ?", row).fetchone() is None:
                for table in ("classes", "sketches", "details"):
                    connection.execute(f"DELETE FROM {table} WHERE number = ?", row)  # noqa: S608
                connection.execute("DELETE FROM pairs WHERE one = ? OR other = ?", (*row, *row))

    def _prepare(self) -> None:
        with self._open() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_TABLES)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=_PATIENCE)) as connection:
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA secure_delete = ON")
            yield connection

    def _read(self, table: str, column: str, numbers: Sequence[int]) -> list[bytes]:
        found: dict[int, bytes] = {}
        with self._open() as connection:
            for start in range(0, len(numbers), _AT_ONCE):
                chosen = numbers[start : start + _AT_ONCE]
                marks = ", ".join("?" * len(chosen))
                query = f"SELECT number, {column} FROM {table} WHERE number IN ({marks})"  # noqa: S608
                found.update(connection.execute(query, list(chosen)))
        return [found[number] for number in numbers]
