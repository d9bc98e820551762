"""Catalog -> Label Studio: each item becomes one task, once, whatever happens in between.

Before an import is sent, its batch is journalled. A batch whose end was not seen (a crash, a time-out, a
server that restarted) is looked up on the server by its name: found whole it is adopted, found in part it
is deleted and sent again, not found it is forgotten. A server whose totals then differ from ours is listed
in full. So a push that is run again creates nothing twice, and loses nothing.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Engine

from goldloop.catalog import server_side
from goldloop.catalog.server_side import Place
from goldloop.errors import LabelStudioError, LabelStudioLostWrites, LabelStudioUnreachable
from goldloop.labeling.client import LabelStudioClient
from goldloop.labeling.portions import portions
from goldloop.labeling.values import Project, TaskData
from goldloop.progress import Progress
from goldloop.records import Item, Outcome

BATCH = 250
"""Tasks per import: large enough for the server's full rate, small enough to send again."""
_TRIES = 4
_SETTLE_SECONDS = (0.5, 1.0, 2.0, 4.0)
"""Waits between looks for a batch in doubt: a request outlives the client that gave it up."""

MakeTasks = Callable[[Sequence[Item]], Sequence[TaskData]]
"""Tasks for items; uploads media where the server needs it."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What is on the server once every doubt is settled.

    Attributes:
        live: key -> task id.
        deleted: keys whose task someone deleted there.
        foreign: tasks in the project that goldloop did not make; they are left alone.
    """

    live: Mapping[str, int]
    deleted: frozenset[str]
    foreign: int

    def lacks(self, item: Item) -> bool:
        """Whether an item should get a task: it has none, had none, and its label is not known already."""
        return item.label_use != "imported" and item.key not in self.live and item.key not in self.deleted

    def outcome(self, item: Item, sent: Collection[str], enough: str | None = None) -> Outcome:
        """What became of an item: one line of the push's books.

        Args:
            item: which.
            sent: the keys that were sent since.
            enough: why no more was sent; None where that is for the tasks that are open.
        """
        if item.key in self.live or item.key in sent:
            return Outcome(subject=item.key, outcome="pushed")
        if item.key in self.deleted:
            reason = "its task was deleted in Label Studio"
            return Outcome(subject=item.key, outcome="skipped", reason=reason)
        if item.label_use == "imported":
            return Outcome(subject=item.key, outcome="skipped", reason="its label was imported")
        reason = enough or "enough tasks are open (labeling.select.batch)"
        return Outcome(subject=item.key, outcome="waiting", reason=reason)


def reconcile(engine: Engine, place: Place, client: LabelStudioClient, project: Project) -> Reconciled:
    """Settle batches in doubt, then hold our books against the server's own total.

    Raises:
        LabelStudioError: the server cannot be asked.
    """
    with engine.connect() as connection:
        doubtful = server_side.batches_in_doubt(connection, place)
    for batch, keys in doubtful.items():
        _settle(engine, place, client, project, batch, keys)
    with engine.connect() as connection:
        live = server_side.tasks_of(connection, place)
    foreign = 0
    if client.project_totals(project).tasks != len(live):
        foreign = _relist(engine, place, client, project, live)
    with engine.connect() as connection:
        return Reconciled(
            server_side.tasks_of(connection, place),
            frozenset(server_side.tasks_of(connection, place, "deleted")),
            foreign,
        )


def push(
    engine: Engine,
    place: Place,
    client: LabelStudioClient,
    project: Project,
    items: Sequence[Item],
    make_tasks: MakeTasks,
    progress: Progress,
) -> int:
    """Create a task for each of these items, which have none; returns how many.

    Raises:
        LabelStudioLostWrites: the server keeps less than it is sent, again and again.
        LabelStudioUnreachable: it went away and did not come back; what it has is noted.
    """
    with progress.track("push", len(items)) as advance:
        for chunk in _chunks(items):
            for tasks in portions(make_tasks(chunk), _bytes_of):
                _push_batch(engine, place, client, project, tasks)
                advance(len(tasks))
    return len(items)


def _push_batch(
    engine: Engine, place: Place, client: LabelStudioClient, project: Project, tasks: Sequence[TaskData]
) -> None:
    keys = [task.key for task in tasks]
    for attempt in range(_TRIES):
        batch = secrets.token_hex(8)
        try:
            with engine.begin() as connection:
                server_side.open_batch(connection, place, batch, keys)
            stored = client.import_tasks(project, tasks, batch)
        except LabelStudioLostWrites:
            # The client has deleted what the server kept of it.
            with engine.begin() as connection:
                server_side.close_batch(connection, place, batch, {})
            if attempt == _TRIES - 1:
                raise
        except LabelStudioUnreachable:
            if attempt == _TRIES - 1 or not _comes_back(client):
                raise
            if _settle(engine, place, client, project, batch, keys):
                return
        else:
            with engine.begin() as connection:
                server_side.close_batch(connection, place, batch, stored)
            return


def _comes_back(client: LabelStudioClient, patience: float = 60.0) -> bool:
    """Wait for a server that restarts."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        try:
            client.check()
        except LabelStudioUnreachable:
            time.sleep(1.0)
        else:
            return True
    return False


def _settle(
    engine: Engine,
    place: Place,
    client: LabelStudioClient,
    project: Project,
    batch: str,
    keys: Sequence[str],
) -> bool:
    """End a batch in doubt; True if the server has all of it."""
    stored: Mapping[str, int] = {}
    for wait in _SETTLE_SECONDS:
        stored = client.find_batch(project, batch)
        if len(stored) == len(keys):
            break
        time.sleep(wait)
    whole = set(stored) == set(keys)
    if not whole:
        client.delete_tasks(project, list(stored.values()))
    with engine.begin() as connection:
        server_side.close_batch(connection, place, batch, stored if whole else {})
    return whole


def _relist(
    engine: Engine,
    place: Place,
    client: LabelStudioClient,
    project: Project,
    live: Mapping[str, int],
) -> int:
    """Hold every task of the project against our books; returns how many are not ours."""
    found: dict[str, int] = {}
    surplus: list[int] = []
    foreign = 0
    for task_id, key in client.task_keys(project):
        if not key:
            foreign += 1
        elif key in found:
            # One of the two is what we noted; the other came from a request that outlived its client.
            keep = live.get(key, min(found[key], task_id))
            surplus.append(task_id if keep == found[key] else found[key])
            found[key] = keep
        else:
            found[key] = task_id
    if surplus:
        _delete_surplus(client, project, surplus)
    with engine.begin() as connection:
        server_side.note_tasks(connection, place, found)
        server_side.mark_deleted(connection, place, [key for key in live if key not in found])
    return foreign


def _delete_surplus(client: LabelStudioClient, project: Project, surplus: Sequence[int]) -> None:
    annotated = {task.task_id for task in client.annotations(project) if task.annotations} & set(surplus)
    if annotated:
        raise LabelStudioError(
            "tasks stand twice in the project and both were annotated",
            where=project.title,
            found=f"tasks {', '.join(map(str, sorted(annotated)))}",
            remedy="Delete one of each pair in Label Studio, then push again",
        )
    client.delete_tasks(project, surplus)


def _bytes_of(task: TaskData) -> int:
    """About how large a task is on its way; masks are long lists of numbers."""
    return len(json.dumps([dict(task.data), list(task.annotations)]))


def _chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]
