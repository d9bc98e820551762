"""The catalog: items with their texts and labels, addresses, tasks, annotations, the books."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, and_, delete, func, or_, select, text, update
from typing_extensions import override

from goldloop.catalog.arrivals import forget_content
from goldloop.catalog.tables import (
    addresses,
    batches,
    forgotten,
    items,
    ledger,
    metadata,
    predictions,
    tasks,
)
from goldloop.catalog.tables import annotations as annotation_table
from goldloop.holders.base import Holder, Place, counted
from goldloop.progress import Progress
from goldloop.sqlite_files import compact

_FORGOTTEN = "forgotten"


class Catalog(Holder):
    """Every row that is about the content, but for its tombstone; the books tell it as `forgotten`."""

    kind = "catalog"

    @override
    def find(self, key: str) -> list[Place]:
        with self.workspace.engine.connect() as connection:
            told = {recipe: counted(_counts(connection, recipe, key)) for recipe in _recipes(connection, key)}
            return [self.place(recipe, what) for recipe, what in told.items() if what]

    @override
    def erase(self, key: str, progress: Progress) -> list[Place]:
        engine = self.workspace.engine
        with engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                connection.execute(text("PRAGMA secure_delete=ON"))
            for recipe in _recipes(connection, key):
                _erase(connection, recipe, key)
        if engine.dialect.name == "sqlite":
            # What is pooled would keep the write-ahead log from being emptied.
            engine.dispose()
            compact(self.workspace.root / "catalog.db")
        else:
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("VACUUM"))
        return []


def _about(key: str) -> list[Any]:
    """The tables with a row for each content."""
    return [table for table in metadata.sorted_tables if "key" in table.c and table is not forgotten]


def _recipes(connection: Connection, key: str) -> list[str]:
    found: set[str] = set()
    for table in _about(key):
        query = select(table.c.recipe).where(table.c.key == key).distinct()
        found.update(connection.execute(query).scalars())
    told = select(ledger.c.recipe).where(ledger.c.subject == key, ledger.c.outcome != _FORGOTTEN)
    found.update(connection.execute(told.distinct()).scalars())
    return sorted(found)


def _counts(connection: Connection, recipe: str, key: str) -> list[tuple[int, str]]:
    named = ((items, "item"), (addresses, "address"), (annotation_table, "annotation"))
    counts = []
    for table, noun in named:
        query = select(func.count()).where(table.c.recipe == recipe, table.c.key == key)
        counts.append((int(connection.execute(query).scalar_one()), noun))
    lines = select(func.count()).where(_lines(connection, recipe, key))
    return [*counts, (int(connection.execute(lines).scalar_one()), "ledger line")]


def _erase(connection: Connection, recipe: str, key: str) -> None:
    connection.execute(
        update(ledger).where(_lines(connection, recipe, key)).values(outcome=_FORGOTTEN, reason="")
    )
    for server, task in _tasks(connection, recipe, key):
        of_task = (
            predictions.c.recipe == recipe,
            predictions.c.server == server,
            predictions.c.task_id == task,
        )
        connection.execute(delete(predictions).where(*of_task))
    for row in connection.execute(select(batches).where(batches.c.recipe == recipe)).all():
        if key in row._mapping["keys"]:
            # Its end was never seen; the next push asks the server about what is left of it.
            same = and_(
                batches.c.recipe == recipe, batches.c.server == row.server, batches.c.batch == row.batch
            )
            left = [each for each in row._mapping["keys"] if each != key]
            connection.execute(update(batches).where(same).values(keys=left))
    forget_content(connection, recipe, key)
    for table in _about(key):
        # A task that is left is on a server out of reach: its number is all that leads there.
        if table is not tasks:
            connection.execute(delete(table).where(table.c.recipe == recipe, table.c.key == key))


def _lines(connection: Connection, recipe: str, key: str) -> Any:
    """The condition that picks the content's lines in the books of every stage."""
    seen = select(addresses.c.source, addresses.c.uri).where(
        addresses.c.recipe == recipe, addresses.c.key == key
    )
    pulled = [f"{row.source} {row.uri}" for row in connection.execute(seen)]
    collected = [str(task) for _, task in _tasks(connection, recipe, key)]
    subject = or_(
        ledger.c.subject == key,
        and_(ledger.c.stage == "pull", ledger.c.subject.in_(pulled)),
        and_(ledger.c.stage == "collect", ledger.c.subject.in_(collected)),
    )
    return and_(ledger.c.recipe == recipe, ledger.c.outcome != _FORGOTTEN, subject)


def _tasks(connection: Connection, recipe: str, key: str) -> set[tuple[str, int]]:
    """Server and id of each task that the content has, or had when it was annotated."""
    found: set[tuple[str, int]] = set()
    for table in (tasks, annotation_table):
        query = select(table.c.server, table.c.task_id).where(table.c.recipe == recipe, table.c.key == key)
        found.update((row.server, row.task_id) for row in connection.execute(query))
    return found
