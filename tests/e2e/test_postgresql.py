"""The catalog on PostgreSQL: the same stages, and a lock that holds across machines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine, text

from goldloop import loop, production
from goldloop.catalog import collection, server_side
from goldloop.catalog.content import item_states, items_of
from goldloop.catalog.ledger import balance
from goldloop.catalog.server_side import Place
from goldloop.connectors import connectors
from goldloop.errors import SourceError, WorkspaceBusy
from goldloop.planning import plan
from goldloop.recipe import parse
from goldloop.records import Annotation, Outcome
from goldloop.settings import Settings
from goldloop.watching import watch_once
from goldloop.workspace import Workspace


@contextmanager
def _workspace(folder: Path, database: str) -> Iterator[Workspace]:
    workspace = Workspace(folder, Settings(GOLDLOOP_CATALOG_URL=SecretStr(database)))
    yield workspace
    workspace.engine.dispose()


def test_a_pull_is_the_same_as_on_sqlite(tmp_path, database):
    (tmp_path / "texts").mkdir()
    for number in range(20):
        (tmp_path / "texts" / f"{number}.txt").write_text(f"text {number % 15} \N{PILE OF POO}")
    recipe = parse(
        {
            "name": "notes",
            "sources": [{"kind": "files", "url": str(tmp_path / "texts")}],
            "task": {"kind": "text-classification", "classes": ["a", "b"]},
        }
    )
    here = Workspace(tmp_path / "two", Settings())
    with _workspace(tmp_path / "one", database) as there:
        assert loop.pull(recipe, there) == loop.pull(recipe, here)
        (tmp_path / "texts" / "0.txt").write_text("another text")
        assert loop.pull(recipe, there) == loop.pull(recipe, here)
    assert not (tmp_path / "one" / "catalog.db").exists()


def test_what_becomes_of_changed_files_is_planned_and_done_as_on_sqlite(tmp_path, database):
    folder = tmp_path / "texts"
    for name in ("a", "Z", "b"):
        (folder / name).mkdir(parents=True)
    texts = {"a/1": "same", "Z/1": "same", "b/1": "same", "a/2": "two", "a/3": "three", "a/4": " "}
    for name, words in texts.items():
        (folder / f"{name}.txt").write_text(words)
    label = {"from": "folder", "use": "truth"}
    recipe = parse(
        {
            "name": "changes",
            "sources": [{"kind": "files", "url": str(folder), "label": label}],
            "task": {"kind": "text-classification", "classes": ["a", "b", "Z"]},
            "cleaning": {"texts": {"min_characters": 4}},
        }
    )

    def found(workspace):
        with workspace.engine.connect() as connection:
            items = items_of(connection, "changes", ("current", "gone", "superseded"))
            states = item_states(connection, "changes")
            return {item.text: (states[item.key], item.uri, item.label) for item in items}

    here = Workspace(tmp_path / "two", Settings())
    with _workspace(tmp_path / "one", database) as there:
        for change in (None, "two again", "gone", "back"):
            if change == "two again":
                (folder / "a" / "2.txt").write_text("two again")
                (folder / "Z" / "1.txt").unlink()
            elif change == "gone":
                (folder / "a" / "3.txt").rename(folder / "moved.txt")
            elif change == "back":
                (folder / "Z" / "1.txt").write_text("same")
            assert plan(recipe, there).facts() == plan(recipe, here).facts()
            assert loop.pull(recipe, there) == loop.pull(recipe, here)
            assert found(there) == found(here)
        assert found(there)["same"] == ("current", f"{folder}/Z/1.txt", None)
        assert loop.pull(recipe, there, full=True) == loop.pull(recipe, here)


def test_rows_are_streamed_since_the_last_pull_and_nothing_can_be_written(tmp_path, database, monkeypatch):
    monkeypatch.setenv("NOTES_URL", database)
    engine = create_engine(database)
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE notes (id int, words text, who text, at timestamptz, picture bytea)")
        )
        connection.execute(
            text(
                "INSERT INTO notes SELECT n, 'text ' || n, 'p' || n % 3, now(), NULL"
                " FROM generate_series(1, 5000) n"
            )
        )
    source = {
        "kind": "sql", "url_from": "NOTES_URL", "query": "SELECT * FROM notes", "key": "id", "text": "words",
        "watermark": "at", "group": "who", "metadata": ["at"], "filter": "at.year > 2000 and id != 7",
    }  # fmt: skip
    task = {"kind": "text-classification", "classes": ["a", "b"]}
    recipe = parse({"name": "rows", "sources": [source], "task": task})
    workspace = Workspace(tmp_path / "state", Settings())
    assert loop.pull(recipe, workspace).outcomes == {"pulled": 4999}
    with engine.begin() as connection:
        connection.execute(text("UPDATE notes SET words = 'changed', at = now() WHERE id = 3"))
        connection.execute(text("DELETE FROM notes WHERE id = 4"))
    assert loop.pull(recipe, workspace).outcomes == {"pulled": 4999}
    with workspace.engine.connect() as connection:
        states = item_states(connection, "rows")
    assert sorted(states.values()).count("superseded") == 1
    assert loop.pull(recipe, workspace, full=True).outcomes == {"pulled": 4998}
    writing = "WITH gone AS (DELETE FROM notes RETURNING *) SELECT * FROM gone"
    connector = connectors.create({**source, "query": writing})
    with pytest.raises(SourceError, match=r"read-only|syntax|not.*top level"):
        list(connector.items())
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM notes")).scalar() == 4999
    engine.dispose()


def test_two_workspaces_with_one_catalog_do_not_work_on_one_recipe_at_once(tmp_path, database):
    with (
        _workspace(tmp_path / "one", database) as one,
        _workspace(tmp_path / "other", database) as other,
    ):
        with one.lock("notes"), pytest.raises(WorkspaceBusy, match="notes"), other.lock("notes"):
            pass
        with other.lock("notes"):
            pass


def test_rounds_are_decided_as_on_sqlite(tmp_path, database):
    folder = tmp_path / "texts"
    for number in range(60):
        place = folder / ("a" if number % 2 else "b")
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.txt").write_text(f"text {number * 7919 % 1000}")
    recipe = parse(
        {
            "name": "watched",
            "sources": [
                {"kind": "files", "url": str(folder), "label": {"from": "folder", "use": "imported"}}
            ],
            "task": {"kind": "text-classification", "classes": ["a", "b"]},
            "watch": {"pull_minutes": 0.0001, "cool_down_minutes": 0, "new_items": 5},
        }
    )
    here = Workspace(tmp_path / "two", Settings())
    with _workspace(tmp_path / "one", database) as there:
        for outcome in ("committed", None):
            found = [watch_once(recipe, workspace) for workspace in (here, there)]
            assert found[0].decision.told == found[1].decision.told
            assert [each.round and each.round.outcome for each in found] == [outcome] * 2
            (folder / "a" / "new.txt").write_text("new")
        for workspace in (here, there):
            kept = production.folder_of(workspace) / "watched" / "2026-01-31"
            kept.mkdir(parents=True)
            (kept / "1.text").write_text("asked")
            assert loop.pull(recipe, workspace, requests=True).outcomes == {"pulled": 62}


def test_what_there_is_of_a_recipe_is_counted_there_too(tmp_path, database):
    here, other = Place("counted", "https://one"), Place("counted", "https://other")
    with _workspace(tmp_path / "one", database) as workspace, workspace.engine.begin() as connection:
        server_side.note_tasks(connection, here, {"a": 1, "b": 2, "c": 3})
        server_side.note_tasks(connection, other, {"a": 7})
        server_side.mark_deleted(connection, here, ["c"])
        answer = Annotation(
            id=9,
            task_id=2,
            key="b",
            annotator="a1",
            results=[],
            cancelled=False,
            created_at="2026-01-01T00:00:00Z",
            updated_at="2026-01-01T00:00:00Z",
        )
        lines = [
            Outcome(subject=str(task), outcome=what, reason="")
            for task, what in ((1, "open"), (2, "labelled"))
        ]
        collection.replace_annotations(connection, here, {1: "now", 2: "now"}, [answer], lines)
        assert server_side.count_tasks(connection, here) == 2
        assert server_side.count_tasks(connection, here, "deleted") == 1
        assert collection.count_annotations(connection, here) == 1
        assert collection.count_annotations(connection, other) == 0
        assert balance(connection, "counted", "collect").outcomes == {"open": 1, "labelled": 1}
        assert balance(connection, "counted", "push").total == 0
        connection.rollback()
