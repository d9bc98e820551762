"""What a collection brings, page by page: each is whole in the catalog, or not at all.

Of each task the catalog holds exactly the annotations that the server had when it was fetched, the server's
own time of its last change, and one line of the books. So a collection that is killed has done what it has
done, and the next goes on from its checkpoint.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import ColumnElement, Connection, bindparam, cast, delete, literal, select, update

from goldloop.catalog import stages
from goldloop.catalog.ledger import write_lines
from goldloop.catalog.server_side import Place, annotation_of, note_annotations
from goldloop.catalog.tables import annotations as annotation_table
from goldloop.catalog.tables import ledger, tasks
from goldloop.catalog.tallies import tally
from goldloop.records import Annotation, Outcome

COLLECTING = "collecting"
"""The stage that is there while a collection is underway."""
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a collection is.

    Attributes:
        project: which project of the server it is about.
        since: tasks that changed before this time of the server's are left out; None for none.
        until: the server's last change when it began: where the next one starts.
        after: tasks up to this id are done.
    """

    project: int
    since: str | None
    until: str | None
    after: int = 0


@dataclass(frozen=True, slots=True)
class Known:
    """What the catalog knows of a live task."""

    key: str
    seen_at: str | None
    archived: bool


def underway(connection: Connection, place: Place, project: int) -> Checkpoint | None:
    """Where a collection that was cut off stands; None if none was."""
    found = stages.finished(connection, place.recipe, COLLECTING, f"{place.server} {project}")
    return None if found is None else Checkpoint(**found)


def note(connection: Connection, place: Place, checkpoint: Checkpoint) -> None:
    """Note how far a collection is, once the catalog holds what it brought."""
    inputs = f"{place.server} {checkpoint.project}"
    stages.finish(connection, place.recipe, COLLECTING, inputs, asdict(checkpoint))


def end(connection: Connection, place: Place) -> None:
    """Note that none is underway, in the transaction that notes its result."""
    stages.forget(connection, place.recipe, COLLECTING)


def begin(connection: Connection, place: Place, checkpoint: Checkpoint) -> None:
    """Begin a collection; one of all tasks forgets when they were seen."""
    if checkpoint.since is None:
        connection.execute(update(tasks).where(*place.where(tasks)).values(seen_at=None))
    note(connection, place, checkpoint)


def known_tasks(connection: Connection, place: Place, task_ids: Collection[int]) -> dict[int, Known]:
    """Those of some tasks, a few hundred at most, that are live ones of ours."""
    # Asked for the state too, SQLite would walk its index of all live tasks instead of the one by id.
    rows = connection.execute(
        select(tasks.c.task_id, tasks.c.key, tasks.c.seen_at, tasks.c.archived, tasks.c.state).where(
            *place.where(tasks), tasks.c.task_id.in_(task_ids)
        )
    )
    return {row.task_id: Known(row.key, row.seen_at, row.archived) for row in rows if row.state == "live"}


def replace_annotations(
    connection: Connection,
    place: Place,
    seen: Mapping[int, str],
    found: Iterable[Annotation],
    outcomes: Iterable[Outcome],
) -> None:
    """Make the catalog hold exactly these annotations of some tasks, a few hundred at most.

    Args:
        connection: inside a transaction.
        place: recipe and server.
        seen: task id -> the server's time of its last change.
        found: all annotations of those tasks.
        outcomes: a line of the books for each of those tasks.
    """
    mine = (*place.where(annotation_table), annotation_table.c.task_id.in_(list(seen)))
    connection.execute(delete(annotation_table).where(*mine))
    note_annotations(connection, place, found)
    statement = (
        update(tasks)
        .where(*place.where(tasks), tasks.c.task_id == bindparam("of"))
        .values(seen_at=bindparam("at"))
    )
    connection.execute(statement, [{"of": task_id, "at": at} for task_id, at in seen.items()])
    write_lines(connection, place.recipe, "collect", outcomes)


def drop_deleted(connection: Connection, place: Place) -> None:
    """Drop lines and annotations of tasks that were deleted on the server."""
    deleted = select(tasks.c.task_id).where(*place.where(tasks), tasks.c.state == "deleted")
    gone = list(connection.execute(deleted).scalars())
    for start in range(0, len(gone), _PAGE):
        page = gone[start : start + _PAGE]
        mine = (*place.where(annotation_table), annotation_table.c.task_id.in_(page))
        connection.execute(delete(annotation_table).where(*mine))
        subjects = [str(task_id) for task_id in page]
        connection.execute(delete(ledger).where(*_lines(place), ledger.c.subject.in_(subjects)))


def drop_lines(connection: Connection, place: Place) -> None:
    """Drop all lines of the books, to write them anew."""
    connection.execute(delete(ledger).where(*_lines(place)))


def drop_strays(connection: Connection, place: Place) -> None:
    """Drop lines of subjects that are no live task, such as of content that was forgotten."""
    live = select(cast(tasks.c.task_id, ledger.c.subject.type)).where(
        *place.where(tasks), tasks.c.state == "live"
    )
    connection.execute(delete(ledger).where(*_lines(place), ledger.c.subject.not_in(live)))


def without_line(connection: Connection, place: Place, after: int) -> dict[int, Known]:
    """The next live tasks beyond an id that have no line in the books, a few hundred at most."""
    subject = cast(tasks.c.task_id, ledger.c.subject.type)
    has_line = select(ledger.c.subject).where(*_lines(place), ledger.c.subject == subject)
    rows = connection.execute(
        select(tasks.c.task_id, tasks.c.key, tasks.c.seen_at, tasks.c.archived)
        .where(*place.where(tasks), tasks.c.state == "live", tasks.c.task_id > after, ~has_line.exists())
        .order_by(tasks.c.task_id)
        .limit(_PAGE)
    )
    return {row.task_id: Known(row.key, row.seen_at, row.archived) for row in rows}


def annotations_of_tasks(
    connection: Connection, place: Place, task_ids: Sequence[int]
) -> Iterator[Annotation]:
    """What was collected of some tasks, a few hundred at most, by annotation id."""
    mine = (*place.where(annotation_table), annotation_table.c.task_id.in_(task_ids))
    for row in connection.execute(
        select(annotation_table).where(*mine).order_by(annotation_table.c.annotation_id)
    ):
        yield annotation_of(row)


def count_annotations(connection: Connection, place: Place) -> int:
    """How many annotations are held."""
    return sum(tally(connection, annotation_table, place.recipe, place.server).values())


def unseen(connection: Connection, place: Place) -> list[int]:
    """The first live tasks that no collection has seen."""
    # Written out, so that a database sees that its index of these alone is enough.
    live = tasks.c.state == literal("live", literal_execute=True)
    never = (*place.where(tasks), live, tasks.c.seen_at.is_(None))
    return list(connection.execute(select(tasks.c.task_id).where(*never).limit(5)).scalars())


def _lines(place: Place) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return (ledger.c.recipe == place.recipe, ledger.c.stage == "collect")
