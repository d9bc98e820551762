"""Arrivals -> the catalog's content and the books of the pull, by the database, in the caller's transaction.

An item that no address leads to any more stays, with its annotations: as `superseded` if one of its
addresses now has other content, else as `gone`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import (
    Connection,
    Select,
    and_,
    case,
    delete,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from goldloop.catalog import arrivals as staging
from goldloop.catalog import stages
from goldloop.catalog.ledger import Balance, replace_books
from goldloop.catalog.standing import leave, stand, standing, text_of
from goldloop.catalog.tables import addresses, arrivals, arrived, items, parts

_CONTENT = ("modality", "text", "media_type", "width", "height")
_SIGHTING = ("uri", "source", "grouping", "metadata", "label", "label_use")


def settle(
    connection: Connection,
    recipe: str,
    attempt: int,
    sources: Sequence[str],
    *,
    read: Collection[str],
    continued: Collection[str],
    total: int,
) -> Balance:
    """Make the catalog say what a pull found.

    Args:
        connection: inside the transaction.
        recipe: the recipe's name.
        attempt: whose arrivals.
        sources: all sources of the recipe, in their order.
        read: those that were read; the addresses of others stay as they are.
        continued: those of `read` that told only what is new: their other addresses stay too.
        total: how many addresses there are now, counted apart.

    Raises:
        LedgerError: an address has no outcome, or two.
    """
    _take_over_parts(connection, recipe, attempt)
    _supersede(connection, recipe, attempt)
    _replace_addresses(connection, recipe, attempt, sources, set(read), set(continued))
    found = select(addresses).where(addresses.c.recipe == recipe).subquery()
    stand(connection, found, sources)
    all_new = set(read) == set(sources) and not continued and not _has_kept(connection, recipe, attempt)
    _replace_items(connection, recipe, attempt, all_new=all_new)
    outcomes = select(
        (standing.c.source + " " + standing.c.uri).label("subject"), standing.c.outcome, standing.c.reason
    )
    books = replace_books(connection, recipe, "pull", total, outcomes)
    leave(connection)
    staging.clear(connection, recipe)
    stages.forget(connection, recipe, staging.PULLING)
    return books


def count_standing(connection: Connection, recipe: str, sources: Collection[str]) -> int:
    """How many addresses these sources have in the catalog."""
    count = select(func.count()).where(addresses.c.recipe == recipe, addresses.c.source.in_(list(sources)))
    return int(connection.execute(count).scalar_one())


def count_not_told(connection: Connection, recipe: str, attempt: int, source: str) -> int:
    """How many addresses of a source the catalog has that did not arrive."""
    told = select(arrivals.c.uri).where(
        arrivals.c.recipe == recipe, arrivals.c.attempt == attempt, arrivals.c.source == source
    )
    count = select(func.count()).where(
        addresses.c.recipe == recipe, addresses.c.source == source, addresses.c.uri.not_in(told)
    )
    return int(connection.execute(count).scalar_one())


def _take_over_parts(connection: Connection, recipe: str, attempt: int) -> None:
    """Let rows of parts that an earlier attempt went through count for this one."""
    former = arrived.c.rows_of < attempt
    mine = and_(arrived.c.recipe == recipe, arrived.c.attempt == attempt, arrived.c.kept.is_(False), former)
    if connection.execute(select(arrived.c.part).where(mine).limit(1)).first() is None:
        return
    same = and_(
        arrivals.c.recipe == recipe,
        arrivals.c.source == arrived.c.source,
        arrivals.c.part == arrived.c.part,
        arrivals.c.attempt == arrived.c.rows_of,
    )
    connection.execute(update(arrivals).where(mine, same).values(attempt=attempt))


def _staged(recipe: str, attempt: int, *, kept: bool) -> Any:
    columns = arrivals.c
    return and_(columns.recipe == recipe, columns.attempt == attempt, columns.kept.is_(kept))


def _supersede(connection: Connection, recipe: str, attempt: int) -> None:
    same_address = and_(
        arrivals.c.source == addresses.c.source,
        arrivals.c.uri == addresses.c.uri,
        _staged(recipe, attempt, kept=False),
    )
    changed = (
        select(addresses.c.key)
        .join(arrivals, same_address)
        .where(addresses.c.recipe == recipe, arrivals.c.key.is_not(None), arrivals.c.key != addresses.c.key)
    )
    current = and_(items.c.recipe == recipe, items.c.state == "current")
    connection.execute(update(items).where(current, items.c.key.in_(changed)).values(state="superseded"))


def _replace_addresses(
    connection: Connection,
    recipe: str,
    attempt: int,
    sources: Sequence[str],
    read: set[str],
    continued: set[str],
) -> None:
    for table in (addresses, parts):
        former = and_(table.c.recipe == recipe, table.c.source.not_in(list(sources)))
        connection.execute(delete(table).where(former))
    for source in read:
        _drop_addresses(connection, recipe, attempt, source, all_told=source not in continued)
    names = [column.name for column in addresses.c]
    connection.execute(
        insert(addresses).from_select(
            names, select(*(arrivals.c[name] for name in names)).where(_staged(recipe, attempt, kept=False))
        )
    )
    new = and_(arrived.c.recipe == recipe, arrived.c.attempt == attempt, arrived.c.kept.is_(False))
    names = [column.name for column in parts.c]
    connection.execute(
        insert(parts).from_select(names, select(*(arrived.c[name] for name in names)).where(new))
    )


def _drop_addresses(
    connection: Connection, recipe: str, attempt: int, source: str, *, all_told: bool
) -> None:
    """Take away those addresses of a source that arrived anew, or that it has no more."""
    here = and_(addresses.c.recipe == recipe, addresses.c.source == source)
    mine = and_(arrivals.c.recipe == recipe, arrivals.c.attempt == attempt, arrivals.c.source == source)
    if not all_told:
        told = select(arrivals.c.uri).where(mine, arrivals.c.kept.is_(False))
        connection.execute(delete(addresses).where(here, addresses.c.uri.in_(told)))
        return
    kept = select(arrivals.c.uri).where(mine, arrivals.c.kept)
    kept_parts = select(arrived.c.part).where(
        arrived.c.recipe == recipe,
        arrived.c.attempt == attempt,
        arrived.c.source == source,
        arrived.c.kept,
    )
    lost = or_(
        and_(addresses.c.part.is_(None), addresses.c.uri.not_in(kept)),
        and_(addresses.c.part.is_not(None), addresses.c.part.not_in(kept_parts)),
    )
    connection.execute(delete(addresses).where(here, lost))
    connection.execute(
        delete(parts).where(
            parts.c.recipe == recipe, parts.c.source == source, parts.c.part.not_in(kept_parts)
        )
    )


def _has_kept(connection: Connection, recipe: str, attempt: int) -> bool:
    """Whether any address is as it was."""
    return any(
        connection.execute(
            select(literal(1))
            .where(table.c.recipe == recipe, table.c.attempt == attempt, table.c.kept)
            .limit(1)
        ).first()
        for table in (arrivals, arrived)
    )


def _replace_items(connection: Connection, recipe: str, attempt: int, *, all_new: bool) -> None:
    """What the first address of each content says is what its item says."""
    first = and_(
        addresses.c.recipe == recipe,
        addresses.c.source == standing.c.source,
        addresses.c.uri == standing.c.uri,
        # Follows from the others, and lets the index of `standing` be used from either side.
        addresses.c.key == standing.c.key,
        standing.c.place == 1,
    )
    label = case((standing.c.disputed, null()), else_=addresses.c.label)
    use = case((standing.c.disputed, null()), else_=addresses.c.label_use)
    grouping = func.coalesce(addresses.c.grouping, addresses.c.key)
    said = [addresses.c.uri, addresses.c.source, grouping, addresses.c.metadata, label, use]
    head = [literal(recipe), addresses.c.key]
    staged = and_(
        _staged(recipe, attempt, kept=False),
        arrivals.c.source == addresses.c.source,
        arrivals.c.uri == addresses.c.uri,
    )
    fresh = (
        select(*head, *(arrivals.c[name] for name in _CONTENT), *said, literal("current"))
        .select_from(standing)
        .join(addresses, first)
        .join(arrivals, staged)
        .where(literal(True))
    )
    _write_items(connection, fresh)
    if not all_new:
        _rename_items(connection, recipe, first, head, said, label)
    present = select(standing.c.key).where(standing.c.place == 1)
    lost = and_(items.c.recipe == recipe, items.c.state == "current", items.c.key.not_in(present))
    connection.execute(update(items).where(lost).values(state="gone"))


def _rename_items(
    connection: Connection, recipe: str, first: Any, head: list[Any], said: list[Any], label: Any
) -> None:
    """Let items that were not read again say what the address says that is the first one now."""
    named_otherwise = or_(
        items.c.state != "current",
        items.c.uri != addresses.c.uri,
        items.c.source != addresses.c.source,
        text_of(items.c.label).is_distinct_from(text_of(label)),
    )
    known = (
        select(*head, *(items.c[name] for name in _CONTENT), *said, literal("current"))
        .select_from(standing)
        .join(addresses, first)
        .join(items, and_(items.c.recipe == recipe, items.c.key == addresses.c.key))
        .where(named_otherwise)
    )
    _write_items(connection, known)


def _write_items(connection: Connection, rows: Select[Any]) -> None:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    names = ["recipe", "key", *_CONTENT, *_SIGHTING, "state"]
    statement = dialect.insert(items).from_select(names, rows)
    changes = {name: statement.excluded[name] for name in names[2:]}
    connection.execute(statement.on_conflict_do_update(index_elements=["recipe", "key"], set_=changes))
