"""Items that are sent back to annotators."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create their table."""
    op.create_table(
        "reopened",
        *(sa.Column(name, sa.Text, nullable=False) for name in ("recipe", "server", "key")),
        sa.Column("task_id", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("given", sa.JSON, nullable=False),
        sa.Column("known", sa.JSON, nullable=False),
        sa.Column("shown_model", sa.Text),
        sa.Column("answers", sa.Integer, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("state", "asked_at")),
        sa.PrimaryKeyConstraint("recipe", "server", "key"),
    )
