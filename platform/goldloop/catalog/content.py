"""Items as they stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Table, select
from sqlalchemy.dialects import postgresql, sqlite

from goldloop.catalog.tables import addresses, items
from goldloop.records import Item

_PAGE = 500


def upsert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, or overwrite those with the same primary key."""
    if not rows:
        return
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table)
    key = [column.name for column in table.primary_key]
    changes = {column.name: statement.excluded[column.name] for column in table.c if column.name not in key}
    statement = (
        statement.on_conflict_do_update(index_elements=key, set_=changes)
        if changes
        else statement.on_conflict_do_nothing(index_elements=key)
    )
    connection.execute(statement, list(rows))


def items_of(
    connection: Connection, recipe: str, states: tuple[str, ...] = ("current",), keys: set[str] | None = None
) -> Iterator[Item]:
    """A recipe's items in the order of their keys.

    Args:
        connection: the catalog.
        recipe: the recipe's name.
        states: which of `current`, `gone`, `superseded`.
        keys: only these, a few hundred at most.
    """
    query = select(items).where(items.c.recipe == recipe, items.c.state.in_(states)).order_by(items.c.key)
    for row in connection.execute(query):
        if keys is None or row.key in keys:
            yield item_of(row)


def item_with(connection: Connection, recipe: str, key: str) -> Item | None:
    """One item, whatever its state; None where it is not known, or was forgotten."""
    row = connection.execute(select(items).where(items.c.recipe == recipe, items.c.key == key)).first()
    return None if row is None else item_of(row)


def addresses_of(connection: Connection, recipe: str, key: str) -> dict[str, str | None]:
    """Where an item's content was found -> the mark that the file had there; None where it had none."""
    query = select(addresses.c.uri, addresses.c.mark).where(
        addresses.c.recipe == recipe, addresses.c.key == key
    )
    return {row.uri: row.mark for row in connection.execute(query.order_by(addresses.c.uri))}


def stream_items(engine: Engine, recipe: str, keys: Sequence[str]) -> Iterator[Item]:
    """Current items in the order of these keys, a few hundred in memory at a time."""
    for start in range(0, len(keys), _PAGE):
        page = keys[start : start + _PAGE]
        query = select(items).where(
            items.c.recipe == recipe, items.c.state == "current", items.c.key.in_(page)
        )
        with engine.connect() as connection:
            found = {row.key: item_of(row) for row in connection.execute(query)}
        yield from (found[key] for key in page)


def item_states(connection: Connection, recipe: str) -> dict[str, str]:
    """Key -> `current`, `gone` or `superseded`, of every item ever seen."""
    rows = connection.execute(select(items.c.key, items.c.state).where(items.c.recipe == recipe))
    return {row.key: row.state for row in rows}


def item_of(row: Any) -> Item:
    """An item from a row of its table."""
    return Item(
        key=row.key,
        modality=row.modality,
        uri=row.uri,
        group=row.grouping,
        source=row.source,
        metadata=row.metadata,
        text=row.text,
        media_type=row.media_type,
        width=row.width,
        height=row.height,
        label=row.label,
        label_use=row.label_use,
    )
