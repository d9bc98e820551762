from __future__ import annotations

import sqlite3

import pytest

from goldloop import sqlite_files
from goldloop.errors import WorkspaceError
from goldloop.sqlite_files import compact

SECRET = "a text that was asked to be forgotten"


def _files(path) -> bytes:
    return b"".join(each.read_bytes() for each in path.parent.iterdir())


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_nothing_of_a_deleted_row_is_left_while_others_have_the_file_open(tmp_path, mode):
    path = tmp_path / "a.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute(f"PRAGMA journal_mode={mode}")
    other.execute("PRAGMA secure_delete=OFF")
    other.execute("CREATE TABLE t (a TEXT)")
    other.executemany("INSERT INTO t VALUES (?)", [(f"{SECRET} {number}",) for number in range(500)])
    other.execute("INSERT INTO t VALUES ('stays')")
    other.execute("DELETE FROM t WHERE a != 'stays'")
    assert SECRET.encode() in _files(path)
    compact(path)
    assert SECRET.encode() not in _files(path)
    assert other.execute("SELECT a FROM t").fetchall() == [("stays",)]
    other.execute("INSERT INTO t VALUES ('more')")
    other.close()


def test_a_file_that_is_not_there_is_left_so(tmp_path):
    compact(tmp_path / "none.db")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_read_all_the_time_is_an_error(tmp_path, monkeypatch):
    path = tmp_path / "a.db"
    monkeypatch.setattr(sqlite_files, "_PATIENCE", 0.3)
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("PRAGMA journal_mode=WAL")
    reader.execute("CREATE TABLE t (a TEXT)")
    reader.execute("INSERT INTO t VALUES ('x')")
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM t").fetchall()
    with pytest.raises(WorkspaceError, match=r"a\.db.*run the same command again"):
        compact(path)
    reader.execute("COMMIT")
    compact(path)
    reader.close()
