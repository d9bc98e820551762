"""Tombstones: the keys of contents that were erased, why, and in which workspaces they are gone.

A content that is asked to be forgotten in one workspace is taken in by none that shares the catalog. The
key, the SHA-256 of the content, is all that is kept of it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, select, update

from goldloop.catalog.content import upsert
from goldloop.catalog.tables import forgotten


@dataclass(frozen=True, slots=True)
class Tombstone:
    """One content that was asked to be forgotten, in one workspace.

    Attributes:
        key: its SHA-256.
        workspace: the workspace's identity.
        asked_at: ISO 8601, UTC; when first.
        actor: who asked.
        reason: why, in the actor's words.
        gone_at: when nothing was left of it; None while something is.
    """

    key: str
    workspace: str
    asked_at: str
    actor: str
    reason: str
    gone_at: str | None = None

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def keys(connection: Connection) -> frozenset[str]:
    """All that no pull may take in again."""
    return frozenset(connection.execute(select(forgotten.c.key).distinct()).scalars())


def tombstones(connection: Connection) -> list[Tombstone]:
    """Everything that was ever asked to be forgotten, in the order in which it was asked."""
    order = (forgotten.c.asked_at, forgotten.c.key, forgotten.c.workspace)
    rows = connection.execute(select(forgotten).order_by(*order))
    return [Tombstone(**row._mapping) for row in rows]


def ask(connection: Connection, key: str, workspace: str, actor: str, reason: str) -> None:
    """Note that a content is to be forgotten here; what was asked before stays as it was."""
    known = select(forgotten.c.key).where(forgotten.c.key == key, forgotten.c.workspace == workspace)
    if connection.execute(known).first() is None:
        stone = Tombstone(key, workspace, asked_at=_now(), actor=actor, reason=reason)
        upsert(connection, forgotten, [stone.facts()])


def gone(connection: Connection, key: str, workspace: str) -> None:
    """Note that nothing is left of it here."""
    chosen = update(forgotten).where(forgotten.c.key == key, forgotten.c.workspace == workspace)
    connection.execute(chosen.where(forgotten.c.gone_at.is_(None)).values(gone_at=_now()))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
