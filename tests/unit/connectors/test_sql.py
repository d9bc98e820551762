from __future__ import annotations

import io
import sqlite3
from contextlib import closing

import pytest
from PIL import Image

from goldloop import loop
from goldloop.catalog.content import item_states, items_of
from goldloop.connectors import connectors
from goldloop.connectors.base import Found, NothingKnown
from goldloop.errors import PluginError, RecipeError, SourceError
from goldloop.recipe import parse
from goldloop.records import Item, Quarantined
from goldloop.settings import Settings
from goldloop.workspace import Workspace


def _png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture
def database(tmp_path):
    """Runs statements on a SQLite file, which `path` is."""
    path = tmp_path / "notes.db"

    def run(statement: str, *rows: tuple) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            if rows:
                connection.executemany(statement, rows)
            else:
                connection.execute(statement)

    run("CREATE TABLE notes (id INTEGER, words TEXT, version INTEGER, owner TEXT, picture BLOB, file TEXT)")
    run.path = path
    return run


def _add(database, *rows: tuple) -> None:
    database("INSERT INTO notes (id, words, version, owner) VALUES (?, ?, ?, ?)", *rows)


def _section(database, **fields):
    section = {
        "kind": "sql",
        "url": f"sqlite:///{database.path}",
        "query": "SELECT * FROM notes",
        "key": "id",
    }
    return section | ({} if "image" in fields else {"text": "words"}) | fields


def _read(database, **fields) -> list[Item | Quarantined]:
    return list(connectors.create(_section(database, **fields)).items())


def test_rows_come_by_key_with_labels_groups_and_metadata(database):
    _add(database, (2, "two", 1, "ann"), (1, "one", 5, "bob"))
    label = {"from": "owner", "use": "truth"}
    one, two = _read(database, group="owner", metadata=["version"], label=label)
    assert (one.uri, one.text, one.group, one.metadata) == (
        f"sqlite:///{database.path}#1",
        "one",
        "bob",
        {"version": 5},
    )
    assert (two.label, two.label_use) == ("ann", "truth")


def test_rows_without_a_key_and_with_one_that_was_there_are_quarantined(database):
    _add(database, (1, "one", 1, ""), (1, "again", 1, ""), (None, "nameless", 1, ""))
    found = _read(database)
    assert sorted(entry.reason.partition(",")[0] for entry in found if isinstance(entry, Quarantined)) == [
        "a row before it has the id '1' too; ids tell rows apart",
        "the row has no 'id' that tells it from others",
    ]
    assert len({entry.uri for entry in found}) == 3


def test_images_are_bytes_in_a_row_or_files_that_it_names(database, tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(_png(7))
    rows = [(1, _png(5), "a.png"), (2, b"no image", "missing.png"), (3, None, None)]
    database("INSERT INTO notes (id, picture, file) VALUES (?, ?, ?)", *rows)
    in_rows = _read(database, image="picture")
    assert [isinstance(entry, Item) for entry in in_rows] == [True, False, False]
    assert in_rows[0].content == _png(5)
    named = _read(database, image="file", beside=str(tmp_path / "pictures"))
    assert [isinstance(entry, Item) for entry in named] == [True, False, False]
    assert named[0].content == _png(7)
    assert "Say what paths are relative to" in _read(database, image="file")[0].reason


@pytest.fixture
def pulled(database, tmp_path):
    """Pulls the notes with a watermark; gives the books, and texts by the state of their items."""
    workspace = Workspace(tmp_path / "state", Settings())

    def pull(**options):
        section = _section(database, watermark="version")
        task = {"kind": "text-classification", "classes": ["a", "b"]}
        recipe = parse({"name": "notes", "sources": [section], "task": task})
        books = loop.pull(recipe, workspace, **options)
        with workspace.engine.connect() as connection:
            states = item_states(connection, "notes")
            items = items_of(connection, "notes", ("current", "gone", "superseded"))
            return books.outcomes, {item.text: states[item.key] for item in items}

    return pull


def test_only_rows_since_the_last_pull_are_read_and_the_others_stay(database, pulled, monkeypatch):
    _add(database, (1, "one", 1, ""), (2, "two", 2, ""))
    assert pulled()[0] == {"pulled": 2}
    database("UPDATE notes SET words = 'changed', version = 3 WHERE id = 1")
    database("UPDATE notes SET words = 'tied' WHERE id = 2")
    _add(database, (3, "three", 3, ""), (4, "late", 1, ""))
    seen = []
    kind = connectors.get("sql")
    monkeypatch.setattr(
        kind, "candidate", lambda self, *row: seen.append(row[0]) or kind.__base__.candidate(self, *row)
    )
    outcomes, states = pulled()
    assert outcomes == {"pulled": 3}
    assert states == {
        "one": "superseded",
        "two": "superseded",
        "changed": "current",
        "tied": "current",
        "three": "current",
    }
    assert [uri.rpartition("#")[2] for uri in seen] == ["2", "1", "3"]


def test_rows_that_were_deleted_are_noticed_by_a_full_pull(database, pulled):
    _add(database, (1, "one", 1, ""), (2, "two", 2, ""))
    pulled()
    database("DELETE FROM notes WHERE id = 1")
    assert pulled()[1] == {"one": "current", "two": "current"}
    assert pulled(full=True) == ({"pulled": 1}, {"one": "gone", "two": "current"})
    _add(database, (3, "three", 4, ""))
    assert pulled()[0] == {"pulled": 2}


def test_nothing_new_leaves_everything_as_it_is(database, pulled):
    _add(database, (1, "one", 1, ""))
    before = pulled()
    assert pulled() == before
    database("DELETE FROM notes")
    assert pulled() == before


def test_a_password_has_no_place_in_a_recipe_and_is_told_nowhere(database, monkeypatch):
    url = "postgresql+psycopg://annabel:hush-hush@127.0.0.1:9/db"
    with pytest.raises(RecipeError, match="url_from") as caught:
        connectors.create(_section(database, url=url))
    assert "hush" not in str(caught.value)
    section = _section(database, url_from="NOTES_URL")
    del section["url"]
    with pytest.raises(SourceError, match="NOTES_URL is not set"):
        connectors.create(section).fingerprint()
    monkeypatch.setenv("NOTES_URL", url)
    with pytest.raises(SourceError, match=r"127\.0\.0\.1:9/db: the database cannot be read") as caught:
        connectors.create(section).fingerprint()
    assert "hush" not in str(caught.value)
    assert "annabel" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "error", "said"),
    [
        ({"query": "SELECT * FROM nots"}, SourceError, "no such table: nots"),
        ({"key": "idd"}, SourceError, "no column 'idd'.*Did you mean 'id'"),
        ({"watermark": "versoin"}, SourceError, "versoin"),
        ({"url": "nonsense"}, RecipeError, "no SQLAlchemy URL"),
        ({"url": "mysql+pymysql://host/db"}, PluginError, "driver of mysql"),
        ({"query": "DROP TABLE notes"}, SourceError, "cannot be read"),
    ],
)
def test_what_cannot_be_is_an_error_that_says_so(database, fields, error, said):
    _add(database, (1, "one", 1, ""))
    with pytest.raises(error, match=said):
        _read(database, **fields)
    assert len(_read(database)) == 1


def test_a_database_never_says_that_it_has_not_changed(database):
    _add(database, (1, "one", 1, ""))
    connector = connectors.create(_section(database))
    assert connector.fingerprint() is None
    assert all(isinstance(each, Found) for each in connector.read(NothingKnown()))
