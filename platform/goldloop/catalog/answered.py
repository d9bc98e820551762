"""How many items have ever come, and which of them were answered."""

from __future__ import annotations

from sqlalchemy import Connection, Text, and_, cast, func, select

from goldloop.catalog.tables import items, ledger, tasks


def ever_came(connection: Connection, recipe: str) -> int:
    """How many contents a recipe's sources have ever had; those that were erased are not counted."""
    count = select(func.count()).where(items.c.recipe == recipe)
    return int(connection.execute(count).scalar_one())


def answered(connection: Connection, recipe: str) -> set[str]:
    """Keys of the items whose task had its answers at the last collection, or whose label was imported."""
    labelled = and_(
        ledger.c.recipe == recipe,
        ledger.c.stage == "collect",
        ledger.c.outcome == "labelled",
        ledger.c.subject == cast(tasks.c.task_id, Text),
    )
    told = select(tasks.c.key).join(ledger, labelled).where(tasks.c.recipe == recipe)
    imported = select(items.c.key).where(
        items.c.recipe == recipe, items.c.state == "current", items.c.label_use == "imported"
    )
    return {*connection.execute(told).scalars(), *connection.execute(imported).scalars()}


def without_use(connection: Connection, recipe: str) -> set[str]:
    """Keys of the items whose answers made no label at the last commit."""
    query = select(ledger.c.subject).where(
        ledger.c.recipe == recipe,
        ledger.c.stage == "commit",
        ledger.c.outcome.in_(("disputed", "rejected", "skipped", "forgotten")),
    )
    return set(connection.execute(query).scalars())
