"""From Label Studio's export to `Annotation` records.

Which pre-annotation an annotator was shown is found from what Label Studio itself stores, surest first:

1. `parent_prediction`: the browser's editor copied that prediction and says so.
2. `prediction`: the prediction of the project's model version that the task had at submission, stored by
   the server inside the annotation; it outlives the prediction.
3. Any prediction that lay on the task before the annotation was made or last edited by a person. The
   editor offers every prediction of a task, whatever the project's settings, so it may have been seen.
4. A result whose `origin` is a prediction that is gone: the version is then `UNKNOWN_MODEL`.

Erring here goes one way only: a label may be taken for influenced by a model that was not looked at.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from goldloop.labeling.values import CollectedTask
from goldloop.records import IMPORTED, Annotation

UNKNOWN_MODEL = "unknown"


def pseudonym(pseudonym_key: bytes, email: str) -> str:
    """A name for an annotator that is stable under one key and says nothing of the person."""
    digest = hmac.new(pseudonym_key, email.strip().lower().encode(), hashlib.sha256).hexdigest()
    return f"annotator-{digest[:8]}"


def collected_task(task: Mapping[str, Any], pseudonym_key: bytes) -> CollectedTask:
    """One task of an export."""
    task_id = int(task["id"])
    key = str(task["data"].get("key") or "")
    predictions = [entry for entry in task.get("predictions") or () if isinstance(entry, Mapping)]
    return CollectedTask(
        task_id=task_id,
        key=key,
        updated_at=task["updated_at"],
        annotations=tuple(
            _annotation(entry, task_id, key, predictions, pseudonym_key) for entry in task["annotations"]
        ),
        drafts=sum(1 for draft in task.get("drafts") or () if not _belongs_to_annotation(draft)),
    )


def _annotation(
    entry: Mapping[str, Any],
    task_id: int,
    key: str,
    predictions: list[Mapping[str, Any]],
    pseudonym_key: bytes,
) -> Annotation:
    return Annotation(
        id=int(entry["id"]),
        task_id=task_id,
        key=key,
        annotator=_annotator(entry, pseudonym_key),
        results=tuple(entry.get("result") or ()),
        cancelled=bool(entry.get("was_cancelled")),
        created_at=entry["created_at"],
        updated_at=entry["updated_at"],
        lead_time=entry.get("lead_time"),
        shown_model=_shown_model(entry, predictions),
        ground_truth=bool(entry.get("ground_truth")),
    )


def _annotator(entry: Mapping[str, Any], pseudonym_key: bytes) -> str:
    # Whoever annotates or changes an annotation is its `updated_by`; an import leaves it empty.
    if not entry.get("updated_by"):
        return IMPORTED
    person = entry.get("completed_by")
    return pseudonym(
        pseudonym_key, person.get("email", "") if isinstance(person, Mapping) else f"user {person}"
    )


def _shown_model(entry: Mapping[str, Any], predictions: list[Mapping[str, Any]]) -> str | None:
    recorded = entry.get("prediction") or {}
    parent = entry.get("parent_prediction")
    for prediction in [*predictions, recorded]:
        if parent is not None and prediction.get("id") == parent:
            return _version(prediction)
    if recorded:
        return _version(recorded)
    # An imported annotation has no `updated_by`: nobody looked at the task, whatever was imported with it.
    last_seen = entry["updated_at"] if entry.get("updated_by") else entry["created_at"]
    seen = [item for item in predictions if _time(item["created_at"]) < _time(last_seen)]
    if seen:
        return _version(max(seen, key=lambda item: _time(item["created_at"])))
    origins = {str(result.get("origin", "")) for result in entry.get("result") or ()}
    if parent is not None or any(origin.startswith("prediction") for origin in origins):
        return UNKNOWN_MODEL
    return None


def _version(prediction: Mapping[str, Any]) -> str:
    return str(prediction.get("model_version") or UNKNOWN_MODEL)


def _time(value: str) -> datetime:
    return datetime.fromisoformat(value)


def _belongs_to_annotation(draft: Any) -> bool:
    """Whether a draft is an unsaved edit of an annotation that is there already."""
    return isinstance(draft, Mapping) and draft.get("annotation") is not None
