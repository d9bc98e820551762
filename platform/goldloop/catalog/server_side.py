"""What of a recipe lies on an annotation server: its project, its tasks, and what came back.

`server` names the server stably: `embedded`, or the address of another one. Every import goes through
the journal of `batches`: its row is there before the first byte is sent and goes in the transaction that
notes the tasks, so that after a crash the server can be asked about exactly the batches in doubt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, and_, case, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from goldloop.catalog.content import upsert
from goldloop.catalog.ledger import Balance, amend_books, replace_books
from goldloop.catalog.tables import annotations as annotation_table
from goldloop.catalog.tables import batches, items, predictions, projects, reopened, tasks
from goldloop.catalog.tallies import tally
from goldloop.records import Annotation, Outcome

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


@dataclass(frozen=True, slots=True)
class Sent:
    """A task of an import, as it was sent or as it is there: how many annotations and predictions it has."""

    key: str
    annotations: int = 0
    predictions: int = 0

    def has_all_of(self, sent: Sent) -> bool:
        """Whether nothing of what was sent is missing; people may have added to it."""
        return self.annotations >= sent.annotations and self.predictions >= sent.predictions


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


def open_batch(connection: Connection, place: Place, batch: str, sent: Sequence[Sent]) -> None:
    """Journal an import before it is sent."""
    lines = [[each.key, each.annotations, each.predictions] for each in sent]
    upsert(connection, batches, [place.row(batch=batch, keys=lines, state="sending")])


def batches_in_doubt(connection: Connection, place: Place) -> dict[str, list[Sent]]:
    """Batch -> what was sent, of imports whose end was never seen."""
    rows = connection.execute(select(batches.c.batch, batches.c["keys"]).where(*place.where(batches)))
    # Journals of earlier releases hold keys alone.
    return {
        row.batch: [Sent(line) if isinstance(line, str) else Sent(*line) for line in row._mapping["keys"]]
        for row in rows
    }


def close_batch(connection: Connection, place: Place, batch: str, stored: Mapping[str, int]) -> None:
    """Note the tasks (key -> id) that a batch made, and end its journal entry."""
    note_tasks(connection, place, stored)
    connection.execute(delete(batches).where(*place.where(batches), batches.c.batch == batch))


def note_tasks(connection: Connection, place: Place, stored: Mapping[str, int]) -> None:
    """Note tasks by key; what was collected of those that are known already still holds."""
    rows = [place.row(key=key, task_id=task, state="live", archived=False) for key, task in stored.items()]
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(tasks)
    new = statement.excluded
    same = tasks.c.task_id == new.task_id
    changes = {
        "task_id": new.task_id,
        "state": new.state,
        "seen_at": case((same, tasks.c.seen_at)),
        "archived": case((same, tasks.c.archived), else_=new.archived),
    }
    statement = statement.on_conflict_do_update(index_elements=["recipe", "server", "key"], set_=changes)
    for start in range(0, len(rows), _CHUNK):
        connection.execute(statement, rows[start : start + _CHUNK])


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


def count_tasks(connection: Connection, place: Place, state: str = "live") -> int:
    """How many tasks are there."""
    return tally(connection, tasks, place.recipe, place.server).get(state, 0)


def count_unfinished(connection: Connection, place: Place, need: int) -> int:
    """Live tasks that wait for annotators: fewer answers than are needed, or sent back; none archived."""
    table = annotation_table
    enough = (
        select(table.c.task_id)
        .where(*place.where(table), table.c.cancelled.is_(False))
        .group_by(table.c.task_id)
        .having(func.count(func.distinct(table.c.annotator)) >= need)
    )
    again = select(reopened.c.task_id).where(*place.where(reopened), reopened.c.state.in_(["asked", "open"]))
    waits = or_(tasks.c.task_id.not_in(enough), tasks.c.task_id.in_(again))
    live = (*place.where(tasks), tasks.c.state == "live", tasks.c.archived.is_(False))
    return int(connection.execute(select(func.count()).where(*live, waits)).scalar_one())


def keys_to_push(connection: Connection, place: Place) -> Iterator[str]:
    """Keys of the items that should get a task: they have none, had none, and no label is known already."""
    return _keys(connection, place, or_(items.c.label_use.is_(None), items.c.label_use != "imported"))


def keys_with_answer(connection: Connection, place: Place) -> Iterator[str]:
    """Keys of the items that annotators have, or whose label is known already."""
    asked = select(tasks.c.key).where(*place.where(tasks), tasks.c.state == "live")
    current = (items.c.recipe == place.recipe, items.c.state == "current")
    known = or_(items.c.key.in_(asked), items.c.label_use == "imported")
    return iter(connection.execute(select(items.c.key).where(*current, known)).scalars())


def keys_without_task(connection: Connection, place: Place) -> Iterator[str]:
    """Keys of the items that have no task and had none, whatever is known of their labels."""
    return _keys(connection, place)


def _keys(connection: Connection, place: Place, *conditions: Any) -> Iterator[str]:
    known = select(tasks.c.key).where(*place.where(tasks))
    current = (items.c.recipe == place.recipe, items.c.state == "current")
    query = select(items.c.key).where(*current, items.c.key.not_in(known), *conditions)
    return iter(connection.execution_options(yield_per=_CHUNK).execute(query).scalars())


def tasks_to_move(connection: Connection, place: Place) -> list[tuple[str, int, bool]]:
    """Key, task id and whether to archive, of live tasks that are not where their item is."""
    superseded = items.c.state == "superseded"
    of_item = and_(items.c.recipe == tasks.c.recipe, items.c.key == tasks.c.key)
    query = (
        select(tasks.c.key, tasks.c.task_id, superseded.label("away"))
        .join(items, of_item)
        .where(*place.where(tasks), tasks.c.state == "live")
        .where(or_(and_(superseded, tasks.c.archived.is_(False)),
                   and_(items.c.state == "current", tasks.c.archived.is_(True))))
        .order_by(tasks.c.task_id)
    )  # fmt: skip
    return [(row.key, row.task_id, bool(row.away)) for row in connection.execute(query)]


def mark_archived(connection: Connection, place: Place, key: str, *, archived: bool) -> None:
    """Note where a task is."""
    mine = (*place.where(tasks), tasks.c.key == key)
    connection.execute(update(tasks).where(*mine).values(archived=archived))


def write_push_books(
    connection: Connection,
    place: Place,
    enough: str | None = None,
    doubles: Mapping[str, str] = MappingProxyType({}),
) -> Balance:
    """The books of a push, one line per item, from the tasks that are noted; in the caller's transaction.

    Args:
        connection: inside that transaction.
        place: recipe and server.
        enough: why no more was sent; None where that is for the tasks that are open.
        doubles: keys of items that were not sent, as near-duplicates -> of which one.
    """
    here = and_(tasks.c.key == items.c.key, *place.where(tasks))
    current = (items.c.recipe == place.recipe, items.c.state == "current")
    imported = items.c.label_use == "imported"
    outcome = case(
        (tasks.c.state == "live", "pushed"), (tasks.c.state == "deleted", "skipped"), (imported, "skipped"),
        else_="waiting",
    )  # fmt: skip
    reason = case(
        (tasks.c.state == "live", ""),
        (tasks.c.state == "deleted", "its task was deleted in Label Studio"),
        (imported, "its label was imported"),
        else_=enough or "enough tasks are open (labeling.select.batch)",
    )
    lines = select(items.c.key.label("subject"), outcome.label("outcome"), reason.label("reason"))
    total = int(connection.execute(select(func.count()).where(*current)).scalar_one())
    lines = lines.select_from(items).outerjoin(tasks, here).where(*current)
    books = replace_books(connection, place.recipe, "push", total, lines)
    if not doubles:
        return books
    told = (
        Outcome(subject=key, outcome="skipped", reason=f"a near-duplicate of {twin}")
        for key, twin in doubles.items()
    )
    return amend_books(connection, place.recipe, "push", total, told, ())


def note_annotations(connection: Connection, place: Place, found: Iterable[Annotation]) -> None:
    """Note annotations, in place of what was known of them."""
    upsert(connection, annotation_table, [_row(place, annotation) for annotation in found])


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
        ground_truth=row.ground_truth,
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
        ground_truth=annotation.ground_truth,
    )
