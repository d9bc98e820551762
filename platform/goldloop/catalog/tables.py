"""The catalog's tables. Rows belong to one recipe each, by name; migrations/ brings a database here.

addresses   what each source holds           items        the content itself, once
parts       files of many addresses          arrivals     what a pull underway has found so far
                                             arrived      the parts that it has gone through
tasks       items on an annotation server    batches      the journal of imports to that server
annotations what came back                   predictions  pre-annotations that went out
reopened    items sent back to annotators, since their label was in doubt
suggestions what models said of items, seen by annotators or not
ledger      one outcome per item and stage   stages       what each stage last did, and from what
projects    the server projects that are ours     audit_heads  where each workspace's audit log ends
forgotten   content that was erased, and stays out    tallies   how many tasks, annotations and outcomes
"""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    false,
    text,
)

metadata = MetaData()


def _text(name: str, *, optional: bool = False) -> Column[str]:
    return Column(name, Text, nullable=optional)


def _sighting() -> list[Column[Any]]:
    """What a source says at one address."""
    return [
        _text("source"),
        _text("uri"),
        Column("number", BigInteger, nullable=False),
        _text("part", optional=True),
        _text("mark", optional=True),
        _text("key", optional=True),
        _text("outcome"),
        _text("reason"),
        _text("grouping", optional=True),
        Column("metadata", JSON(none_as_null=True)),
        Column("label", JSON(none_as_null=True)),
        _text("label_use", optional=True),
    ]


addresses = Table(
    "addresses",
    metadata,
    _text("recipe"),
    *_sighting(),
    PrimaryKeyConstraint("recipe", "source", "uri"),
)
"""Of content that cannot be used `key` is null, and `outcome` and `reason` say why; `grouping` is null where
it is the key; `part` is null where the address is a part by itself."""

parts = Table(
    "parts",
    metadata,
    *(_text(name) for name in ("recipe", "source", "part", "mark")),
    PrimaryKeyConstraint("recipe", "source", "part"),
)

arrivals = Table(
    "arrivals",
    metadata,
    _text("recipe"),
    Column("attempt", Integer, nullable=False),
    *_sighting(),
    Column("kept", Boolean, nullable=False),
    _text("modality", optional=True),
    _text("text", optional=True),
    _text("media_type", optional=True),
    Column("width", Integer),
    Column("height", Integer),
    PrimaryKeyConstraint("recipe", "attempt", "source", "uri"),
)
"""`kept`: as in `addresses`, and not read again."""

arrived = Table(
    "arrived",
    metadata,
    _text("recipe"),
    Column("attempt", Integer, nullable=False),
    *(_text(name) for name in ("source", "part", "mark")),
    Column("kept", Boolean, nullable=False),
    Column("rows_of", Integer, nullable=False),
    PrimaryKeyConstraint("recipe", "attempt", "source", "part"),
)
"""`rows_of`: the attempt whose arrivals are its addresses, 0 where they are kept."""

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

_UNSEEN = text("state = 'live' AND seen_at IS NULL")

tasks = Table(
    "tasks",
    metadata,
    _text("recipe"),
    _text("server"),
    _text("key"),
    Column("task_id", Integer, nullable=False),
    _text("state"),
    _text("seen_at", optional=True),
    Column("archived", Boolean, nullable=False, server_default=false()),
    PrimaryKeyConstraint("recipe", "server", "key"),
    Index("tasks_by_id", "recipe", "server", "task_id", unique=True),
    Index("tasks_by_state", "recipe", "server", "state", "archived"),
    Index("tasks_unseen", "recipe", "server", "state", sqlite_where=_UNSEEN, postgresql_where=_UNSEEN),
)
"""`seen_at`: the server's time of the task's last change that was collected; null before any was."""

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
    Column("ground_truth", Boolean, nullable=False, server_default=false()),
    PrimaryKeyConstraint("recipe", "server", "annotation_id"),
    Index("annotations_by_task", "recipe", "server", "task_id"),
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

suggestions = Table(
    "suggestions",
    metadata,
    *(_text(name) for name in ("recipe", "key", "model")),
    Column("target", JSON, nullable=False),
    Column("shown", Boolean, nullable=False),
    _text("made_at"),
    PrimaryKeyConstraint("recipe", "key", "model"),
)
"""`shown`: on the annotation server; else kept here alone, to see what people say without it."""

ledger = Table(
    "ledger",
    metadata,
    _text("recipe"),
    _text("stage"),
    _text("subject"),
    _text("outcome"),
    _text("reason"),
    PrimaryKeyConstraint("recipe", "stage", "subject"),
    Index(
        "ledger_of_tasks",
        "recipe",
        "outcome",
        "stage",
        postgresql_where=text("stage = 'collect'"),
    ).ddl_if(dialect="postgresql"),
)
"""PostgreSQL counts the outcomes of all tasks by an index of its own."""

tallies = Table(
    "tallies",
    metadata,
    *(_text(name) for name in ("recipe", "counted", "place", "state")),
    Column("number", Integer, nullable=False),
    PrimaryKeyConstraint("recipe", "counted", "place", "state"),
)
"""How many rows of a table there are: kept by triggers on SQLite, a view of the counts on PostgreSQL.

`counted`: `tasks`, `annotations` or `ledger`; `place`: their server, or stage; `state`: of tasks, the outcome
of lines, empty for annotations.
"""

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
