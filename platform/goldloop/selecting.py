"""What a recipe's selection sees of its items: the champion's answers, where each lies among the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from goldloop import alike, wiring
from goldloop.catalog import server_side
from goldloop.catalog.content import items_of
from goldloop.catalog.server_side import Place
from goldloop.errors import GoldloopError, VersionError
from goldloop.progress import Progress
from goldloop.recipe import Recipe
from goldloop.records import Item, Prediction
from goldloop.tasks import tasks
from goldloop.tasks.base import Task
from goldloop.workspace import Workspace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from goldloop.inference import Predictor
    from goldloop.labeling.strategies.base import Points, Predictions

_CHUNK = 256
"""Contents in memory at once."""
_ASK_NOTHING = {"random", "diversity", "cluster", "mix"}


def chosen(
    recipe: Recipe,
    workspace: Workspace,
    fresh: Sequence[Item],
    taken: Sequence[Item],
    room: int | None,
    progress: Progress,
) -> list[Item]:
    """The items to send to annotators now, the most useful first.

    Args:
        recipe: how it selects, and by which checkpoint items are told apart.
        workspace: where.
        fresh: those that no annotator has been sent yet.
        taken: those that annotators have.
        room: how many may be sent; None: all.
        progress: where to tell how far it is.
    """
    from goldloop.labeling.selection import ordered

    if not fresh or room == 0:
        return []
    order = ordered(
        fresh,
        recipe.labeling.select,
        _predictions(recipe, workspace, progress),
        _points(recipe, workspace, [*fresh, *taken], progress),
        taken=taken,
        wanted=room,
    )
    return order[:room]


@dataclass(frozen=True, slots=True)
class NextUp:
    """What gets a task now.

    Attributes:
        keys: of items, the most useful first.
        enough: why there are none, where enough is done.
        doubles: keys of items that get none, as near-duplicates -> of which one.
    """

    keys: list[str]
    enough: str | None = None
    doubles: Mapping[str, str] = field(default_factory=dict)


def next_up(recipe: Recipe, workspace: Workspace, place: Place, progress: Progress) -> NextUp:
    """Which items get a task now."""
    from goldloop.labeling.selection import at_random

    select = recipe.labeling.select
    need = recipe.labeling.annotators_per_item
    with workspace.engine.connect() as connection:
        live = server_side.tasks_of(connection, place) if recipe.labeling.stop is not None else {}
        answers = server_side.answer_counts(connection, place) if live else {}
    labelled = sum(answers.get(task, 0) >= need for task in live.values())
    why = enough(recipe, workspace, labelled, progress)
    if why is not None:
        return NextUp([], why)
    with workspace.engine.connect() as connection:
        room = None
        if select.batch is not None:
            waiting = server_side.count_unfinished(connection, place, need)
            room = max(select.batch - waiting, 0)
        fresh = at_random(server_side.keys_to_push(connection, place), select.seed)
    doubles = alike.doubles(recipe, workspace, place, fresh, progress)
    fresh = [key for key in fresh if key not in doubles]
    if select.strategy.kind == "random":
        # By keys alone: of a hundred thousand items, none need be in memory.
        return NextUp(fresh[:room], doubles=doubles)
    wanted = set(fresh)
    with workspace.engine.connect() as connection:
        have = server_side.tasks_of(connection, place)
        items = list(items_of(connection, recipe.name))
    lacking = [item for item in items if item.key in wanted]
    taken = [item for item in items if item.key in have]
    first = chosen(recipe, workspace, lacking, taken, room, progress)
    return NextUp([item.key for item in first], doubles=doubles)


def useful_first(
    recipe: Recipe,
    workspace: Workspace,
    place: Place,
    open_tasks: Mapping[int, Item],
    model: str,
    progress: Progress,
) -> dict[int, Item]:
    """Open tasks in the order in which they are to get a model's suggestions: those worth most come first.

    Args:
        recipe: how it selects; without a strategy they stay in the order of their ids.
        workspace: where.
        place: recipe and server.
        open_tasks: task id -> item.
        model: those that have its suggestion already are left where they are, and not looked at.
        progress: where to tell how far it is.
    """
    in_order = dict(sorted(open_tasks.items()))
    if recipe.labeling.select.strategy.kind == "random":
        return in_order
    with workspace.engine.connect() as connection:
        have = server_side.predicted(connection, place, model)
        live = server_side.tasks_of(connection, place)
        items = list(items_of(connection, recipe.name))
    numbers = {item.key: task for task, item in in_order.items() if task not in have}
    lacking = [item for item in in_order.values() if item.key in numbers]
    taken = [item for item in items if item.key in live and item.key not in numbers]
    first = chosen(recipe, workspace, lacking, taken, None, progress)
    return {numbers[item.key]: item for item in first} | in_order


def enough(
    recipe: Recipe, workspace: Workspace, labelled: int, progress: Progress | None = None
) -> str | None:
    """Why no more is sent to annotators, by the recipe's stop rule; None while more is wanted.

    Args:
        recipe: its rule.
        workspace: has its models, and its latest version.
        labelled: tasks that have their answers.
        progress: where to tell how far it is, if a learning curve that the rule needs may be measured now;
            without it, only one that is known already is heeded.
    """
    from goldloop.labeling.stopping import reason_to_stop

    stop = recipe.labeling.stop
    if stop is None:
        return None
    models = wiring.registry(workspace).models(recipe.name) if stop.gain is not None else []
    values = [model.value for model in sorted(models, key=lambda model: model.number)]
    at_most = None
    if stop.worth is not None and (stop.labels is None or labelled < stop.labels):
        at_most = _worth_at_most(recipe, workspace, stop.worth.labels, progress)
    return reason_to_stop(stop, labelled, [value for value in values if value is not None], at_most)


def _worth_at_most(
    recipe: Recipe, workspace: Workspace, more: int, progress: Progress | None
) -> float | None:
    """What so many more labels would gain at most, nine times of ten; None while that cannot be told."""
    from goldloop import budgeting

    found = budgeting.known(recipe, workspace)
    if found is None and progress is not None:
        try:
            found = budgeting.budget(recipe, workspace, progress)
        except VersionError as error:
            progress.say(f"push: what more labels are worth is not known yet: {error}")
    return None if found is None else found.worth(more).gain.high


def _predictions(recipe: Recipe, workspace: Workspace, progress: Progress) -> Predictions | None:
    """The champion's answers; None while there is none. It is looked for only where a strategy asks it."""
    if not _asks(recipe, {"uncertainty", "margin", "entropy"}):
        return None
    champion = wiring.registry(workspace).champion(recipe.name)
    if champion is None:
        return None
    model = wiring.predictor(workspace, champion)
    return lambda items: answers_of(workspace, model, items, progress, "select")


