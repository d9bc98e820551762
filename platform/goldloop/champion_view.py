"""Items as a champion sees them: where its own network puts each, and which classes its answers name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from goldloop import selecting
from goldloop.errors import GoldloopError
from goldloop.progress import Progress
from goldloop.recipe import Recipe
from goldloop.records import Item
from goldloop.tasks._logits import TEMPERATURE
from goldloop.tasks.base import Task
from goldloop.workspace import Workspace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from goldloop.inference import Predictor


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
            return [selecting.row_of(task, workspace, items[place]) for place in places]

        settings = {name: value for name, value in predictor.model.settings.items() if name != TEMPERATURE}
        keys = [item.key for item in items]
        try:
            return embed(task, folder, settings, keys, read, workspace.cache, progress), "the champion"
        except GoldloopError as error:
            progress.say(f"drift: the champion's network gives no points: {error}")
    return selecting.embedded(recipe, workspace, items, progress)


def in_words(task: Task[Any], targets: Sequence[Any]) -> list[str]:
    """The classes that each answer names, each once."""
    return [" + ".join(sorted(set(task.classes_in(target)))) or "nothing" for target in targets]
