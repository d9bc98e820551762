"""Label Studio -> catalog: what annotators did, joined on task id *and* content key.

Only what the server has written to since the last collection is fetched, page by page; what a page brought is
in the catalog before its checkpoint is, and brings nothing new when it comes again. A collection starts from
the server's own time of the last change that the one before knew of, or a little before that one looked, as a
request may end after its time stamp. So no time to come is trusted: the server stamps some changes with its
local time. What leaves no trace in times, such as annotations deleted in the database, shows in the totals:
where those differ from what the catalog holds, everything is fetched once more.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Engine

from goldloop.catalog import collection, server_side
from goldloop.catalog.collection import Checkpoint, Known
from goldloop.catalog.ledger import Balance, balance, closed_books, write_lines
from goldloop.catalog.reopened import reopened_of
from goldloop.catalog.server_side import Place
from goldloop.errors import IdentityError, LabelStudioUnreachable, LedgerError
from goldloop.labeling.api import time_value
from goldloop.labeling.reading import Reader
from goldloop.labeling.relabel import is_since
from goldloop.labeling.values import CollectedTask, Project, Totals
from goldloop.progress import Advance, Progress
from goldloop.records import Annotation, Outcome, Reopened

OVERLAP = timedelta(seconds=30)
"""How long a request may take from its time stamp to its commit without being missed."""
_CHUNK = 250
_TRIES = 4
"""How often in a row a page may end too early."""


class Collector:
    """One collection of a recipe's project.

    Args:
        engine: the catalog.
        place: recipe and server.
        reader: how the project is read.
        project: ours.
        annotators_per_item: answers that make a task `labelled`.
        progress: where to tell how far it is.
    """

    def __init__(
        self,
        engine: Engine,
        place: Place,
        reader: Reader,
        project: Project,
        annotators_per_item: int,
        progress: Progress,
    ) -> None:
        self._engine = engine
        self._place = place
        self._reader = reader
        self._project = project
        self._need = annotators_per_item
        self._progress = progress
        with engine.connect() as connection:
            self._sent: Mapping[str, Reopened] = reopened_of(connection, place.recipe)

    def fetch(self, since: str | None, latest: str | None) -> str | None:
        """Bring what has changed; returns the time from which the next collection is to start.

        A collection that was cut off is ended first, from where it was.

        Args:
            since: what the last one returned; None for everything.
            latest: the server's last change, asked for before.

        Raises:
            IdentityError: a task came back with another item's content; its page is not taken.
        """
        with self._engine.connect() as connection:
            left = collection.underway(connection, self._place, self._project.id)
        if left is not None and (since is not None or left.since is None):
            since = self._go_on(left)
        changed_since = None if since is None else time_value(since)
        point = Checkpoint(self._project.id, changed_since, self._settled(latest))
        with self._engine.begin() as connection:
            collection.drop_deleted(connection, self._place)
            collection.begin(connection, self._place, point)
        return self._go_on(point)

    def check(self, totals: Totals) -> tuple[int, int] | None:
        """Hold the catalog against the server's own count from before; None if people have gone on meanwhile.

        Returns:
            Annotations held and annotations counted, where they differ.
        """
        counted = totals.annotations + totals.skipped
        held = self.held()
        if held == counted or self._reader.project_totals(self._project) != totals:
            return None
        return held, counted

    def unseen(self) -> list[int]:
        """Live tasks that never came, a few: such as of an import that ended long after its time stamp."""
        with self._engine.connect() as connection:
            return collection.unseen(connection, self._place)

    def held(self) -> int:
        """How many annotations the catalog holds."""
        with self._engine.connect() as connection:
            return collection.count_annotations(connection, self._place)

    def close(self, *, anew: bool) -> Balance:
        """Balance the books: one line for each live task.

        Args:
            anew: write every line again, as they follow other rules than the last time.

        Raises:
            LedgerError: a task has no line, or was never listed by the server.
        """
        recipe = self._place.recipe
        with self._engine.begin() as connection:
            if anew:
                collection.drop_lines(connection, self._place)
            total = server_side.count_tasks(connection, self._place)
            books = balance(connection, recipe, "collect")
        if books.total != total:
            with self._engine.begin() as connection:
                collection.drop_strays(connection, self._place)
            self._write_missing_lines()
        missing = self.unseen()
        if missing:
            raise LedgerError(
                "the server does not list tasks that it has",
                where=self._project.title,
                found=f"tasks {missing} missing",
                remedy="Run `goldloop push` to settle what was deleted there, then collect again",
            )
        if books.total == total:
            return books
        with self._engine.connect() as connection:
            return closed_books(connection, recipe, "collect", total)

    def _settled(self, latest: str | None) -> str | None:
        """The time up to which nothing more can be written: of the last change, or a little before now."""
        if latest is None:
            return None
        settled = min(datetime.fromisoformat(latest), self._reader.now() - OVERLAP)
        return settled.isoformat().replace("+00:00", "Z")

    def _write_missing_lines(self) -> None:
        """From what the catalog holds."""
        after = 0
        while True:
            with self._engine.begin() as connection:
                tasks = collection.without_line(connection, self._place, after)
                if not tasks:
                    return
                held: dict[int, list[Annotation]] = {task_id: [] for task_id in tasks}
                for act in collection.annotations_of_tasks(connection, self._place, list(tasks)):
                    held[act.task_id].append(act)
                outcomes = [self._outcome(task_id, task, held[task_id]) for task_id, task in tasks.items()]
                write_lines(connection, self._place.recipe, "collect", outcomes)
            after = max(tasks)

    def _go_on(self, point: Checkpoint) -> str | None:
        """Fetch page after page from a checkpoint; returns its `until`."""
        faults = 0
        with self._progress.track("collect") as advance:
            while True:
                try:
                    for last, page in self._reader.changed(self._project, point.since, point.after):
                        self._take(page, advance)
                        point, faults = replace(point, after=last), 0
                        with self._engine.begin() as connection:
                            collection.note(connection, self._place, point)
                    return point.until
                except LabelStudioUnreachable:
                    faults += 1
                    if faults == _TRIES:
                        raise
                    time.sleep(2.0 * faults)

    def _take(self, page: Iterable[CollectedTask], advance: Advance) -> None:
        chunk: list[CollectedTask] = []
        for task in page:
            chunk.append(task)
            if len(chunk) == _CHUNK:
                self._store(chunk, advance)
                chunk = []
        if chunk:
            self._store(chunk, advance)

    def _store(self, chunk: Collection[CollectedTask], advance: Advance) -> None:
        """Take over those tasks of a chunk that are ours and that have changed."""
        with self._engine.begin() as connection:
            known = collection.known_tasks(connection, self._place, [task.task_id for task in chunk])
            ours = [task for task in chunk if task.task_id in known]
            for task in ours:
                _same_item(task, known[task.task_id].key)
            new = [task for task in ours if known[task.task_id].seen_at != task.updated_at]
            if new:
                collection.replace_annotations(
                    connection,
                    self._place,
                    {task.task_id: task.updated_at for task in new},
                    (act for task in new for act in task.annotations),
                    [self._outcome(task.task_id, known[task.task_id], task.annotations) for task in new],
                )
        advance(len(new))

    def _outcome(self, task_id: int, task: Known, annotations: Collection[Annotation]) -> Outcome:
        sent = self._sent.get(task.key)
        outcome, reason = _standing(annotations, self._need, sent)
        if task.archived and outcome != "labelled":
            outcome, reason = "archived", f"its item was superseded, {reason}"
        return Outcome(subject=str(task_id), outcome=outcome, reason=reason)


def _standing(annotations: Collection[Annotation], need: int, sent: Reopened | None) -> tuple[str, str]:
    """How far a task is, and why."""
    if sent is not None:
        since = [act for act in annotations if is_since(act, sent) and not act.cancelled]
        return "labelled" if since else "open", f"sent back, {len(since)} answers since"
    answers = {act.annotator for act in annotations if not act.cancelled}
    skips = {act.annotator for act in annotations if act.cancelled} - answers
    if len(answers) >= need:
        return "labelled", f"{len(answers)} answers"
    if skips and not answers:
        return "skipped", f"skipped by {len(skips)}"
    return "open", f"{len(answers)} of {need} answers"


def _same_item(task: CollectedTask, key: str) -> None:
    if task.key != key:
        raise IdentityError(
            "a task came back with another item's content",
            where=f"task {task.task_id}",
            found=f"key {task.key}",
            expected=f"key {key}",
            remedy="Its data were changed in Label Studio: delete the task there and push again",
        )
