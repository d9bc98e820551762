"""Who pre-annotates a recipe's tasks, and what becomes of each suggestion: shown, or kept to compare with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from goldloop import wiring
from goldloop.catalog import suggestions
from goldloop.errors import GoldloopError
from goldloop.labeling.suggesters import suggesters
from goldloop.progress import Progress
from goldloop.recipe import Recipe
from goldloop.records import Item, Prediction
from goldloop.tasks import tasks
from goldloop.tasks.base import Task
from goldloop.workspace import Workspace

if TYPE_CHECKING:
    from goldloop.labeling.preannotate import Suggest

_CHUNK = 250
_TOLD = 3

Ask = Callable[[Sequence[Item]], Sequence[Prediction[Any] | GoldloopError]]


@dataclass(frozen=True)
class Source:
    """Who suggests.

    Attributes:
        model: its version, as annotators see it.
        ask: what it says of items, or why nothing.
        refused: why suggestions were not used -> how many.
    """

    recipe: str
    workspace: Workspace
    task: Task[Any]
    model: str
    ask: Ask
    refused: Counter[str] = field(default_factory=Counter)

    def shown(self) -> Suggest:
        """Its answers in the form of annotations, each noted before it is sent."""

        def suggest(items: Sequence[Item]) -> list[tuple[list[dict[str, Any]], float] | None]:
            found = self._targets(items, shown=True)
            return [
                (self.task.encode(found[item.key].target, item), found[item.key].confidence)
                if item.key in found
                else None
                for item in items
            ]

        return suggest

    def keep(self, items: Iterable[Item], progress: Progress) -> int:
        """Note what it says of items and show it to nobody; returns of how many."""
        with self.workspace.engine.connect() as connection:
            known = suggestions.noted_keys(connection, self.recipe, self.model)
        left = [item for item in items if item.key not in known]
        kept = 0
        with progress.track("predict blind", len(left)) as advance:
            for start in range(0, len(left), _CHUNK):
                chunk = left[start : start + _CHUNK]
                kept += len(self._targets(chunk, shown=False))
                advance(len(chunk))
        return kept

    def tell_refused(self, progress: Progress) -> None:
        """Say how many answers could not be used, and why."""
        for reason, count in self.refused.most_common(_TOLD):
            progress.say(f"predict: {count} answers of {self.model} were left out: {reason}")

    def _targets(self, items: Sequence[Item], *, shown: bool) -> dict[str, Prediction[Any]]:
        found = {}
        for item, answer in zip(items, self.ask(items), strict=True):
            if isinstance(answer, GoldloopError):
                self.refused[getattr(answer, "problem", str(answer))] += 1
            else:
                target = self.task.present(answer.target)
                found[item.key] = replace(answer, target=target)
        with self.workspace.engine.begin() as connection:
            targets = {key: prediction.target for key, prediction in found.items()}
            suggestions.note(connection, self.recipe, self.model, targets, shown=shown)
        return found


def is_own(recipe: Recipe) -> bool:
    """Whether goldloop's own champion suggests: before there is one, nobody does."""
    return isinstance(recipe.labeling.suggestions, str)


def source_of(recipe: Recipe, workspace: Workspace) -> Source:
    """Who suggests answers to a recipe's tasks.

    Raises:
        ModelError: there is no champion yet, and nobody else was asked.
    """
    task = tasks.create(recipe.task)
    chosen = recipe.labeling.suggestions
    if isinstance(chosen, str):
        champion = wiring.champion_of(workspace, recipe.name)
        predictor = wiring.predictor(workspace, champion)

        def own(items: Sequence[Item]) -> Sequence[Prediction[Any] | GoldloopError]:
            return predictor.predict([wiring.content(workspace, item) for item in items])

        return Source(recipe.name, workspace, task, champion.ref, own)
    suggester = suggesters.create(chosen)

    def other(items: Sequence[Item]) -> Sequence[Prediction[Any] | GoldloopError]:
        return suggester.suggest(task, items, [wiring.content(workspace, item) for item in items])

    return Source(recipe.name, workspace, task, suggester.model, other)
