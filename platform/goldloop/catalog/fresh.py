"""Which items have anything new about them since they were last settled, told without looking into it.

Of each item there is a mark, 64 bits of all that the catalog knows of it: what its source says, every act of
every annotator, why it was sent back. It is another one when any of that is. Rows are read as the database
has them; only those of items whose mark has changed need be made into items and annotations.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import JSON, Connection, Table, select

from goldloop.catalog.content import item_of
from goldloop.catalog.server_side import annotation_of
from goldloop.catalog.standing import text_of
from goldloop.catalog.tables import annotations as annotation_table
from goldloop.catalog.tables import items, reopened
from goldloop.records import Annotation, Item

_AT_ONCE = 20_000
"""Rows that are fetched, and keys that are asked for, at a time."""
_BITS = 2**64


@dataclass(frozen=True, slots=True)
class Marks:
    """What there is to settle.

    Attributes:
        of: key -> mark, of every item that a commit considers.
        sources: source -> how many of them it gives at present.
    """

    of: dict[str, int] = field(default_factory=dict)
    sources: Counter[str] = field(default_factory=Counter)


def marks(connection: Connection, recipe: str) -> Marks:
    """The marks of the items that a source has, and of those that one had and that people answered."""
    found = Marks()
    gone: dict[str, int] = {}
    for row in _rows(connection, items, recipe):
        if row.state == "current":
            found.of[row.key] = _mark(row)
            found.sources[row.source] += 1
        elif row.state == "gone":
            gone[row.key] = _mark(row)
    # Added up, as the acts on an item come in no order.
    for row in _rows(connection, annotation_table, recipe):
        before = found.of.get(row.key)
        before = gone.get(row.key) if before is None else before
        if before is not None:
            found.of[row.key] = (before + _mark(row)) % _BITS
    for row in _rows(connection, reopened, recipe):
        if row.key in found.of:
            found.of[row.key] = (found.of[row.key] + _mark(row)) % _BITS
    return found


def items_among(connection: Connection, recipe: str, keys: Collection[str]) -> Iterator[Item]:
    """The items that have these keys, however many those are."""
    for portion in _portions(keys):
        query = select(items).where(items.c.recipe == recipe, items.c.key.in_(portion))
        yield from (item_of(row) for row in connection.execute(query))


def acts_among(connection: Connection, recipe: str, keys: Collection[str]) -> Iterator[Annotation]:
    """What annotators did with the items that have these keys, on any server."""
    table = annotation_table
    for portion in _portions(keys):
        query = select(table).where(table.c.recipe == recipe, table.c.key.in_(portion))
        order = (table.c.key, table.c.created_at, table.c.server, table.c.annotation_id)
        yield from (annotation_of(row) for row in connection.execute(query.order_by(*order)))


def mates(connection: Connection, recipe: str, keys: Collection[str]) -> set[str]:
    """The keys of all items that the source has in one group with any of these."""
    here = items.c.recipe == recipe
    named = items.c.grouping != items.c.key
    groups: set[str] = set()
    for portion in _portions(keys):
        query = select(items.c.grouping).where(here, named, items.c.key.in_(portion))
        groups.update(connection.execute(query.distinct()).scalars())
    found: set[str] = set()
    for portion in _portions(groups):
        found.update(
            connection.execute(select(items.c.key).where(here, items.c.grouping.in_(portion))).scalars()
        )
    return found


def _rows(connection: Connection, table: Table, recipe: str) -> Iterator[Any]:
    """All rows of a recipe, JSON as the text that it is."""
    columns = [
        text_of(column).label(column.name) if isinstance(column.type, JSON) else column
        for column in table.c
        if column.name != "recipe"
    ]
    query = select(*columns).where(table.c.recipe == recipe)
    yield from connection.execute(query, execution_options={"yield_per": _AT_ONCE})


def _mark(row: Any) -> int:
    return int.from_bytes(hashlib.blake2b(repr(tuple(row)).encode(), digest_size=8).digest(), "big")


def _portions(keys: Collection[str]) -> Iterator[Sequence[str]]:
    ordered = sorted(keys)
    for start in range(0, len(ordered), _AT_ONCE):
        yield ordered[start : start + _AT_ONCE]
