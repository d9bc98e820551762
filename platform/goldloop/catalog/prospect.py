"""What a pull would change, from arrivals that are staged beside the catalog, in tables of one connection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    and_,
    case,
    distinct,
    exists,
    func,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.schema import CreateTable

from goldloop.catalog.standing import stand, standing
from goldloop.catalog.tables import addresses, arrivals, arrived, items, tasks
from goldloop.catalog.tables import annotations as annotation_table

FOUND = (
    "new", "changed", "moved", "returned", "unchanged", "duplicate", "dropped", "quarantined", "forgotten",
)  # fmt: skip
"""What each address of the sources is: `new` content; `changed`: other content than before; `moved`: content
of an address that was, or still is, elsewhere; `returned`: content that was gone; and as in the ledger."""


@contextmanager
def beside(engine: Engine) -> Iterator[Connection]:
    """A connection whose staging tables are its own, in front of the catalog's; they go with it."""
    with engine.connect() as connection:
        # Given back to the pool it would hide the real tables from whoever gets it next.
        connection.detach()
        for table in (arrivals, arrived):
            statement = str(CreateTable(table).compile(engine))
            connection.exec_driver_sql(statement.replace("CREATE TABLE", "CREATE TEMPORARY TABLE", 1))
        connection.commit()
        yield connection


def prospect(
    connection: Connection,
    recipe: str,
    sources: Sequence[str],
    *,
    read: Collection[str],
    continued: Collection[str],
) -> None:
    """Find out what becomes of each address; to be asked for by the functions below.

    Args:
        connection: of `beside`, with what was found as arrivals of the first attempt.
        recipe: the recipe's name.
        sources: all of them, in their order.
        read: those that were read.
        continued: those of `read` that told only what is new.
    """
    stand(connection, _after(recipe, sources, set(read), set(continued)), sources)


def found(connection: Connection, recipe: str) -> dict[str, Counter[str]]:
    """Source -> how many of its addresses are what, of `FOUND`."""
    before = addresses.alias("before")
    had = select(addresses.c.key).where(addresses.c.recipe == recipe, addresses.c.key.is_not(None))
    lost = select(items.c.key).where(items.c.recipe == recipe, items.c.state != "current")
    what = case(
        (standing.c.outcome != "pulled", standing.c.outcome),
        (before.c.key == standing.c.key, "unchanged"),
        (before.c.key.is_not(None), "changed"),
        (standing.c.key.in_(had), "moved"),
        (standing.c.key.in_(lost), "returned"),
        else_="new",
    )
    query = (
        select(standing.c.source, what.label("what"), func.count())
        .select_from(standing)
        .outerjoin(before, _same_address(before, recipe))
        .group_by(standing.c.source, what)
    )
    counts: dict[str, Counter[str]] = {}
    for source, kind, count in connection.execute(query):
        counts.setdefault(source, Counter())[kind] = count
    return counts


def gone(connection: Connection, recipe: str) -> dict[str, tuple[int, int]]:
    """Source -> items that no address leads to any more, and how many of those somebody has annotated."""
    left = select(standing.c.key).where(standing.c.place == 1)
    annotated = select(annotation_table.c.key).where(annotation_table.c.recipe == recipe)
    lost = and_(items.c.recipe == recipe, items.c.state == "current", items.c.key.not_in(left))
    worked_on = case((items.c.key.in_(annotated), items.c.key), else_=null())
    query = select(items.c.source, func.count(), func.count(worked_on)).where(lost).group_by(items.c.source)
    return {source: (count, worked) for source, count, worked in connection.execute(query)}


def reasons(connection: Connection, outcome: str, limit: int) -> list[tuple[str, str]]:
    """The first addresses with an outcome, and why they have it."""
    query = (
        select(standing.c.source + " " + standing.c.uri, standing.c.reason)
        .where(standing.c.outcome == outcome)
        .order_by(standing.c.source, standing.c.uri)
        .limit(limit)
    )
    return [(subject, reason) for subject, reason in connection.execute(query)]


def tasks_to_make(connection: Connection, recipe: str) -> int:
    """How many items would have no task yet and whose label is not known already."""
    has_task = select(tasks.c.key).where(tasks.c.recipe == recipe)
    now = addresses.alias("now")
    staged = arrivals.alias("staged")
    use = func.coalesce(
        select(staged.c.label_use)
        .where(
            staged.c.recipe == recipe,
            staged.c.attempt == 1,
            staged.c.source == standing.c.source,
            staged.c.uri == standing.c.uri,
            staged.c.kept.is_(False),
        )
        .scalar_subquery(),
        select(now.c.label_use).where(_same_address(now, recipe)).scalar_subquery(),
    )
    imported = and_(use == "imported", standing.c.disputed.is_(False))
    query = select(func.count()).where(
        standing.c.place == 1, standing.c.key.not_in(has_task), or_(use.is_(None), ~imported)
    )
    return int(connection.execute(query).scalar_one())


def unfinished_tasks(connection: Connection, recipe: str, answers: int) -> int:
    """How many tasks have fewer answers than are needed, as far as was collected."""
    live = select(func.count()).where(tasks.c.recipe == recipe, tasks.c.state == "live")
    return int(connection.execute(live).scalar_one()) - finished_tasks(connection, recipe, answers)


def finished_tasks(connection: Connection, recipe: str, answers: int) -> int:
    """How many tasks have the answers that are needed, as far as was collected."""
    per_task = (
        select(annotation_table.c.task_id, annotation_table.c.server)
        .where(annotation_table.c.recipe == recipe, annotation_table.c.cancelled.is_(False))
        .group_by(annotation_table.c.server, annotation_table.c.task_id)
        .having(func.count() >= answers)
        .subquery()
    )
    return int(connection.execute(select(func.count()).select_from(per_task)).scalar_one())


def orphaned_tasks(connection: Connection, recipe: str) -> int:
    """How many items with a task there would be whose content is gone or superseded."""
    left = select(standing.c.key).where(standing.c.place == 1)
    query = select(func.count(distinct(tasks.c.key))).where(
        tasks.c.recipe == recipe, tasks.c.state == "live", tasks.c.key.not_in(left)
    )
    return int(connection.execute(query).scalar_one())


def _same_address(table: Any, recipe: str) -> Any:
    return and_(table.c.recipe == recipe, table.c.source == standing.c.source, table.c.uri == standing.c.uri)


def _after(recipe: str, sources: Sequence[str], read: set[str], continued: set[str]) -> Any:
    """The addresses as a pull would leave them."""
    names = [column.name for column in addresses.c]
    same_source = and_(
        arrivals.c.recipe == recipe, arrivals.c.attempt == 1, arrivals.c.source == addresses.c.source
    )
    staged = exists().where(same_source, arrivals.c.uri == addresses.c.uri)
    kept_part = exists().where(
        arrived.c.recipe == recipe,
        arrived.c.attempt == 1,
        arrived.c.source == addresses.c.source,
        arrived.c.part == addresses.c.part,
        arrived.c.kept,
    )
    stays = or_(
        addresses.c.source.in_(set(sources) - read),
        and_(addresses.c.source.in_(continued), ~staged.where(arrivals.c.kept.is_(False))),
        and_(
            addresses.c.source.in_(read - continued),
            or_(and_(addresses.c.part.is_(None), staged.where(arrivals.c.kept)), kept_part),
        ),
    )
    staying = select(*(addresses.c[name] for name in names)).where(addresses.c.recipe == recipe, stays)
    coming = select(*(arrivals.c[name] for name in names)).where(
        arrivals.c.recipe == recipe, arrivals.c.kept.is_(False)
    )
    return union_all(staying, coming).subquery()
