"""SQLite files without the bytes of what was deleted from them.

A deleted row's bytes stay in the file's free pages, and in the write-ahead log, until something else is
written there.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from goldloop.errors import WorkspaceError

_PATIENCE = 120.0


def compact(path: Path) -> None:
    """Write a SQLite file anew with what is in it alone, and empty its write-ahead log.

    Other processes may have it open; they wait meanwhile. Where there is no file, there is nothing to do.

    Raises:
        WorkspaceError: it cannot be written, or others read it all the time.
    """
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)) as connection:
            connection.execute("VACUUM")
            end = time.monotonic() + _PATIENCE
            while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                if time.monotonic() > end:
                    raise sqlite3.OperationalError("others read it all the time")
                time.sleep(0.1)
    except sqlite3.Error as error:
        raise WorkspaceError(
            "a database cannot be written anew, so what was deleted may still be in its file",
            where=path,
            found=str(error),
            remedy="Stop what uses it, make room on the disk, and run the same command again",
        ) from error
