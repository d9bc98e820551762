"""SQLite took the index of tasks by state for the unseen ones too, and looked through all that are live."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Give the index of the unseen as many columns, so that it is the better one."""
    unseen = sa.text("state = 'live' AND seen_at IS NULL")
    op.drop_index("tasks_unseen", "tasks")
    op.create_index(
        "tasks_unseen", "tasks", ["recipe", "server", "state"], sqlite_where=unseen, postgresql_where=unseen
    )
