"""Catalog -> Label Studio: each item becomes one task, once, whatever happens in between.

Before an import is sent, its batch is journalled. A batch whose end was not seen (a crash, a time-out, a
server that restarted) is looked up on the server by its name, task by task: what is whole is adopted, what
lost its annotations on the way is deleted, what is not there is sent again. A server whose totals then differ
from ours is listed in full, before a push and after it. So a push that is run again creates nothing twice,
and loses nothing.

Items come as a stream: a batch that is sent and one that is made meanwhile are all that is held in memory.
One batch at a time is sent to a server, whoever pushes from this machine: SQLite loses annotations of imports
that meet. A server on PostgreSQL may be sent several.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
from sqlalchemy import Engine

from goldloop.ahead import ahead, chunks, drawn_ahead
from goldloop.catalog import server_side
from goldloop.catalog.server_side import Place, Sent
from goldloop.errors import LabelStudioError, LabelStudioLostWrites, LabelStudioUnreachable
from goldloop.labeling.client import MOST_TASKS_PER_IMPORT, LabelStudioClient
from goldloop.labeling.portions import portions
from goldloop.labeling.values import Project, TaskData
from goldloop.progress import Progress
from goldloop.records import Item

BATCH = MOST_TASKS_PER_IMPORT
"""Tasks per import: each costs the server a fixed time beside that of its tasks."""
_TRIES = 5
_LOSSES = 12
_SMALLEST = 25
_SETTLE_SECONDS = (0.5, 1.0, 2.0, 4.0)
"""Waits between looks for a batch in doubt: a request outlives the client that gave it up."""
_PATIENCE = 180.0
"""Seconds that a server may take to come back; its start takes up to two minutes."""

MakeTasks = Callable[[Sequence[Item]], Sequence[TaskData]]
"""Tasks for items, made while those before are sent; what it writes to the server, under the lock."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What is on the server once every doubt is settled.

    Attributes:
        live: tasks of ours.
        foreign: tasks in the project that goldloop did not make; they are left alone.
    """

    live: int
    foreign: int


def reconcile(
    engine: Engine, place: Place, client: LabelStudioClient, project: Project, counted: int | None = None
) -> Reconciled:
    """Settle batches in doubt, then hold our books against the server's own total.

    Args:
        engine: the catalog.
        place: recipe and server.
        client: the server.
        project: ours.
        counted: the server's total, where it was asked for a moment ago; it takes long in a large project.

    Raises:
        LabelStudioError: the server cannot be asked.
    """
    with engine.connect() as connection:
        doubtful = server_side.batches_in_doubt(connection, place)
    for batch, sent in doubtful.items():
        _settle(engine, place, client, project, batch, sent)
    return _hold_against_total(engine, place, client, project, None if doubtful else counted)


class Push:
    """How items become tasks of one project.

    Args:
        engine: the catalog.
        place: recipe and server.
        client: the server.
        project: ours.
        lock: a file that is held while a batch is sent.
        parallel: how many are sent at a time; if more than one, the lock is not taken.
    """

    def __init__(
        self,
        engine: Engine,
        place: Place,
        client: LabelStudioClient,
        project: Project,
        lock: Path,
        parallel: int = 1,
    ) -> None:
        self._engine = engine
        self._place = place
        self._client = client
        self._project = project
        self._parallel = parallel
        lock.parent.mkdir(parents=True, exist_ok=True)
        self._lock: AbstractContextManager[Any] = filelock.FileLock(lock) if parallel == 1 else nullcontext()

    def run(self, items: Iterable[Item], total: int, make_tasks: MakeTasks, progress: Progress) -> int:
        """Create a task for each of these items, which have none; returns how many.

        Args:
            items: the most useful first: annotators get tasks in the order in which they were made, of
                batches that are sent at the same time in any.
            total: how many they are.
            make_tasks: makes them.
            progress: where to tell how far it is.

        Raises:
            AnnotationError: a pre-annotation does not fit the label config; batches before it are sent.
            LabelStudioLostWrites: the server keeps less than it is sent, again and again.
            LabelStudioUnreachable: it went away and did not come back; what it has is noted.
        """
        created = 0
        with progress.track("push", total) as advance:
            for made in self._created(drawn_ahead(self._batches(items, make_tasks))):
                created += made
                advance(made)
        if created:
            # A request that was given up, or that a proxy sent twice, may have made tasks meanwhile.
            _hold_against_total(self._engine, self._place, self._client, self._project)
        return created

    def _batches(self, items: Iterable[Item], make_tasks: MakeTasks) -> Iterator[Sequence[TaskData]]:
        for chunk in chunks(items, BATCH):
            for tasks in portions(make_tasks(chunk), _bytes_of):
                self._client.check_tasks(self._project, tasks)
                yield tasks

    def _created(self, batches: Iterable[Sequence[TaskData]]) -> Iterator[int]:
        """How many tasks each batch made."""
        if self._parallel == 1:
            # In this thread, which Ctrl-C ends at once.
            return map(self._create, batches)
        return ahead(self._create, batches, self._parallel, self._parallel)

    def _create(self, tasks: Sequence[TaskData]) -> int:
        """Send a batch until the server has all of it, in halves where it loses some of it; returns its size.

        A smaller import leaves annotators less time to come between.
        """
        waiting, losses = [tasks], 0
        while waiting:
            part = waiting.pop()
            try:
                self._send(part)
            except LabelStudioLostWrites:
                losses += 1
                if losses > _LOSSES:
                    raise
                half = len(part) // 2 if len(part) > _SMALLEST else len(part)
                waiting += [each for each in (part[half:], part[:half]) if each]
        return len(tasks)

    def _send(self, tasks: Sequence[TaskData]) -> None:
        for attempt in range(_TRIES):
            batch = secrets.token_hex(8)
            sent = [_sent(task) for task in tasks]
            try:
                with self._lock:
                    with self._engine.begin() as connection:
                        server_side.open_batch(connection, self._place, batch, sent)
                    stored = self._client.import_tasks(self._project, tasks, batch)
            except LabelStudioLostWrites:
                # The client has deleted what the server kept of it.
                with self._engine.begin() as connection:
                    server_side.close_batch(connection, self._place, batch, {})
                raise
            except LabelStudioUnreachable:
                if attempt == _TRIES - 1 or not _comes_back(self._client):
                    raise
                known = _settle(self._engine, self._place, self._client, self._project, batch, sent)
                tasks = [task for task in tasks if task.key not in known]
                if not tasks:
                    return
            else:
                with self._engine.begin() as connection:
                    server_side.close_batch(connection, self._place, batch, stored)
                return


def _comes_back(client: LabelStudioClient, patience: float = _PATIENCE) -> bool:
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
    sent: Sequence[Sent],
) -> Mapping[str, int]:
    """End a batch in doubt; key -> task id of what the server has whole."""
    expected = {each.key: each for each in sent}
    whole: dict[str, int] = {}
    surplus: list[int] = []
    for wait in (0.0, *_SETTLE_SECONDS):
        time.sleep(wait)
        whole, surplus = {}, []
        for task_id, found in sorted(client.reader.find_batch(project, batch).items()):
            # A proxy may have delivered the request twice.
            if found.key in whole or not found.has_all_of(expected[found.key]):
                surplus.append(task_id)
            else:
                whole[found.key] = task_id
        if len(whole) == len(sent):
            break
    if surplus:
        _delete_surplus(client, project, surplus)
    with engine.begin() as connection:
        server_side.close_batch(connection, place, batch, whole)
    return whole


def _hold_against_total(
    engine: Engine, place: Place, client: LabelStudioClient, project: Project, counted: int | None = None
) -> Reconciled:
    """List a project in full whose number of tasks is not ours."""
    with engine.connect() as connection:
        live = server_side.count_tasks(connection, place)
    foreign = 0
    if (client.reader.count_tasks(project) if counted is None else counted) != live:
        foreign = _relist(engine, place, client, project)
        with engine.connect() as connection:
            live = server_side.count_tasks(connection, place)
    return Reconciled(live, foreign)


def _relist(engine: Engine, place: Place, client: LabelStudioClient, project: Project) -> int:
    """Hold every task of the project against our books; returns how many are not ours."""
    with engine.connect() as connection:
        live = server_side.tasks_of(connection, place)
    found: dict[str, int] = {}
    surplus: list[int] = []
    foreign = 0
    for task_id, key in client.reader.task_keys(project):
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
    """Delete tasks that stand twice, or that have lost something, unless people have worked on them."""
    worked_on = client.reader.worked_on(project, surplus)
    if worked_on:
        raise LabelStudioError(
            "tasks that stand twice in the project, or lost annotations, were worked on since",
            where=project.title,
            found=f"tasks {', '.join(map(str, sorted(worked_on)))}",
            remedy="Delete those that are not wanted in Label Studio, then push again",
        )
    client.delete_tasks(project, surplus)


def _sent(task: TaskData) -> Sent:
    return Sent(task.key, len(task.annotations), len(task.predictions))


def _bytes_of(task: TaskData) -> int:
    """About how large a task is on its way; masks are long lists of numbers."""
    return len(json.dumps([dict(task.data), list(task.annotations)]))
