"""`goldloop annotators`: what each annotator's answers are worth, from what was collected.

<workspace>/reports/NAME/annotators.html    the same as a page: tells of no item, and of people by pseudonym
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from goldloop import durable, wiring
from goldloop.catalog import server_side
from goldloop.catalog.content import items_of
from goldloop.catalog.suggestions import suggestions_of
from goldloop.errors import AnnotationError, VersionError
from goldloop.pages import template
from goldloop.progress import Progress, Silent
from goldloop.quality.appraise import Appraisal, appraise
from goldloop.quality.consensus import latest
from goldloop.quality.sway import Given, Sway, given_after, sway
from goldloop.recipe import Recipe
from goldloop.records import Annotation
from goldloop.tasks import tasks
from goldloop.tasks.base import Task
from goldloop.workspace import Workspace

_TEMPLATE = Path(__file__).with_name("quality") / "annotators.html.jinja"


@dataclass(frozen=True, slots=True)
class Appraisals:
    """What was found of a recipe's annotators.

    Attributes:
        recipe: its name.
        found: the figures.
        page: where the page lies.
    """

    recipe: str
    found: Appraisal
    page: Path

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {"recipe": self.recipe, **self.found.facts(), "page": str(self.page)}


def annotators(
    recipe: Recipe, workspace: Workspace | None = None, progress: Progress | None = None
) -> Appraisals:
    """Each annotator's answers against known ones, against the others' and in time; nothing is changed.

    Args:
        recipe: whose annotations were collected.
        workspace: where.
        progress: where to tell how far it is.

    Raises:
        VersionError: nothing was collected yet.
    """
    workspace, progress = workspace or Workspace.open(), progress or Silent()
    task = tasks.create(recipe.task)
    progress.say("annotators: reading what was collected")
    answered = _answered(task, recipe.name, workspace)
    if not answered.acts:
        raise VersionError(
            "nobody has annotated anything yet",
            where=recipe.name,
            remedy="Run `goldloop collect` once somebody has",
        )
    found = appraise(task, answered.targets, answered.acts, answered.truths, answered.given)
    folder = wiring.cleaning_folder(workspace, recipe.name)
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "annotators.html"
    durable.replace(page, template(_TEMPLATE).render(recipe=recipe.name, found=found).encode())
    return Appraisals(recipe.name, found, page)


def sway_of(task: Task[Any], recipe: str, workspace: Workspace) -> Sway | None:
    """How far shown suggestions sway a recipe's annotators; None where nothing tells."""
    return sway(_answered(task, recipe, workspace).given)


@dataclass(frozen=True, slots=True)
class _Answered:
    targets: dict[str, dict[str, Any]]
    acts: list[Annotation]
    truths: dict[str, Any]
    given: list[Given]


def _answered(task: Task[Any], recipe: str, workspace: Workspace) -> _Answered:
    """The last readable answer of each annotator to each item, and what is known beside it."""
    with workspace.engine.connect() as connection:
        items = {item.key: item for item in items_of(connection, recipe, ("current", "gone"))}
        suggested = list(suggestions_of(connection, recipe))
        by_item: dict[str, list[Annotation]] = defaultdict(list)
        for act in server_side.annotations_of(connection, recipe):
            if act.key in items:
                by_item[act.key].append(act)
    acts = [act for key in by_item for act in latest(by_item[key])]
    targets: dict[str, dict[str, Any]] = defaultdict(dict)
    for act in acts:
        if act.cancelled:
            continue
        try:
            targets[act.key][act.annotator] = task.decode(act.results, items[act.key])
        except AnnotationError:
            # A commit rejects the item, and says why.
            continue
    truths = {
        key: item.label for key, item in items.items() if item.label_use == "truth" and item.label is not None
    }
    return _Answered(targets, acts, truths, given_after(task, suggested, targets, acts))
