"""The catalog's first shape.

Written out rather than taken from `tables.py`: a migration must not change when the tables do.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _text(name: str, *, optional: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=optional)


def upgrade() -> None:
    """Create every table."""
    _create_content()
    _create_server_side()
    _create_books()


def _create_content() -> None:
    op.create_table(
        "addresses",
        *(_text(name) for name in ("recipe", "uri", "key", "source")),
        sa.PrimaryKeyConstraint("recipe", "uri"),
    )
    op.create_table(
        "items",
        *(_text(name) for name in ("recipe", "key", "modality", "uri", "grouping", "source")),
        sa.Column("metadata", sa.JSON, nullable=False),
        _text("text", optional=True),
        _text("media_type"),
        sa.Column("width", sa.Integer),
        sa.Column("height", sa.Integer),
        sa.Column("label", sa.JSON),
        _text("label_use", optional=True),
        _text("state"),
        sa.PrimaryKeyConstraint("recipe", "key"),
    )


def _create_server_side() -> None:
    op.create_table(
        "projects",
        *(_text(name) for name in ("recipe", "server")),
        sa.Column("project_id", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("recipe", "server"),
    )
    op.create_table(
        "batches",
        *(_text(name) for name in ("recipe", "server", "batch")),
        sa.Column("keys", sa.JSON, nullable=False),
        _text("state"),
        sa.PrimaryKeyConstraint("recipe", "server", "batch"),
    )
    op.create_table(
        "tasks",
        *(_text(name) for name in ("recipe", "server", "key")),
        sa.Column("task_id", sa.Integer, nullable=False),
        _text("state"),
        sa.PrimaryKeyConstraint("recipe", "server", "key"),
    )
    op.create_index("tasks_by_id", "tasks", ["recipe", "server", "task_id"], unique=True)
    op.create_table(
        "annotations",
        *(_text(name) for name in ("recipe", "server")),
        sa.Column("annotation_id", sa.Integer, nullable=False),
        sa.Column("task_id", sa.Integer, nullable=False),
        *(_text(name) for name in ("key", "annotator")),
        sa.Column("results", sa.JSON, nullable=False),
        sa.Column("cancelled", sa.Boolean, nullable=False),
        *(_text(name) for name in ("created_at", "updated_at")),
        sa.Column("lead_time", sa.Float),
        _text("shown_model", optional=True),
        sa.PrimaryKeyConstraint("recipe", "server", "annotation_id"),
    )
    op.create_table(
        "predictions",
        *(_text(name) for name in ("recipe", "server")),
        sa.Column("task_id", sa.Integer, nullable=False),
        _text("model"),
        sa.PrimaryKeyConstraint("recipe", "server", "task_id", "model"),
    )


def _create_books() -> None:
    op.create_table(
        "ledger",
        *(_text(name) for name in ("recipe", "stage", "subject", "outcome", "reason")),
        sa.PrimaryKeyConstraint("recipe", "stage", "subject"),
    )
    op.create_table(
        "stages",
        *(_text(name) for name in ("recipe", "stage", "inputs")),
        sa.Column("result", sa.JSON, nullable=False),
        _text("finished_at"),
        sa.PrimaryKeyConstraint("recipe", "stage"),
    )
