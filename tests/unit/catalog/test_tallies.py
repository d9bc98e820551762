"""What the catalog says it has many of is what it has, whatever was written."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, create_engine, func, select, text

import goldloop.catalog.migrations as migrations
from goldloop.catalog import collection, ledger, server_side
from goldloop.catalog.server_side import Place
from goldloop.catalog.tables import annotations, tasks
from goldloop.catalog.tables import ledger as lines
from goldloop.catalog.tallies import tally
from goldloop.records import Annotation, Outcome
from goldloop.workspace import Workspace

PLACES = [Place("pets", "embedded"), Place("pets", "https://elsewhere"), Place("cars", "embedded")]
OF = {tasks: (tasks.c.server, tasks.c.state), lines: (lines.c.stage, lines.c.outcome)}


def counted(connection: Connection) -> dict[tuple[str, str, str, str], int]:
    """Every number, counted row by row."""
    found = {}
    for table, (place, state) in OF.items():
        query = select(table.c.recipe, place, state, func.count()).group_by(table.c.recipe, place, state)
        found |= {(table.name, *row[:3]): row[3] for row in connection.execute(query)}
    here = (annotations.c.recipe, annotations.c.server)
    query = select(*here, func.count()).group_by(*here)
    return found | {("annotations", *row[:2], ""): row[2] for row in connection.execute(query)}


def told(connection: Connection) -> dict[tuple[str, str, str, str], int]:
    """Every number, as the tallies have it."""
    found = {}
    for place in PLACES:
        for table, where in ((tasks, place.server), (annotations, place.server), (lines, "collect")):
            for state, number in tally(connection, table, place.recipe, where).items():
                found[table.name, place.recipe, where, state] = number
    return found


def annotation(number: int, task: int) -> Annotation:
    return Annotation(
        id=number,
        task_id=task,
        key=f"k{task}",
        annotator="a1",
        results=[],
        cancelled=False,
        created_at="2026-01-01T00:00:00Z",
        updated_at="2026-01-01T00:00:00Z",
    )


def do(connection: Connection, place: Place, what: str, task: int, number: int) -> None:
    """One of the things that push, collect and forget write."""
    if what == "note":
        server_side.note_tasks(connection, place, {f"k{task}": task})
    elif what == "delete":
        server_side.mark_deleted(connection, place, [f"k{task}"])
    elif what == "replace":
        found = [annotation(task * 10 + one, task) for one in range(number)]
        outcome = Outcome(subject=str(task), outcome=["open", "labelled"][number % 2], reason="")
        collection.replace_annotations(connection, place, {task: "now"}, found, [outcome])
    elif what == "drop deleted":
        collection.drop_deleted(connection, place)
    elif what == "drop strays":
        collection.drop_strays(connection, place)
    elif what == "books":
        entries = [Outcome(subject=str(one), outcome="open", reason="") for one in range(number)]
        ledger.write_books(connection, place.recipe, "collect", number, entries)
    else:
        for table in (tasks, annotations):
            connection.execute(table.delete().where(*place.where(table), table.c.key == f"k{task}"))


WHAT = ["note", "delete", "replace", "drop deleted", "drop strays", "books", "forget"]
steps = st.lists(
    st.tuples(st.sampled_from(PLACES), st.sampled_from(WHAT), st.integers(1, 4), st.integers(0, 3)),
    max_size=25,
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    made = create_engine(f"sqlite:///{tmp_path_factory.mktemp('tallies') / 'catalog.db'}")
    migrations.upgrade(made)
    return made


@given(steps)
@settings(deadline=None)
def test_whatever_is_written_is_counted(engine: Engine, done: list[tuple[Place, str, int, int]]) -> None:
    with engine.connect() as connection, connection.begin() as transaction:
        for step in done:
            do(connection, *step)
        assert told(connection) == counted(connection)
        transaction.rollback()


def test_what_was_not_committed_is_not_counted(workspace: Workspace) -> None:
    with workspace.engine.begin() as connection:
        do(connection, PLACES[0], "note", 1, 0)
    with workspace.engine.connect() as connection:
        do(connection, PLACES[0], "note", 2, 0)
        connection.rollback()
    with workspace.engine.connect() as connection:
        assert server_side.count_tasks(connection, PLACES[0]) == 1


def test_an_older_catalog_is_counted_once(catalog_at: Callable[[str], Engine]) -> None:
    engine = catalog_at("0009")
    with engine.begin() as connection:
        for task in (1, 2, 3):
            do(connection, PLACES[0], "note", task, 0)
            do(connection, PLACES[0], "replace", task, task)
        do(connection, PLACES[0], "delete", 3, 0)
        connection.execute(text("INSERT INTO ledger VALUES ('cars', 'collect', '9', 'open', '')"))
    migrations.upgrade(engine)
    with engine.connect() as connection:
        assert told(connection) == counted(connection)
        assert server_side.count_tasks(connection, PLACES[0]) == 2
        assert collection.count_annotations(connection, PLACES[0]) == 6
        assert ledger.balance(connection, "pets", "collect").outcomes == {"labelled": 2, "open": 1}
