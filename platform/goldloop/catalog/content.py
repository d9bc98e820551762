"""Items and the addresses where they were seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from goldloop.catalog.tables import addresses, items
from goldloop.records import Item

_CHUNK = 2_000


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


def replace_content(
    connection: Connection, recipe: str, found: Iterable[Item], seen: Mapping[str, tuple[str, str]]
) -> None:
    """Make the catalog say what a pull found, in the caller's transaction.

    An item that no address leads to any more stays, with its annotations: as `superseded` if one of its
    addresses now has other content, else as `gone`.

    Args:
        connection: inside the transaction.
        recipe: the recipe's name.
        found: each item once.
        seen: address -> (key, source), for every address with usable content.
    """
    before = {
        row.uri: row.key
        for row in connection.execute(
            select(addresses.c.uri, addresses.c.key).where(addresses.c.recipe == recipe)
        )
    }
    connection.execute(delete(addresses).where(addresses.c.recipe == recipe))
    rows = [
        {"recipe": recipe, "uri": uri, "key": key, "source": source} for uri, (key, source) in seen.items()
    ]
    for start in range(0, len(rows), _CHUNK):
        connection.execute(insert(addresses), rows[start : start + _CHUNK])
    chunk: list[Mapping[str, Any]] = []
    for item in found:
        chunk.append(_row(recipe, item))
        if len(chunk) == _CHUNK:
            upsert(connection, items, chunk)
            chunk = []
    upsert(connection, items, chunk)
    present = {key for key, _ in seen.values()}
    for uri, key in before.items():
        if key not in present:
            _retire(connection, recipe, key, "superseded" if uri in seen else "gone")


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
            yield _item(row)


def item_states(connection: Connection, recipe: str) -> dict[str, str]:
    """Key -> `current`, `gone` or `superseded`, of every item ever seen."""
    rows = connection.execute(select(items.c.key, items.c.state).where(items.c.recipe == recipe))
    return {row.key: row.state for row in rows}


def _retire(connection: Connection, recipe: str, key: str, state: str) -> None:
    statement = update(items).where(items.c.recipe == recipe, items.c.key == key)
    if state == "gone":
        statement = statement.where(items.c.state != "superseded")
    connection.execute(statement.values(state=state))


def _row(recipe: str, item: Item) -> dict[str, Any]:
    return {
        "recipe": recipe,
        "key": item.key,
        "modality": item.modality,
        "uri": item.uri,
        "grouping": item.group,
        "source": item.source,
        "metadata": dict(item.metadata),
        "text": item.text,
        "media_type": item.media_type,
        "width": item.width,
        "height": item.height,
        "label": item.label,
        "label_use": item.label_use,
        "state": "current",
    }


def _item(row: Any) -> Item:
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
