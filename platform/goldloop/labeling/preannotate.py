"""Model -> Label Studio: pre-annotations on the tasks that are still open, each once per model version."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Engine

from goldloop.catalog import server_side
from goldloop.catalog.server_side import Place
from goldloop.labeling.client import LabelStudioClient
from goldloop.labeling.portions import portions
from goldloop.labeling.values import Project
from goldloop.progress import Progress
from goldloop.records import Item

_CHUNK = 250

Suggest = Callable[[Sequence[Item]], Sequence[tuple[list[dict[str, Any]], float] | None]]
"""The model's answer to each item, in order, as Label Studio's `result` and a confidence in [0, 1].

None where it has none that could be used.
"""


def preannotate(
    engine: Engine,
    place: Place,
    client: LabelStudioClient,
    project: Project,
    tasks: Mapping[int, Item],
    suggest: Suggest,
    model: str,
    progress: Progress,
) -> int:
    """Give each of these open tasks the model's suggestion and let annotators see it.

    What the server holds of this model already, from a run that was cut off, is not sent again.

    Args:
        engine: the catalog.
        place: recipe and server.
        client: the server.
        project: ours.
        tasks: task id -> item, in the order in which they get their suggestions.
        suggest: the model.
        model: its version, as annotators see it.
        progress: where to tell how far it is.

    Returns:
        How many tasks got a suggestion now.
    """
    with engine.connect() as connection:
        done = server_side.predicted(connection, place, model)
    if tasks.keys() - done:
        done = client.predictions_of(project, model) & tasks.keys()
    missing = [task_id for task_id in tasks if task_id not in done]
    written: list[int] = []
    with progress.track("predict", len(missing)) as advance:
        for chunk in _chunks(missing):
            answers = suggest([tasks[task_id] for task_id in chunk])
            rows = [
                (task_id, *answer)
                for task_id, answer in zip(chunk, answers, strict=True)
                if answer is not None
            ]
            written += [task_id for task_id, *_ in rows]
            advance(len(chunk) - len(rows))
            for portion in portions(rows, lambda row: len(json.dumps(row))):
                client.create_predictions(project, portion, model)
                advance(len(portion))
    with engine.begin() as connection:
        server_side.note_predictions(connection, place, model, [*done, *written])
    if (done or written) and project.model_version != model:
        client.show_model(project, model)
    return len(written)


def _chunks(task_ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(task_ids), _CHUNK):
        yield task_ids[start : start + _CHUNK]
