"""The embedded Label Studio's own database, read only: the quickest way to what annotators did.

Only of the server that goldloop runs itself, whose release it has pinned (`environment.VERSION`): of any
other one neither the place nor the tables are known. SQLite's write-ahead log lets us read while it writes;
every page is read in one transaction, so it is of one moment.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from goldloop.catalog.server_side import Sent
from goldloop.errors import LabelStudioError
from goldloop.labeling.collected import collected_task
from goldloop.labeling.values import CollectedTask, Project, Totals

DATABASE = Path("data", "label_studio.sqlite3")
"""Within the embedded server's folder."""
PAGE = 500
_PATIENCE = 120.0

_ALL_KEYS = """
SELECT id, coalesce(json_extract(data, '$.key'), '') FROM task WHERE project_id = ? ORDER BY id
"""
_KEYS = """
SELECT id, coalesce(json_extract(data, '$.key'), '') FROM task
WHERE project_id = ? AND id IN (SELECT value FROM json_each(?))
"""
_BATCH = """
SELECT id, coalesce(json_extract(data, '$.key'), ''),
  min(total_annotations + cancelled_annotations,
      (SELECT count(*) FROM task_completion a WHERE a.task_id = task.id)),
  min(total_predictions, (SELECT count(*) FROM prediction p WHERE p.task_id = task.id))
FROM task WHERE project_id = ? AND json_extract(data, '$.batch') = ?
"""
_WORKED_ON = """
SELECT DISTINCT task_id FROM task_completion
WHERE updated_by_id IS NOT NULL AND project_id = ? AND task_id IN (SELECT value FROM json_each(?))
"""
_ALL = """
SELECT id, coalesce(json_extract(data, '$.key'), ''), updated_at FROM task
WHERE project_id = ? AND id > ? ORDER BY id LIMIT ?
"""
# The signs keep SQLite from walking all tasks by id rather than the few that have changed by time.
_CHANGED = """
SELECT id, coalesce(json_extract(data, '$.key'), ''), updated_at FROM task
WHERE project_id = ? AND +id > ? AND updated_at >= ? ORDER BY +id LIMIT ?
"""
_ANNOTATIONS = """
SELECT a.task_id, a.id, a.result, a.was_cancelled, a.created_at, a.updated_at, a.lead_time,
  a.ground_truth, a.parent_prediction_id, a.prediction, a.updated_by_id, u.email
FROM task_completion a LEFT JOIN htx_user u ON u.id = a.completed_by_id
WHERE a.task_id IN (SELECT value FROM json_each(?)) ORDER BY a.id
"""
_PREDICTIONS = """
SELECT task_id, id, model_version, created_at FROM prediction
WHERE task_id IN (SELECT value FROM json_each(?)) ORDER BY id
"""
_COUNTS = "SELECT counted, kind, number FROM goldloop_counts WHERE project_id = ?"
_LATEST = "SELECT max(updated_at) FROM task WHERE project_id = ?"
_COUNTED = """
SELECT 'task', 0, count(*) FROM task WHERE project_id = ?1
UNION ALL SELECT 'prediction', 0, count(*) FROM prediction WHERE project_id = ?1
UNION ALL SELECT 'task_completion', was_cancelled, count(*) FROM task_completion
  WHERE project_id = ?1 GROUP BY was_cancelled
"""
_DRAFTS = """
SELECT task_id, annotation_id FROM tasks_annotationdraft WHERE task_id IN (SELECT value FROM json_each(?))
"""


