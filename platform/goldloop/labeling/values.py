"""What goes to Label Studio and comes back from it, as goldloop sees it; all are frozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from goldloop.records import Annotation

Results = Sequence[Mapping[str, Any]]
"""Label Studio's `result` list: one mapping per choice, region or relation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """The server, and who the token makes us."""

    version: str
    user_id: int
    email: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project that goldloop made.

    Attributes:
        model_version: whose pre-annotations annotators are shown; None for none.
        address: where a browser opens it.
    """

    id: int
    title: str
    label_config: str
    model_version: str | None
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionData:
    """One pre-annotation to send; score in [0, 1], higher is surer."""

    results: Results
    model_version: str
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskData:
    """One task to create.

    Attributes:
        key: the item's content key; it travels in the task's data.
        data: the fields that the label config shows; `key` and `batch` are added.
        annotations: results of annotations to import with it.
        predictions: pre-annotations to import with it.
    """

    key: str
    data: Mapping[str, Any]
    annotations: Sequence[Results] = ()
    predictions: Sequence[PredictionData] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """The server's own count of a project; as long as two are equal, no annotation has changed.

    Creating, editing, skipping or deleting an annotation changes it; saving a draft does not.

    Attributes:
        annotations: those that are not skipped.
        latest_update: when any task was last written to (ISO 8601), None without tasks.
    """

    tasks: int
    annotations: int
    skipped: int
    predictions: int
    latest_update: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectedTask:
    """One task as it came back.

    Attributes:
        key: the content key in its data; empty if it carries none.
        updated_at: when the server last wrote to it.
        drafts: answers begun by anybody and not submitted.
    """

    task_id: int
    key: str
    updated_at: str
    annotations: tuple[Annotation, ...]
    drafts: int
