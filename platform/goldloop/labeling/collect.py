"""Label Studio -> catalog: what annotators did, joined on task id *and* content key.

The books are made from what the server lists and are held against its own total; a task that comes back
with another item's content rejects the whole collection, and the catalog keeps what it had.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from goldloop.errors import IdentityError, LedgerError
from goldloop.labeling.client import LabelStudioClient
from goldloop.labeling.relabel import is_since
from goldloop.labeling.values import CollectedTask, Project
from goldloop.progress import Advance, Progress
from goldloop.records import Annotation, Outcome, Reopened

_TRIES = 3


@dataclass(frozen=True, slots=True)
class Collected:
    """What lay on the server at one moment.

    Attributes:
        annotations: of our tasks, skips among them.
        outcomes: one per task of ours: `labelled`, `open` or `skipped`; the subject is the task id.
        drafts: answers begun and not submitted; they count for nothing.
    """

    annotations: tuple[Annotation, ...]
    outcomes: tuple[Outcome, ...]
    drafts: int


def collect(
    client: LabelStudioClient,
    project: Project,
    live: Mapping[str, int],
    annotators_per_item: int,
    progress: Progress,
    sent: Mapping[str, Reopened] | None = None,
) -> Collected:
    """Fetch every annotation of our tasks.

    Args:
        client: the server.
        project: ours.
        live: key -> task id, as `push.reconcile` left them.
        annotators_per_item: answers that make a task `labelled`.
        progress: where to tell how far it is.
        sent: key -> items that were sent back: they are labelled once they were answered since.

    Raises:
        IdentityError: a task came back with another item's content.
        LedgerError: tasks are missing from what the server lists, three times in a row.
    """
    for attempt in range(_TRIES):
        with progress.track("collect", len(live)) as advance:
            tasks = _ours(client.annotations(project), live, advance)
        missing = set(live.values()) - tasks.keys()
        if not missing:
            break
        # Tasks move between pages while people work; listing again settles it.
        if attempt == _TRIES - 1:
            raise LedgerError(
                "the server does not list tasks that it has",
                where=project.title,
                found=f"{len(tasks)} of {len(live)} tasks; missing {sorted(missing)[:5]}",
                remedy="Run `goldloop push` to settle what was deleted there, then collect again",
            )
    ordered = [tasks[task_id] for task_id in sorted(tasks)]
    return Collected(
        tuple(annotation for task in ordered for annotation in task.annotations),
        tuple(_outcome(task, annotators_per_item, (sent or {}).get(task.key)) for task in ordered),
        sum(task.drafts for task in ordered),
    )


def _ours(
    listed: Iterable[CollectedTask], live: Mapping[str, int], advance: Advance
) -> dict[int, CollectedTask]:
    expected = {task_id: key for key, task_id in live.items()}
    tasks: dict[int, CollectedTask] = {}
    for task in listed:
        if task.task_id not in expected:
            continue
        if task.key != expected[task.task_id]:
            raise IdentityError(
                "a task came back with another item's content",
                where=f"task {task.task_id}",
                found=f"key {task.key}",
                expected=f"key {expected[task.task_id]}",
                remedy="Its data were changed in Label Studio: delete the task there and push again",
            )
        tasks[task.task_id] = task
        advance(1)
    return tasks


def _outcome(task: CollectedTask, annotators_per_item: int, sent: Reopened | None = None) -> Outcome:
    if sent is not None:
        since = [act for act in task.annotations if is_since(act, sent) and not act.cancelled]
        outcome = "labelled" if since else "open"
        reason = f"sent back, {len(since)} answers since"
        return Outcome(subject=str(task.task_id), outcome=outcome, reason=reason)
    answers = {act.annotator for act in task.annotations if not act.cancelled}
    skips = {act.annotator for act in task.annotations if act.cancelled} - answers
    if len(answers) >= annotators_per_item:
        outcome, reason = "labelled", f"{len(answers)} answers"
    elif skips and not answers:
        outcome, reason = "skipped", f"skipped by {len(skips)}"
    else:
        outcome, reason = "open", f"{len(answers)} of {annotators_per_item} answers"
    return Outcome(subject=str(task.task_id), outcome=outcome, reason=reason)
