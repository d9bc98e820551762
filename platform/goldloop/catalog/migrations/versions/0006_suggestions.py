"""What models suggested about items, whether annotators saw it or not."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0004"


def upgrade() -> None:
    """Create their table."""
    op.create_table(
        "suggestions",
        *(sa.Column(name, sa.Text, nullable=False) for name in ("recipe", "key", "model")),
        sa.Column("target", sa.JSON, nullable=False),
        sa.Column("shown", sa.Boolean, nullable=False),
        sa.Column("made_at", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("recipe", "key", "model"),
    )
