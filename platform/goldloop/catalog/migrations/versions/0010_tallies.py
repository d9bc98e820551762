"""How many tasks, annotations and lines of the books there are is known without counting them.

On SQLite, which counts by walking an index, triggers keep the numbers in the transaction that writes the
rows. PostgreSQL goes on counting, behind a view of the same columns: many rows written in one transaction
would leave it as many dead versions of one number.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

_COLUMNS = ("recipe", "counted", "place", "state")
_COUNTED = {
    "tasks": "{row}.recipe, CAST('tasks' AS TEXT), {row}.server, {row}.state",
    "annotations": "{row}.recipe, CAST('annotations' AS TEXT), {row}.server, CAST('' AS TEXT)",
    "ledger": "{row}.recipe, CAST('ledger' AS TEXT), {row}.stage, {row}.outcome",
}
"""Table -> the columns of the tally that a row belongs to."""
_COUNT = "SELECT {made}, count(*) FROM {table} AS made GROUP BY 1, 2, 3, 4"
_MORE = """
INSERT INTO tallies (recipe, counted, place, state, number) VALUES ({new}, 1)
ON CONFLICT (recipe, counted, place, state) DO UPDATE SET number = number + 1;
"""
_LESS = "UPDATE tallies SET number = number - 1 WHERE (recipe, counted, place, state) = ({old});"
_TRIGGERS = (
    "CREATE TRIGGER tally_{table}_insert AFTER INSERT ON {table} BEGIN {more} END",
    "CREATE TRIGGER tally_{table}_delete AFTER DELETE ON {table} BEGIN {less} END",
    "CREATE TRIGGER tally_{table}_update AFTER UPDATE ON {table} WHEN ({old}) IS NOT ({new}) "
    "BEGIN {less} {more} END",
)


def upgrade() -> None:
    """Make the table and its triggers, or the view."""
    counts = " UNION ALL ".join(
        _COUNT.format(table=table, made=of.format(row="made")) for table, of in _COUNTED.items()
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"CREATE VIEW tallies ({', '.join(_COLUMNS)}, number) AS {counts}")
        return
    op.create_table(
        "tallies",
        *(sa.Column(name, sa.Text, nullable=False) for name in _COLUMNS),
        sa.Column("number", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint(*_COLUMNS),
    )
    op.execute(f"INSERT INTO tallies {counts}")
    for table, of in _COUNTED.items():
        old, new = of.format(row="old"), of.format(row="new")
        more, less = _MORE.format(new=new), _LESS.format(old=old)
        for trigger in _TRIGGERS:
            op.execute(trigger.format(table=table, old=old, new=new, more=more, less=less))
    op.drop_index("ledger_of_tasks", "ledger")
