"""Which items of a recipe are near-duplicates, and which of those nobody need be asked about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Container, Sequence
from typing import TYPE_CHECKING

from goldloop import wiring
from goldloop.catalog import server_side
from goldloop.catalog.fresh import items_among
from goldloop.catalog.server_side import Place
from goldloop.progress import Progress
from goldloop.recipe import Recipe
from goldloop.tasks import tasks
from goldloop.workspace import Workspace

if TYPE_CHECKING:
    from goldloop.dataset.placement import Clique
    from goldloop.duplicates.finder import Finder


def near_duplicates(
    recipe: Recipe, workspace: Workspace, keys: Collection[str], progress: Progress
) -> list[Clique] | None:
    """Which items are near-duplicates; None where the recipe does not look for any.

    Args:
        recipe: says what counts as one.
        workspace: remembers what it has looked at.
        keys: of the items.
        progress: where to tell how far it is.

    Raises:
        VersionError: the items are too alike for it to be told.
        WorkspaceError: an image is missing.
    """
    finder = _finder(recipe, workspace)
    if finder is None:
        return None
    left = _learn(recipe, workspace, finder, finder.unknown(keys), progress)
    return finder.cliques([key for key in keys if key not in left], progress)


def near_duplicates_of(
    recipe: Recipe,
    workspace: Workspace,
    keys: Collection[str],
    present: Callable[[Collection[str]], Container[str]],
    progress: Progress,
) -> list[Clique] | None:
    """Those of `near_duplicates` that have an item of these; the cost does not grow with the others.

    Args:
        recipe: says what counts as one.
        workspace: remembers what it has looked at.
        keys: of the items.
        present: of other keys, tells which are asked about too.
        progress: where to tell how far it is.

    Raises:
        VersionError, WorkspaceError: as `near_duplicates`.
    """
    finder = _finder(recipe, workspace)
    if finder is None:
        return None
    left = _learn(recipe, workspace, finder, finder.unknown_among(keys), progress)
    return finder.cliques_about({key for key in keys if key not in left}, present, progress)


def doubles(
    recipe: Recipe, workspace: Workspace, place: Place, fresh: Sequence[str], progress: Progress
) -> dict[str, str]:
    """Which items are not to be sent to annotators, as near-duplicates -> of which one.

    Args:
        recipe: says whether near-duplicates are sent, and what counts as one.
        workspace: where.
        place: recipe and server.
        fresh: keys of items that have no task; of several near-duplicates the first is sent.
        progress: where to tell how far it is.

    Raises:
        VersionError, WorkspaceError: as `near_duplicates`.
    """
    if not fresh or recipe.labeling.select.near_duplicates == "all":
        return {}
    with workspace.engine.connect() as connection:
        answered = set(server_side.keys_with_answer(connection, place))
    near: dict[str, set[str]] = defaultdict(set)
    for clique in near_duplicates(recipe, workspace, [*answered, *fresh], progress) or ():
        for key in clique:
            near[key].update(clique)
    doubles: dict[str, str] = {}
    for key in fresh:
        twin = min(near[key] & answered, default=None) if key in near else None
        if twin is None:
            answered.add(key)
        else:
            doubles[key] = twin
    return doubles


def _finder(recipe: Recipe, workspace: Workspace) -> Finder | None:
    from goldloop.duplicates.finder import Finder

    modality = tasks.get(recipe.task.kind).modality
    rule = recipe.dataset.duplicates.of(modality)
    return None if rule is None else Finder(workspace.cache / "duplicates", modality, rule)


def _learn(
    recipe: Recipe, workspace: Workspace, finder: Finder, keys: Collection[str], progress: Progress
) -> set[str]:
    """Have contents looked at; returns the keys of those that are gone."""
    unknown = set(keys)
    if not unknown:
        return unknown
    with workspace.engine.connect() as connection, progress.track("look", len(unknown)) as advance:
        items = items_among(connection, recipe.name, unknown)
        for key in finder.learn((item.key, wiring.content(workspace, item)) for item in items):
            unknown.remove(key)
            advance(1)
    return unknown
