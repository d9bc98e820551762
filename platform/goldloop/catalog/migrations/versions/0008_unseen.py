"""What no collection has seen is found without looking through all tasks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the index."""
    unseen = sa.text("state = 'live' AND seen_at IS NULL")
    op.create_index(
        "tasks_unseen", "tasks", ["recipe", "server"], sqlite_where=unseen, postgresql_where=unseen
    )
