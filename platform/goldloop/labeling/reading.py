"""How a project is read: a reader for each way, and what all of them promise.

    pages      over HTTP: any server. Tasks and annotations by snapshots of a bounded number of tasks each
    database   read-only SQL, where goldloop runs the server: two hundred times as fast, and one moment

Both tell the same of the same project, to the byte: what is collected does not depend on the way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Protocol

from goldloop.catalog.server_side import Sent
from goldloop.labeling.values import CollectedTask, Project, Totals


class Reader(Protocol):
    """One way to read a project; every method raises a `LabelStudioError` where the server cannot be read."""

    def now(self) -> datetime:
        """The time by the server's clock, to a second, in UTC."""

    def project_totals(self, project: Project, since: str | None = None) -> Totals:
        """The server's own count.

        Take it before `changed`: what changes meanwhile then shows as a change next time.

        Args:
            project: which.
            since: ISO 8601; a time of the server's that its last change is known not to lie before, where
                one is known: what is older need not be looked through for it.
        """

    def count_tasks(self, project: Project) -> int:
        """The server's own count of tasks, by itself."""

    def task_keys(self, project: Project) -> Iterator[tuple[int, str]]:
        """Id and content key of every task, by id; the key is empty where the data have none."""

    def imported(self, project: Project, expected: Mapping[int, str]) -> Mapping[int, str]:
        """Id -> content key of what is there of the tasks of one import.

        Args:
            project: which.
            expected: id -> content key, a thousand at most, in the order in which the import had them.
        """

    def find_batch(self, project: Project, batch: str) -> dict[int, Sent]:
        """Id -> what tasks have that imports of one name made; empty if they made none."""

    def worked_on(self, project: Project, task_ids: Collection[int]) -> set[int]:
        """Those of some tasks of which a person has made an annotation or changed one."""

    def changed(
        self, project: Project, since: str | None, after: int
    ) -> Iterator[tuple[int, Iterator[CollectedTask]]]:
        """Whole tasks that were written to since a time of the server's, in pages by id.

        A task is written to when an annotation of it is made, changed, skipped or deleted.

        Args:
            project: which.
            since: ISO 8601; None for all tasks.
            after: only tasks beyond this id.

        Yields:
            The id that a page ends with, and its tasks in any order; a page is bounded, and is to be read
            before the next one is asked for.
        """
