"""Doubtful labels -> Label Studio: tasks that were done are open for one more person, who is told why.

What was annotated stays as it is. The request is journalled first (`catalog/reopened.py`), and what is sent
is a state, not a step: a task is to have so many annotators and this reason. So a run that was killed sends
the rest, and sends nothing twice. A task that was answered since is made an ordinary one again.
"""

from __future__ import annotations

import re

from sqlalchemy import Engine

from goldloop.catalog import reopened
from goldloop.catalog.collection import annotations_of_tasks
from goldloop.catalog.server_side import Place
from goldloop.labeling import task_state
from goldloop.labeling.client import LabelStudioClient
from goldloop.labeling.task_state import REASON
from goldloop.labeling.values import Project
from goldloop.progress import Progress
from goldloop.records import Annotation, Reopened

_ROOT = re.compile(r"<View\b[^>]*[^/]?>")
_HEADER = f'<Header value="${REASON}" size="4"/>'


def with_reason(label_config: str) -> str:
    """A labelling interface that shows above all else why a task was sent back, where it was."""
    return _ROOT.sub(lambda found: f"{found[0]}\n  {_HEADER}", label_config, count=1)


def send(
    engine: Engine, place: Place, client: LabelStudioClient, project: Project, progress: Progress
) -> int:
    """Send all that was asked for and is not on the server yet; returns how many.

    Raises:
        IdentityError: a task is no longer the item's.
    """
    with engine.connect() as connection:
        asked = reopened.requests_of(connection, place, ["asked"])
    with progress.track("relabel", len(asked)) as advance:
        for request in asked:
            key = request.item.key
            task_state.reopen(
                client.api, project, request.task_id, key, request.answers + 1, request.item.reason
            )
            with engine.begin() as connection:
                reopened.mark(connection, place, [key], "open")
            advance(1)
    return len(asked)


def close(
    engine: Engine, place: Place, client: LabelStudioClient, project: Project, annotators_per_item: int
) -> None:
    """Make the tasks ordinary ones again of which an answer was collected since they were sent back."""
    with engine.connect() as connection:
        waiting = {each.task_id: each for each in reopened.requests_of(connection, place, ["open"])}
        if not waiting:
            return
        answered = {
            act.task_id
            for act in annotations_of_tasks(connection, place, list(waiting))
            if not act.cancelled and is_since(act, waiting[act.task_id].item)
        }
    for task_id in sorted(answered):
        key = waiting[task_id].item.key
        task_state.reopen(client.api, project, task_id, key, annotators_per_item, None)
        with engine.begin() as connection:
            reopened.mark(connection, place, [key], "closed")


def ask_again(engine: Engine, place: Place, client: LabelStudioClient, overlap: int) -> None:
    """Let open tasks ask for as many annotators as all others do, before that number changes for all.

    Label Studio would change those alone that ask for more than one. What is taken back here is sent again.
    """
    with engine.begin() as connection:
        waiting = reopened.requests_of(connection, place, ["open"])
        reopened.mark(connection, place, [each.item.key for each in waiting], "asked")
        asked = reopened.requests_of(connection, place, ["asked"])
    for request in asked:
        task_state.set_overlap(client.api, request.task_id, overlap)


def is_since(act: Annotation, sent: Reopened) -> bool:
    """Whether an annotation was made or changed since its item was sent back."""
    return act.key == sent.key and (act.id, act.updated_at) not in sent.known
