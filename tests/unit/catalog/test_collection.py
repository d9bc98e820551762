"""What a collection asks of the catalog."""

from __future__ import annotations

import re

from sqlalchemy import event, text

from goldloop.catalog import collection, server_side
from goldloop.catalog.server_side import Place, Sent
from goldloop.workspace import Workspace

PLACE = Place("pets", "embedded")


def test_what_was_never_seen_is_found_without_looking_through_what_was(workspace: Workspace) -> None:
    asked: list[tuple[str, tuple[object, ...]]] = []
    with workspace.engine.begin() as connection:
        server_side.open_batch(connection, PLACE, "one", [Sent("a", 0, 0), Sent("b", 0, 0)])
        server_side.close_batch(connection, PLACE, "one", {"a": 1, "b": 2})
        connection.execute(text("UPDATE tasks SET seen_at = 'now' WHERE task_id = 1"))
        event.listen(connection, "before_cursor_execute", lambda *told: asked.append(told[2:4]))
        assert collection.unseen(connection, PLACE) == [2]
        ((query, values),) = asked
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", values).all()
    assert re.search(r"INDEX tasks_unseen\b", plan[0][-1]), plan
