"""What was collected of a task, and when, so that the next collection fetches only what has changed since."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the columns and what finds them; all tasks are collected once more, as nothing is known of when."""
    op.add_column("tasks", sa.Column("seen_at", sa.Text))
    op.add_column("tasks", sa.Column("archived", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_index("tasks_by_state", "tasks", ["recipe", "server", "state", "archived"])
    op.add_column(
        "annotations", sa.Column("ground_truth", sa.Boolean, nullable=False, server_default=sa.false())
    )
    op.create_index("annotations_by_task", "annotations", ["recipe", "server", "task_id"])
    of_tasks = sa.text("stage = 'collect'")
    op.create_index(
        "ledger_of_tasks", "ledger", ["recipe", "outcome"], sqlite_where=of_tasks, postgresql_where=of_tasks
    )
    op.execute("DELETE FROM stages WHERE stage = 'collect'")
