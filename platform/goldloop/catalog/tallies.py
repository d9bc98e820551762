"""How many rows there are, by their state; the database keeps the numbers itself (migrations/)."""

from __future__ import annotations

from sqlalchemy import Connection, Table, literal, select

from goldloop.catalog.tables import tallies


def tally(connection: Connection, table: Table, recipe: str, place: str) -> dict[str, int]:
    """State -> how many rows have it.

    Args:
        connection: the catalog.
        table: `tasks` by their state, `annotations`, which have one state, or `ledger` by outcome.
        recipe: the recipe's name.
        place: the server of tasks and annotations, or the stage of the books.
    """
    rows = connection.execute(
        select(tallies.c.state, tallies.c.number).where(
            tallies.c.recipe == recipe,
            # Written out, so that PostgreSQL sees of which table and stage it has an index.
            tallies.c.counted == literal(table.name, literal_execute=True),
            tallies.c.place == literal(place, literal_execute=True),
            tallies.c.number > 0,
        )
    )
    return {state: int(number) for state, number in rows}
