"""Single tasks of ours brought to a state: sent back to annotators, archived, or as any other.

What is sent is the state, not a step towards it, so sending it again changes nothing; the answer is compared
with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from goldloop.errors import IdentityError, LabelStudioLostWrites
from goldloop.labeling.api import Api
from goldloop.labeling.values import Project

REASON = "look_again"
"""The field of a task's data that says why it was sent back."""
ARCHIVED = "archived"
"""The field of a task's data that says why it is out of annotators' way."""


def reopen(api: Api, project: Project, task_id: int, key: str, overlap: int, reason: str | None) -> None:
    """Have one of our tasks annotated by so many people, and tell them why; again, it changes nothing.

    Args:
        api: the server.
        project: ours.
        task_id: the task.
        key: the content key that it must have.
        overlap: how many people are to have answered it.
        reason: what annotators read above it; None takes away what they read.

    Raises:
        IdentityError: the task is another project's or another item's; it is left alone.
        LabelStudioLostWrites: the server answers that it was changed, and it was not.
    """
    task = _ours(api, project, task_id, key)
    data = {name: value for name, value in task["data"].items() if name != REASON}
    if reason is not None:
        data[REASON] = reason
    people = _people(api, task_id)
    if reason is None:
        # It is done, whoever has answered.
        overlap = max(1, min(overlap, len(people)))
    _set(api, task_id, {"data": data, "overlap": overlap, "is_labeled": len(people) >= overlap})


def archive(api: Api, project: Project, task_id: int, key: str, *, away: bool) -> None:
    """Take one of our tasks out of the annotators' queue, or put it back; again, it changes nothing.

    Raises:
        IdentityError: the task is another project's or another item's; it is left alone.
        LabelStudioLostWrites: the server answers that it was changed, and it was not.
    """
    task = _ours(api, project, task_id, key)
    data = {name: value for name, value in task["data"].items() if name != ARCHIVED}
    if away:
        data[ARCHIVED] = "superseded"
    done = away or len(_people(api, task_id)) >= task["overlap"]
    _set(api, task_id, {"data": data, "is_labeled": done})


def _ours(api: Api, project: Project, task_id: int, key: str) -> Mapping[str, Any]:
    place = f"/api/tasks/{task_id}/"
    task: Mapping[str, Any] = api.get(place, {"resolve_uri": "false"})
    if task["project"] != project.id or task["data"].get("key") != key:
        raise IdentityError(
            "a task is not the one that was to be changed, so it is left alone",
            where=api.url + place,
            found=f"project {task['project']}, key {task['data'].get('key')}",
            expected=f"project {project.id}, key {key}",
            remedy="Run `goldloop push`, which finds out what is on the server, then try again",
        )
    return task


def _people(api: Api, task_id: int) -> set[int]:
    """Who has annotated a task."""
    return {each["completed_by"] for each in api.get(f"/api/tasks/{task_id}/annotations/")}


def _set(api: Api, task_id: int, wanted: Mapping[str, Any]) -> None:
    place = f"/api/tasks/{task_id}/"
    answer = api.call("PATCH", place, json=wanted)
    kept = {name: answer.get(name) for name in wanted}
    if kept != wanted:
        raise LabelStudioLostWrites(
            "Label Studio answered that a task was changed, and it is not",
            where=api.url + place,
            found={name: value for name, value in kept.items() if value != wanted[name]},
            expected={name: wanted[name] for name in kept if kept[name] != wanted[name]},
            remedy="Run the same command again",
        )


def set_overlap(api: Api, task_id: int, overlap: int) -> None:
    """How many people are to annotate a task."""
    api.call("PATCH", f"/api/tasks/{task_id}/", json={"overlap": overlap})
