"""Items as a champion sees them: where its own network puts each, and what it says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from goldloop import selecting, wiring
from goldloop.errors import GoldloopError
from goldloop.progress import Progress
from goldloop.recipe import Recipe
from goldloop.records import Item, Prediction
from goldloop.tasks._logits import TEMPERATURE
from goldloop.tasks.base import Task
from goldloop.workspace import Workspace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from goldloop.inference import Predictor

_CHUNK = 256


def points_of(
    recipe: Recipe,
    workspace: Workspace,
    predictor: Predictor | None,
    folder: str,
    items: Sequence[Item],
    progress: Progress,
) -> tuple[NDArray[Any], str]:
    """Items as points `(N, D)`, and what has made them.

    A network whose body gives no points leaves it to the recipe's checkpoint, and that to plain features.

    Args:
        recipe: its checkpoint is the second choice.
        workspace: keeps points by content.
        predictor: the champion; None where its own view is not wanted.
        folder: of the champion.
        items: which.
        progress: where to tell how far it is.
    """
    from goldloop.quality.embeddings import embed

    if predictor is not None:
        task = predictor.task

        def read(places: Sequence[int]) -> list[Mapping[str, Any]]:
            return [_row(task, workspace, items[place]) for place in places]

        settings = {name: value for name, value in predictor.model.settings.items() if name != TEMPERATURE}
        keys = [item.key for item in items]
        try:
            return embed(task, folder, settings, keys, read, workspace.cache, progress), "the champion"
        except GoldloopError as error:
            progress.say(f"drift: the champion's network gives no points: {error}")
    return selecting.embedded(recipe, workspace, items, progress)


def answers_of(
    workspace: Workspace, predictor: Predictor, items: Sequence[Item], progress: Progress
) -> list[Prediction[Any]]:
    """What the champion says of items, in order."""
    found: list[Prediction[Any]] = []
    with progress.track("ask", len(items)) as advance:
        for start in range(0, len(items), _CHUNK):
            chunk = items[start : start + _CHUNK]
            found += predictor.predict([wiring.content(workspace, item) for item in chunk])
            advance(len(chunk))
    return found


def in_words(task: Task[Any], targets: Sequence[Any]) -> list[str]:
    """The classes that each answer names, each once."""
    return [" + ".join(sorted(set(task.classes_in(target)))) or "nothing" for target in targets]


def _row(task: Task[Any], workspace: Workspace, item: Item) -> Mapping[str, Any]:
    content = wiring.content(workspace, item)
    return {"key": item.key, task.modality: content if isinstance(content, str) else {"bytes": content}}
