"""What models said of items before people did, whether annotators saw it or not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, select

from goldloop.catalog.content import upsert
from goldloop.catalog.tables import suggestions
from goldloop.records import Suggestion

_CHUNK = 2_000


def note(connection: Connection, recipe: str, model: str, targets: Mapping[str, Any], *, shown: bool) -> None:
    """Note a model's answers by key, now; those that are noted already keep their time."""
    known = noted_keys(connection, recipe, model)
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    rows = [
        {"recipe": recipe, "key": key, "model": model, "target": target, "shown": shown, "made_at": now}
        for key, target in targets.items()
        if key not in known
    ]
    for start in range(0, len(rows), _CHUNK):
        upsert(connection, suggestions, rows[start : start + _CHUNK])


def noted_keys(connection: Connection, recipe: str, model: str) -> set[str]:
    """The items of which a model's answer is noted."""
    query = select(suggestions.c.key).where(suggestions.c.recipe == recipe, suggestions.c.model == model)
    return set(connection.execute(query).scalars())


def suggestions_of(connection: Connection, recipe: str) -> Iterable[Suggestion]:
    """All that were made about a recipe's items, by key and model."""
    query = select(suggestions).where(suggestions.c.recipe == recipe)
    for row in connection.execute(query.order_by(suggestions.c.key, suggestions.c.model)):
        yield Suggestion(
            key=row.key, model=row.model, target=row.target, shown=row.shown, made_at=row.made_at
        )
