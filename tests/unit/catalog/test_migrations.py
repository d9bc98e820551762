"""A catalog of an older goldloop is brought up to date with all that it knows."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine, text

from goldloop import loop
from goldloop.catalog.content import item_states
from goldloop.recipe import parse
from goldloop.records import content_key
from goldloop.settings import Settings
from goldloop.workspace import Workspace


def _insert(connection, table: str, **values: str) -> None:
    names = ", ".join(values)
    places = ", ".join(f":{name}" for name in values)
    connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({places})"), values)


def _fill(engine: Engine, folder: Path) -> None:
    with engine.begin() as connection:
        keys = [content_key(words.encode()) for words in ("same", "before", "lost")]
        for name, key in zip(("a", "b", "c"), keys, strict=True):
            uri = f"{folder}/notes/{name}.txt"
            _insert(connection, "addresses", recipe="notes", uri=uri, key=key, source="0:files")
            _insert(
                connection,
                "items",
                **{"recipe": "notes", "key": key, "modality": "text", "uri": uri, "grouping": key},
                **{"source": "0:files", "metadata": "{}", "text": "x", "media_type": "text/plain"},
                **{"label": "null", "state": "current"},
            )
    engine.dispose()


def test_what_was_pulled_before_addresses_had_marks_is_read_once_more(tmp_path, catalog_at):
    _fill(catalog_at("0001"), tmp_path)
    workspace = Workspace(tmp_path, Settings())
    (tmp_path / "notes").mkdir()
    for name, words in (("a", "same"), ("b", "after")):
        (tmp_path / "notes" / f"{name}.txt").write_text(words)
    recipe = parse(
        {
            "name": "notes",
            "sources": [{"kind": "files", "url": str(tmp_path / "notes")}],
            "task": {"kind": "text-classification", "classes": ["a", "b"]},
        }
    )
    assert loop.pull(recipe, workspace).outcomes == {"pulled": 2}
    with workspace.engine.connect() as connection:
        states = item_states(connection, "notes")
    assert {words: states[content_key(words.encode())] for words in ("same", "before", "lost", "after")} == {
        "same": "current",
        "before": "superseded",
        "lost": "gone",
        "after": "current",
    }