class Database:
    """A reader (`reading.Reader`) of the file.

    Args:
        path: the SQLite file of the embedded server.
        pseudonym_key: what turns annotators' addresses into pseudonyms.
    """

    def __init__(self, path: Path, pseudonym_key: bytes) -> None:
        self.path = path
        self._pseudonym_key = pseudonym_key

    def now(self) -> datetime:
        """The server runs on this machine."""
        return datetime.now(UTC)

    def count_tasks(self, project: Project) -> int:
        """As the server counts them."""
        with self._reading() as file:
            return _counts(file, project)["task", 0]

    def project_totals(self, project: Project, since: str | None = None) -> Totals:
        """The counts, of one moment."""
        with self._reading() as file:
            counts = _counts(file, project)
            [latest] = file.execute(_LATEST, (project.id,)).fetchone()
        return Totals(
            tasks=counts["task", 0],
            annotations=counts["task_completion", 0],
            skipped=counts["task_completion", 1],
            predictions=counts["prediction", 0],
            latest_update=None if latest is None else _told(latest),
        )

    def task_keys(self, project: Project) -> Iterator[tuple[int, str]]:
        """Every task's."""
        with self._reading() as file:
            yield from file.execute(_ALL_KEYS, (project.id,))

    def imported(self, project: Project, expected: Mapping[int, str]) -> Mapping[int, str]:
        """Each of them is looked at."""
        with self._reading() as file:
            return dict(file.execute(_KEYS, (project.id, json.dumps(list(expected)))))

    def find_batch(self, project: Project, batch: str) -> dict[int, Sent]:
        """Those of one batch; every task of the project is looked at.

        A server that was killed between an import and its own counters has both; the lower one counts.
        """
        with self._reading() as file:
            rows = file.execute(_BATCH, (project.id, batch)).fetchall()
        return {row[0]: Sent(*row[1:]) for row in rows}

    def worked_on(self, project: Project, task_ids: Collection[int]) -> set[int]:
        """Those that somebody has worked on."""
        with self._reading() as file:
            rows = file.execute(_WORKED_ON, (project.id, json.dumps(list(task_ids))))
            return {row[0] for row in rows}

    def changed(
        self, project: Project, since: str | None, after: int
    ) -> Iterator[tuple[int, Iterator[CollectedTask]]]:
        """Pages of changed tasks."""
        while True:
            with self._reading() as file:
                if since is None:
                    rows = file.execute(_ALL, (project.id, after, PAGE)).fetchall()
                else:
                    rows = file.execute(_CHANGED, (project.id, after, _kept(since), PAGE)).fetchall()
                tasks = _tasks(file, rows)
            if not rows:
                return
            after = rows[-1][0]
            yield after, (collected_task(task, self._pseudonym_key) for task in tasks)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            address = f"{self.path.absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(address, uri=True, timeout=_PATIENCE)) as file:
                file.isolation_level = None
                file.execute("BEGIN")
                yield file
        except sqlite3.Error as error:
            raise LabelStudioError(
                "the embedded Label Studio's database cannot be read",
                where=self.path,
                found=str(error),
                remedy="Try `goldloop down`, then `goldloop up`",
            ) from error


def _tasks(file: sqlite3.Connection, rows: Sequence[tuple[int, str, str]]) -> list[dict[str, Any]]:
    """Whole tasks, in the form of an export."""
    tasks: dict[int, dict[str, Any]] = {
        task_id: {
            "id": task_id,
            "data": {"key": key},
            "updated_at": _told(updated_at),
            "annotations": [],
            "predictions": [],
            "drafts": [],
        }
        for task_id, key, updated_at in rows
    }
    listed = (json.dumps(list(tasks)),)
    for task_id, entry in _annotations(file, listed):
        tasks[task_id]["annotations"].append(entry)
    for task_id, number, version, created_at in file.execute(_PREDICTIONS, listed):
        entry = {"id": number, "model_version": version, "created_at": _told(created_at)}
        tasks[task_id]["predictions"].append(entry)
    for task_id, annotation in file.execute(_DRAFTS, listed):
        tasks[task_id]["drafts"].append({"annotation": annotation})
    return list(tasks.values())


def _annotations(file: sqlite3.Connection, listed: tuple[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    for row in file.execute(_ANNOTATIONS, listed):
        yield (
            row[0],
            {
                "id": row[1],
                "result": json.loads(row[2]) if row[2] else None,
                "was_cancelled": bool(row[3]),
                "created_at": _told(row[4]),
                "updated_at": _told(row[5]),
                "lead_time": row[6],
                "ground_truth": bool(row[7]),
                "parent_prediction": row[8],
                "prediction": json.loads(row[9]) if row[9] else None,
                "updated_by": row[10],
                "completed_by": {"email": row[11] or ""},
            },
        )


def _counts(file: sqlite3.Connection, project: Project) -> Counter[tuple[str, int]]:
    """Rows by table, and for annotations whether they were cancelled."""
    # A server that an older goldloop started, and that runs still, does not keep them.
    kept = file.execute("SELECT 1 FROM sqlite_master WHERE name = 'goldloop_counts'").fetchone()
    rows = file.execute(_COUNTS if kept else _COUNTED, (project.id,))
    return Counter({(counted, kind): number for counted, kind, number in rows})


def _told(time: str) -> str:
    """A time as the API tells it."""
    return f"{time.replace(' ', 'T')}Z"


def _kept(time: str) -> str:
    """A time as the file has it."""
    return time.replace("T", " ").removesuffix("Z")
