"""What a pull finds is staged, and settled by the database: memory does not grow with the sources.

Addresses say what their source says there, so that those which have not changed need not be read again.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def _text(name: str, *, optional: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=optional)


def _sighting() -> list[sa.Column[Any]]:
    return [
        _text("source"),
        _text("uri"),
        sa.Column("number", sa.BigInteger, nullable=False),
        *(_text(name, optional=True) for name in ("part", "mark", "key")),
        *(_text(name) for name in ("outcome", "reason")),
        _text("grouping", optional=True),
        sa.Column("metadata", sa.JSON(none_as_null=True)),
        sa.Column("label", sa.JSON(none_as_null=True)),
        _text("label_use", optional=True),
    ]


def upgrade() -> None:
    """Make the new tables; of known addresses nothing is known but their content, so they are read again."""
    op.rename_table("addresses", "addresses_before")
    op.create_table(
        "addresses",
        _text("recipe"),
        *_sighting(),
        sa.PrimaryKeyConstraint("recipe", "source", "uri", name="addresses_key"),
    )
    op.execute(
        "INSERT INTO addresses (recipe, source, uri, number, key, outcome, reason, metadata)"
        " SELECT recipe, source, uri, 0, key, '', '', '{}' FROM addresses_before"
    )
    op.drop_table("addresses_before")
    op.create_table(
        "parts",
        *(_text(name) for name in ("recipe", "source", "part", "mark")),
        sa.PrimaryKeyConstraint("recipe", "source", "part"),
    )
    op.create_table(
        "arrivals",
        _text("recipe"),
        sa.Column("attempt", sa.Integer, nullable=False),
        *_sighting(),
        sa.Column("kept", sa.Boolean, nullable=False),
        *(_text(name, optional=True) for name in ("modality", "text", "media_type")),
        sa.Column("width", sa.Integer),
        sa.Column("height", sa.Integer),
        sa.PrimaryKeyConstraint("recipe", "attempt", "source", "uri"),
    )
    op.create_table(
        "arrived",
        _text("recipe"),
        sa.Column("attempt", sa.Integer, nullable=False),
        *(_text(name) for name in ("source", "part", "mark")),
        sa.Column("kept", sa.Boolean, nullable=False),
        sa.Column("rows_of", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("recipe", "attempt", "source", "part"),
    )
