"""A project of any Label Studio, read over HTTP.

Whole tasks come by snapshots: several times faster than pages of `/api/tasks?fields=all`, which moreover
leave out what pre-annotation was shown, and unlike the plain export they leave no copy on the server. A
snapshot of a whole project keeps a request waiting for minutes, so each is of a tab of the data manager that
holds a bounded number of tasks; snapshots and tabs are deleted, also those of a run that was killed.
`benchmarks/sync` measures the rates.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from goldloop.catalog.server_side import Sent
from goldloop.labeling.api import Api, condition, time_value
from goldloop.labeling.collected import collected_task
from goldloop.labeling.snapshot import TITLE, delete_left_behind, snapshot
from goldloop.labeling.values import CollectedTask, Project, Totals

PAGE = 2_500
"""Tasks in one snapshot: it costs half a dozen requests beside its own time."""
_VIEWS = "/api/dm/views/"


class Pages:
    """A reader (`reading.Reader`) over HTTP.

    Args:
        api: the server.
        pseudonym_key: what turns annotators' addresses into pseudonyms.
    """

    def __init__(self, api: Api, pseudonym_key: bytes) -> None:
        self._api = api
        self._pseudonym_key = pseudonym_key

    def now(self) -> datetime:
        """As it said in its last answer; by our own clock where it did not."""
        return self._api.server_time or datetime.now(UTC)

    def count_tasks(self, project: Project) -> int:
        """One small request."""
        answer = self._api.get(f"/api/projects/{project.id}/", {"include": "id,task_number"})
        return int(answer["task_number"])

    def project_totals(self, project: Project, since: str | None = None) -> Totals:
        """The server's own count; two small requests."""
        counts = ("task_number", "total_annotations_number", "skipped_annotations_number")
        predictions = "total_predictions_number"
        answer = self._api.get(
            f"/api/projects/{project.id}/", {"include": ",".join(("id", *counts, predictions))}
        )
        tasks, annotations, skipped = (int(answer[name]) for name in counts)
        return Totals(
            tasks=tasks,
            annotations=annotations,
            skipped=skipped,
            predictions=int(answer[predictions]),
            latest_update=self._latest_update(project, since),
        )

    def _latest_update(self, project: Project, since: str | None) -> str | None:
        """When a task was written to last; what a page could show is counted, so few are asked about."""
        lately = [condition("updated_at", "greater_or_equal", "Datetime", time_value(since))] if since else []
        for conditions in (lately, []):
            page = self._api.task_page(project.id, conditions, size=1, ordering="-tasks:updated_at")
            if page["tasks"] or not conditions:
                break
        return page["tasks"][0]["updated_at"] if page["tasks"] else None

    def task_keys(self, project: Project) -> Iterator[tuple[int, str]]:
        """Every task's."""
        for task in self._api.tasks(project.id):
            yield task["id"], _key_of(task)

    def imported(self, project: Project, expected: Mapping[int, str]) -> Mapping[int, str]:
        """By a small request or two where all went well: to list a task costs as much as to make it.

        Tasks get their ids in the order in which the import has them. So if as many lie between the first
        and the last as were sent, and these two are what they should be, the others are too; else each is
        looked at. Ids without a gap leave no place for another's, so the first of them need not be seen.
        """
        ids = list(expected)
        if not ids:
            return {}
        # A range, as the ids themselves make an address too long for many servers.
        within = condition("id", "in", "Number", {"min": min(ids), "max": max(ids)})
        if ids == sorted(ids):
            ends = {ids[-1]: "-tasks:id"}
            if ids[-1] - ids[0] >= len(ids):
                ends[ids[0]] = "tasks:id"
            pages = [
                self._api.task_page(project.id, [within], size=1, ordering=ordering)
                for ordering in ends.values()
            ]
            seen = {task["id"]: _key_of(task) for page in pages for task in page["tasks"]}
            counted = {page["total"] for page in pages}
            if counted == {len(ids)} and seen == {place: expected[place] for place in ends}:
                return expected
        found: dict[int, str] = {}
        for task in self._api.tasks(project.id, [within]):
            if task["id"] in expected:
                found[task["id"]] = _key_of(task)
            if len(found) == len(expected):
                break
        return found

    def find_batch(self, project: Project, batch: str) -> dict[int, Sent]:
        """Those of one batch."""
        named = condition("data.batch", "equal", "String", batch)
        return {
            task["id"]: Sent(
                _key_of(task),
                task["total_annotations"] + task["cancelled_annotations"],
                task["total_predictions"],
            )
            for task in self._api.tasks(project.id, [named])
        }

    def worked_on(self, project: Project, task_ids: Collection[int]) -> set[int]:
        """Each task is asked for: the list of its annotations would leave out what was skipped."""
        return {
            task_id
            for task_id in task_ids
            if any(
                each["updated_by"]
                for each in self._api.get(f"/api/tasks/{task_id}/", {"resolve_uri": "false"})["annotations"]
            )
        }

    def changed(
        self, project: Project, since: str | None, after: int
    ) -> Iterator[tuple[int, Iterator[CollectedTask]]]:
        """Pages of changed tasks, a snapshot each."""
        self._clear(project)
        by_time = [] if since is None else [condition("updated_at", "greater_or_equal", "Datetime", since)]
        while True:
            wanted = [*by_time, condition("id", "greater", "Number", after)]
            # The server looks through all tasks of the project for it: of the last page it is asked once.
            left = self._api.task_page(project.id, wanted, size=1, ordering="-tasks:id")
            if not left["tasks"]:
                return
            last_page = left["total"] <= PAGE
            last = int(left["tasks"][0]["id"]) if last_page else self._end(project, wanted)
            within = condition("id", "in", "Number", {"min": after + 1, "max": last})
            with self._view(project, [*by_time, within]) as view:
                yield last, self._tasks(project, view)
            if last_page:
                return
            after = last

    def _end(self, project: Project, wanted: Sequence[Mapping[str, Any]]) -> int:
        """The id of the last task of a full page."""
        page = self._api.task_page(project.id, wanted, size=1, page=PAGE)
        return int(page["tasks"][0]["id"])

    def _tasks(self, project: Project, view: int) -> Iterator[CollectedTask]:
        for task in snapshot(self._api, project.id, view):
            yield collected_task(task, self._pseudonym_key)

    @contextmanager
    def _view(self, project: Project, items: Sequence[Mapping[str, Any]]) -> Iterator[int]:
        data = {"title": TITLE, "filters": {"conjunction": "and", "items": list(items)}}
        made = self._api.call("POST", _VIEWS, json={"project": project.id, "data": data}, again=True)
        try:
            yield int(made["id"])
        finally:
            self._api.call("DELETE", f"{_VIEWS}{made['id']}/", again=True)

    def _clear(self, project: Project) -> None:
        """Delete what a run that was killed left behind."""
        delete_left_behind(self._api, project.id)
        for view in self._api.get(_VIEWS, {"project": project.id}):
            if view["data"].get("title") == TITLE:
                self._api.call("DELETE", f"{_VIEWS}{view['id']}/", again=True)


def _key_of(task: Mapping[str, Any]) -> str:
    return str(task["data"].get("key") or "")