def answers_of(
    workspace: Workspace, predictor: Predictor, items: Sequence[Item], progress: Progress, what: str
) -> list[Prediction[Any]]:
    """What a model says of items, in order; `what` names the work while it goes on."""
    found: list[Prediction[Any]] = []
    with progress.track(what, len(items)) as advance:
        for start in range(0, len(items), _CHUNK):
            chunk = items[start : start + _CHUNK]
            found += predictor.predict([wiring.content(workspace, item) for item in chunk])
            advance(len(chunk))
    return found


def row_of(task: Task[Any], workspace: Workspace, item: Item) -> Mapping[str, Any]:
    """An item without a label, as a task prepares rows."""
    content = wiring.content(workspace, item)
    return {"key": item.key, task.modality: content if isinstance(content, str) else {"bytes": content}}


def _points(recipe: Recipe, workspace: Workspace, items: Sequence[Item], progress: Progress) -> Points:
    """Where items lie, worked out at the first question and for all of them: plain features are relative."""
    places = {item.key: place for place, item in enumerate(items)}

    @cache
    def made() -> NDArray[Any]:
        return embedded(recipe, workspace, items, progress)[0]

    return lambda asked: made()[[places[item.key] for item in asked]]


def embedded(
    recipe: Recipe, workspace: Workspace, items: Sequence[Item], progress: Progress
) -> tuple[NDArray[Any], str]:
    """Items as the recipe's checkpoint sees them, else by plain features; and which of the two."""
    from goldloop.quality.embeddings import embed, plain_points

    task = tasks.create(recipe.task)

    training = recipe.training
    if training is not None and isinstance(training.checkpoint, str):
        keys = [item.key for item in items]
        settings = training.model_settings()

        def read(places: Sequence[int]) -> list[Mapping[str, Any]]:
            return [row_of(task, workspace, items[place]) for place in places]

        try:
            points = embed(task, training.checkpoint, settings, keys, read, workspace.cache, progress)
        except GoldloopError as error:
            progress.say(f"{recipe.name}: items are told apart by plain features: {error}")
        else:
            return points, "the checkpoint"
    return plain_points(task, [wiring.content(workspace, item) for item in items]), "plain features"


def _asks(recipe: Recipe, kinds: set[str]) -> bool:
    """Whether a strategy is one of these kinds, or a mix with one, or of another package, which may be."""
    strategy = recipe.labeling.select.strategy
    named = {strategy.kind, *getattr(strategy, "parts", ())}
    return bool(named & kinds) or not named <= kinds | _ASK_NOTHING
