"""The catalog's tables. Rows belong to one recipe each, by name; migrations/ brings a database here.

addresses   where content was seen           items        the content itself, once
tasks       items on an annotation server    batches      the journal of imports to that server
annotations what came back                   predictions  pre-annotations that went out
reopened    items sent back to annotators, since their label was in doubt
ledger      one outcome per item and stage   stages       what each stage last did, and from what
projects    the server projects that are ours     audit_heads  where each workspace's audit log ends
forgotten   content that was erased, and stays out
"""

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
)

metadata = MetaData()


def _text(name: str, *, optional: bool = False) -> Column[str]:
    return Column(name, Text, nullable=optional)


addresses = Table(
    "addresses",
    metadata,
    _text("recipe"),
    _text("uri"),
    _text("key"),
    _text("source"),
    PrimaryKeyConstraint("recipe", "uri"),
)

items = Table(
    "items",
    metadata,
    _text("recipe"),
    _text("key"),
    _text("modality"),
    _text("uri"),
    _text("grouping"),
    _text("source"),
    Column("metadata", JSON, nullable=False),
    _text("text", optional=True),
    _text("media_type"),
    Column("width", Integer),
    Column("height", Integer),
    Column("label", JSON),
    _text("label_use", optional=True),
    _text("state"),
    PrimaryKeyConstraint("recipe", "key"),
)

projects = Table(
    "projects",
    metadata,
    _text("recipe"),
    _text("server"),
    Column("project_id", Integer, nullable=False),
    PrimaryKeyConstraint("recipe", "server"),
)

batches = Table(
    "batches",
    metadata,
    _text("recipe"),
    _text("server"),
    _text("batch"),
    Column("keys", JSON, nullable=False),
    _text("state"),
    PrimaryKeyConstraint("recipe", "server", "batch"),
)

tasks = Table(
    "tasks",
    metadata,
    _text("recipe"),
    _text("server"),
    _text("key"),
    Column("task_id", Integer, nullable=False),
    _text("state"),
    PrimaryKeyConstraint("recipe", "server", "key"),
    Index("tasks_by_id", "recipe", "server", "task_id", unique=True),
)

annotations = Table(
    "annotations",
    metadata,
    _text("recipe"),
    _text("server"),
    Column("annotation_id", Integer, nullable=False),
    Column("task_id", Integer, nullable=False),
    _text("key"),
    _text("annotator"),
    Column("results", JSON, nullable=False),
    Column("cancelled", Boolean, nullable=False),
    _text("created_at"),
    _text("updated_at"),
    Column("lead_time", Float),
    _text("shown_model", optional=True),
    PrimaryKeyConstraint("recipe", "server", "annotation_id"),
)

predictions = Table(
    "predictions",
    metadata,
    _text("recipe"),
    _text("server"),
    Column("task_id", Integer, nullable=False),
    _text("model"),
    PrimaryKeyConstraint("recipe", "server", "task_id", "model"),
)

reopened = Table(
    "reopened",
    metadata,
    _text("recipe"),
    _text("server"),
    _text("key"),
    Column("task_id", Integer, nullable=False),
    _text("reason"),
    Column("given", JSON, nullable=False),
    Column("known", JSON, nullable=False),
    _text("shown_model", optional=True),
    Column("answers", Integer, nullable=False),
    _text("state"),
    _text("asked_at"),
    PrimaryKeyConstraint("recipe", "server", "key"),
)

ledger = Table(
    "ledger",
    metadata,
    _text("recipe"),
    _text("stage"),
    _text("subject"),
    _text("outcome"),
    _text("reason"),
    PrimaryKeyConstraint("recipe", "stage", "subject"),
)

stages = Table(
    "stages",
    metadata,
    _text("recipe"),
    _text("stage"),
    _text("inputs"),
    Column("result", JSON, nullable=False),
    _text("finished_at"),
    PrimaryKeyConstraint("recipe", "stage"),
)

audit_heads = Table(
    "audit_heads",
    metadata,
    _text("workspace"),
    Column("number", Integer, nullable=False),
    _text("hash"),
    PrimaryKeyConstraint("workspace"),
)

forgotten = Table(
    "forgotten",
    metadata,
    _text("key"),
    _text("workspace"),
    _text("asked_at"),
    _text("actor"),
    _text("reason"),
    _text("gone_at", optional=True),
    PrimaryKeyConstraint("key", "workspace"),
)
