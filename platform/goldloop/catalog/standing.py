"""What becomes of each address, told by the database from all that is found: for a pull and for a plan.

Addresses of the same content are ranked by source, by their number in it and by address: the first is
`pulled`, the others are `duplicate`. So which one an item is named after depends on what is there alone, and
not on the order in which pulls found it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    FromClause,
    Index,
    MetaData,
    Table,
    Text,
    and_,
    case,
    cast,
    collate,
    func,
    insert,
    literal,
    null,
    select,
    update,
)

_metadata = MetaData()

standing = Table(
    "standing",
    _metadata,
    Column("source", Text, nullable=False),
    Column("uri", Text, nullable=False),
    Column("key", Text),
    Column("place", BigInteger, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("label", JSON(none_as_null=True)),
    Column("disputed", Boolean, nullable=False),
    Index("standing_by_key", "key", "place"),
    prefixes=["TEMPORARY"],
)
"""One row for each address. `place`: 1 for the first of its content, 0 where it cannot be used; `disputed`:
its content has another label at another address, so that none is believed."""


def stand(connection: Connection, found: FromClause, sources: Sequence[str]) -> None:
    """Fill `standing`, a table of this connection alone.

    Args:
        connection: where.
        found: columns as `addresses` has them, of one recipe.
        sources: the recipe's sources in their order.
    """
    leave(connection)
    _metadata.create_all(connection)
    columns = ["source", "uri", "key", "place", "outcome", "reason", "label", "disputed"]
    rank = func.row_number().over(
        partition_by=found.c.key,
        order_by=(_order(found.c.source, sources), found.c.number, _bytewise(connection, found.c.uri)),
    )
    usable = select(
        found.c.source, found.c.uri, found.c.key, rank, literal("pulled"), found.c.reason, found.c.label,
        literal(False),
    ).where(found.c.key.is_not(None))  # fmt: skip
    refused = select(
        found.c.source, found.c.uri, null(), literal(0), found.c.outcome, found.c.reason, null(),
        literal(False),
    ).where(found.c.key.is_(None))  # fmt: skip
    connection.execute(insert(standing).from_select(columns, usable))
    connection.execute(insert(standing).from_select(columns, refused))
    _tell_duplicates(connection)


def leave(connection: Connection) -> None:
    """Drop the table."""
    _metadata.drop_all(connection)


def text_of(column: Any) -> Any:
    """A JSON column's text, to compare it by."""
    return cast(column, Text)


def _order(source: Any, sources: Sequence[str]) -> Any:
    return case({name: number for number, name in enumerate(sources)}, value=source, else_=len(sources))


def _bytewise(connection: Connection, column: Any) -> Any:
    # SQLite compares bytes by itself; PostgreSQL as its own locale does.
    return collate(column, "C") if connection.dialect.name == "postgresql" else column


def _tell_duplicates(connection: Connection) -> None:
    first, later = standing.alias("first"), standing.alias("later")
    same_key = and_(first.c.key == standing.c.key, first.c.place == 1)
    differs = and_(
        standing.c.label.is_not(None),
        first.c.label.is_not(None),
        text_of(standing.c.label) != text_of(first.c.label),
    )
    reason = case(
        (differs, ", where the label is " + text_of(first.c.label) + " and not "
         + text_of(standing.c.label) + ": neither is used"),
        (
            and_(standing.c.label.is_not(None), first.c.label.is_(None)),
            "; its label " + text_of(standing.c.label) + " is not used, as the first address has none",
        ),
        else_="",
    )  # fmt: skip
    connection.execute(
        update(standing)
        .where(standing.c.place > 1, same_key)
        .values(
            outcome="duplicate",
            reason="the same content as " + first.c.uri + reason,
            disputed=differs,
        )
    )
    disputed = select(later.c.key).where(later.c.place > 1, later.c.disputed)
    connection.execute(
        update(standing).where(standing.c.place == 1, standing.c.key.in_(disputed)).values(disputed=True)
    )
