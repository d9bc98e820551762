"""What of a recipe lies on an annotation server: its project, its tasks, and what came back.

`server` names the server stably: `embedded`, or the address of another one. Every import goes through
the journal of `batches`: its row is there before the first byte is sent and goes in the transaction that
notes the tasks, so that after a crash the server can be asked about exactly the batches in doubt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from goldloop.catalog.content import upsert
from goldloop.catalog.tables import annotations as annotation_table
from goldloop.catalog.tables import batches, predictions, projects, reopened, tasks
from goldloop.records import Annotation

_CHUNK = 2_000


@dataclass(frozen=True, slots=True)
class Place:
    """One recipe on one server."""

    recipe: str
    server: str

    def where(self, table: Any) -> tuple[Any, Any]:
        """The condition that picks this place's rows."""
        return (table.c.recipe == self.recipe, table.c.server == self.server)

    def row(self, **values: Any) -> dict[str, Any]:
        """A row of this place."""
        return {"recipe": self.recipe, "server": self.server, **values}


def project_id(connection: Connection, place: Place) -> int | None:
    """The project that goldloop made there, if any."""
    return connection.execute(select(projects.c.project_id).where(*place.where(projects))).scalar()


def has_project(connection: Connection, recipe: str) -> bool:
    """Whether the recipe has a project on any server."""
    return (
        connection.execute(select(projects.c.project_id).where(projects.c.recipe == recipe)).first()
        is not None
    )


def note_project(connection: Connection, place: Place, project: int) -> None:
    """Note the project; what is known of another one's tasks there is forgotten."""
    known = project_id(connection, place)
    if known is not None and known != project:
        for table in (tasks, batches, annotation_table, predictions, reopened):
            connection.execute(delete(table).where(*place.where(table)))
    upsert(connection, projects, [place.row(project_id=project)])


def open_batch(connection: Connection, place: Place, batch: str, keys: Sequence[str]) -> None:
    """Journal an import before it is sent."""
    upsert(connection, batches, [place.row(batch=batch, keys=list(keys), state="sending")])


def batches_in_doubt(connection: Connection, place: Place) -> dict[str, list[str]]:
    """Batch -> keys, of imports whose end was never seen."""
    rows = connection.execute(select(batches.c.batch, batches.c["keys"]).where(*place.where(batches)))
    return {row.batch: list(row._mapping["keys"]) for row in rows}


def close_batch(connection: Connection, place: Place, batch: str, stored: Mapping[str, int]) -> None:
    """Note the tasks (key -> id) that a batch made, and end its journal entry."""
    note_tasks(connection, place, stored)
    connection.execute(delete(batches).where(*place.where(batches), batches.c.batch == batch))


def note_tasks(connection: Connection, place: Place, stored: Mapping[str, int]) -> None:
    """Note tasks by key."""
    rows = [place.row(key=key, task_id=task, state="live") for key, task in stored.items()]
    for start in range(0, len(rows), _CHUNK):
        upsert(connection, tasks, rows[start : start + _CHUNK])


def mark_deleted(connection: Connection, place: Place, keys: Iterable[str]) -> None:
    """Note that someone deleted these tasks on the server; they are not pushed again."""
    for key in keys:
        connection.execute(
            update(tasks).where(*place.where(tasks), tasks.c.key == key).values(state="deleted")
        )


def tasks_of(connection: Connection, place: Place, state: str = "live") -> dict[str, int]:
    """Key -> task id."""
    rows = connection.execute(
        select(tasks.c.key, tasks.c.task_id).where(*place.where(tasks), tasks.c.state == state)
    )
    return {row.key: row.task_id for row in rows}


def replace_annotations(connection: Connection, place: Place, collected: Iterable[Annotation]) -> int:
    """Make the catalog hold exactly these annotations; returns how many, in the caller's transaction."""
    connection.execute(delete(annotation_table).where(*place.where(annotation_table)))
    rows: list[dict[str, Any]] = []
    count = 0
    for annotation in collected:
        rows.append(_row(place, annotation))
        count += 1
        if len(rows) == _CHUNK:
            connection.execute(insert(annotation_table), rows)
            rows = []
    if rows:
        connection.execute(insert(annotation_table), rows)
    return count


def annotations_of(connection: Connection, recipe: str) -> Iterator[Annotation]:
    """A recipe's annotations from every server, by item key and time."""
    table = annotation_table
    order = (table.c.key, table.c.created_at, table.c.server, table.c.annotation_id)
    for row in connection.execute(select(table).where(table.c.recipe == recipe).order_by(*order)):
        yield annotation_of(row)


def annotation_of(row: Any) -> Annotation:
    """An annotation from a row of its table."""
    return Annotation(
        id=row.annotation_id,
        task_id=row.task_id,
        key=row.key,
        annotator=row.annotator,
        results=tuple(row.results),
        cancelled=row.cancelled,
        created_at=row.created_at,
        updated_at=row.updated_at,
        lead_time=row.lead_time,
        shown_model=row.shown_model,
    )


def annotation_state(connection: Connection, recipe: str) -> str:
    """A digest that changes whenever any annotation does."""
    digest = hashlib.sha256()
    for annotation in annotations_of(connection, recipe):
        digest.update(repr(annotation).encode())
    return digest.hexdigest()


def note_predictions(connection: Connection, place: Place, model: str, task_ids: Iterable[int]) -> None:
    """Note that tasks now carry a model's pre-annotation."""
    rows = [place.row(task_id=task, model=model) for task in task_ids]
    for start in range(0, len(rows), _CHUNK):
        upsert(connection, predictions, rows[start : start + _CHUNK])


def predicted(connection: Connection, place: Place, model: str) -> set[int]:
    """Ids of the tasks that carry a model's pre-annotation."""
    rows = connection.execute(
        select(predictions.c.task_id).where(*place.where(predictions), predictions.c.model == model)
    )
    return {row.task_id for row in rows}


def answer_counts(connection: Connection, place: Place) -> dict[int, int]:
    """Task id -> answers given (skips are none), for tasks with any."""
    table = annotation_table
    rows = connection.execute(
        select(table.c.task_id, func.count(func.distinct(table.c.annotator)))
        .where(*place.where(table), table.c.cancelled.is_(False))
        .group_by(table.c.task_id)
    )
    return {task: int(count) for task, count in rows}


def _row(place: Place, annotation: Annotation) -> dict[str, Any]:
    return place.row(
        annotation_id=annotation.id,
        task_id=annotation.task_id,
        key=annotation.key,
        annotator=annotation.annotator,
        results=[dict(result) for result in annotation.results],
        cancelled=annotation.cancelled,
        created_at=annotation.created_at,
        updated_at=annotation.updated_at,
        lead_time=annotation.lead_time,
        shown_model=annotation.shown_model,
    )
