"""What a collection asks of the catalog is answered by an index alone, whatever rows there are."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, event, text

from goldloop.catalog import collection, server_side
from goldloop.catalog.server_side import Place, Sent
from goldloop.workspace import Workspace

PLACE = Place("pets", "embedded")


def plan(connection: Connection, ask: Callable[[], Any]) -> tuple[Any, str]:
    """What a question is answered with, and how SQLite goes about it."""
    asked: list[tuple[str, Any]] = []
    event.listen(connection, "before_cursor_execute", lambda *told: asked.append(told[2:4]))
    answer = ask()
    query, values = asked[0]
    return answer, connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", values).all()[0][-1]


def test_what_was_never_seen_is_found_without_looking_through_what_was(workspace: Workspace) -> None:
    with workspace.engine.begin() as connection:
        server_side.open_batch(connection, PLACE, "one", [Sent("a", 0, 0), Sent("b", 0, 0)])
        server_side.close_batch(connection, PLACE, "one", {"a": 1, "b": 2})
        connection.execute(text("UPDATE tasks SET seen_at = 'now' WHERE task_id = 1"))
        found, how = plan(connection, lambda: collection.unseen(connection, PLACE))
    assert found == [2]
    assert re.search(r"INDEX tasks_unseen\b", how)


def test_tasks_are_looked_up_by_their_ids_and_not_among_all_that_are_live(workspace: Workspace) -> None:
    with workspace.engine.begin() as connection:
        server_side.note_tasks(connection, PLACE, {"a": 1, "b": 2, "c": 3})
        server_side.mark_deleted(connection, PLACE, ["c"])
        found, how = plan(connection, lambda: collection.known_tasks(connection, PLACE, [2, 3, 4]))
    assert {task: known.key for task, known in found.items()} == {2: "b"}
    assert "INDEX tasks_by_id" in how
