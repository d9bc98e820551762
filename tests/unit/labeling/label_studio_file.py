"""A database of the embedded Label Studio's release, filled by SQL: what a server would have written."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from goldloop.labeling.environment import located
from goldloop.labeling.values import Project
from goldloop.settings import Settings

PROJECT = Project(id=7, title="seven", label_config="<View/>", model_version=None, address="")
PERSON = 3
_BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


def template() -> Path:
    """The empty database of a release that was made once; it is there where a server has ever run."""
    return located(Settings().cache).template


class LabelStudioFile:
    """The file, and what people do with it.

    Args:
        path: where it is made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seconds = 0
        shutil.copyfile(template(), path)
        self._insert("htx_user", id=PERSON, email="ann@example.org", username="ann", password="x")
        self._insert("project", id=PROJECT.id, title="seven")

    def task(self, number: int, key: str, **fields: Any) -> None:
        """Make a task."""
        data = json.dumps({"text": key, "key": key, "batch": "one"})
        self._insert(
            "task", **{"id": number, "data": data, "project_id": PROJECT.id, **self._now(), **fields}
        )

    def annotation(self, number: int, task: int, choice: str, **fields: Any) -> None:
        """Make an annotation, as an annotator does."""
        now = self._now()
        who = {"completed_by_id": PERSON, "updated_by_id": PERSON}
        place = {"id": number, "task_id": task, "project_id": PROJECT.id}
        self._insert(
            "task_completion", **{**place, **now, "result": json.dumps(result(choice)), **who, **fields}
        )
        self.execute("UPDATE task SET updated_at = ? WHERE id = ?", now["updated_at"], task)

    def edit(self, number: int, choice: str) -> None:
        """Change an annotation's answer."""
        at = self._now()["updated_at"]
        self.execute(
            "UPDATE task_completion SET result = ?, updated_at = ? WHERE id = ?",
            json.dumps(result(choice)), at, number,
        )  # fmt: skip
        self.execute(
            "UPDATE task SET updated_at = ? WHERE id = (SELECT task_id FROM task_completion WHERE id = ?)",
            at, number,
        )  # fmt: skip

    def execute(self, statement: str, *values: Any) -> None:
        """Change it by hand."""
        with closing(sqlite3.connect(self.path)) as file, file:
            file.execute(statement, values)

    def _now(self) -> dict[str, str]:
        """A minute later than the last time, so that no overlap hides what is missed."""
        self._seconds += 60
        at = (_BEGINNING + timedelta(seconds=self._seconds)).strftime("%Y-%m-%d %H:%M:%S.%f")
        return {"created_at": at, "updated_at": at}

    def _insert(self, table: str, **values: Any) -> None:
        """A row, with nothing where it must have something."""
        with closing(sqlite3.connect(self.path)) as file, file:
            for _, name, kind, required, default, key in file.execute(f"PRAGMA table_info({table})"):
                if required and default is None and not key and name not in values:
                    is_number = kind.lower().startswith(("int", "bool", "big", "real"))
                    values[name] = 0 if is_number else "2026-01-01 00:00:00.000000"
            places = ", ".join("?" * len(values))
            file.execute(
                f"INSERT INTO {table} ({', '.join(values)}) VALUES ({places})", tuple(values.values())
            )


def result(choice: str) -> list[dict[str, Any]]:
    """One answer."""
    return [{"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": [choice]}}]
