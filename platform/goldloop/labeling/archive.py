"""Tasks whose items were superseded leave the annotators' queue, and come back with their items.

An item is superseded when its address has other content now: an annotator's time on it would be lost. Its
task is kept with all that hangs on it; Label Studio's community edition has no archive, so the task is marked
as done and says why in its data (`archived`, to filter by in the data manager). What was annotated is still
collected. What is sent is a state, not a step: a run that was killed sends the rest.
"""

from __future__ import annotations

from sqlalchemy import Engine

from goldloop.catalog import server_side
from goldloop.catalog.server_side import Place
from goldloop.labeling import task_state
from goldloop.labeling.client import LabelStudioClient
from goldloop.labeling.values import Project
from goldloop.progress import Progress


def archive(
    engine: Engine, place: Place, client: LabelStudioClient, project: Project, progress: Progress
) -> int:
    """Bring every task where its item is; returns how many were archived now.

    Raises:
        IdentityError: a task is no longer the item's.
    """
    with engine.connect() as connection:
        moved = server_side.tasks_to_move(connection, place)
    with progress.track("archive", len(moved)) as advance:
        for key, task_id, away in moved:
            task_state.archive(client.api, project, task_id, key, away=away)
            with engine.begin() as connection:
                server_side.mark_archived(connection, place, key, archived=away)
            advance(1)
    return sum(away for _, _, away in moved)
