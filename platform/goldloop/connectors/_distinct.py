"""Which names have come before: kept on disk, so that millions of them cost no memory."""

from __future__ import annotations

import hashlib
import sqlite3


class Distinct:
    """Names that have been seen, in a database of its own that goes with it."""

    def __init__(self) -> None:
        # An empty name is a temporary file of SQLite's own, which spills what its cache does not hold.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA synchronous=OFF")
        self._database.execute("PRAGMA journal_mode=OFF")
        self._database.execute("CREATE TABLE seen (name BLOB PRIMARY KEY) WITHOUT ROWID")
        self._database.execute("BEGIN")

    def add(self, name: str) -> bool:
        """Whether a name is new."""
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:16]
        return self._database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (digest,)).rowcount == 1

    def __del__(self) -> None:
        self._database.close()
