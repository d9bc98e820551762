"""Simulated annotators on a recipe's project: they know the truth that the sources keep hidden, and err.

For the quickstart, for tests, and for trying out how a loop behaves before people are asked to work.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

from goldloop import wiring
from goldloop.acts import recorded
from goldloop.catalog.content import items_of
from goldloop.errors import LabelStudioError, SourceError
from goldloop.progress import Progress, Silent
from goldloop.recipe import Recipe
from goldloop.records import Item
from goldloop.tasks import tasks
from goldloop.tasks.base import Task
from goldloop.workspace import Workspace


@recorded
def simulate(
    recipe: Recipe,
    *,
    annotators: int = 2,
    error_rate: float | None = None,
    limit: int | None = None,
    reviewer: bool = False,
    workspace: Workspace | None = None,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Let simulated annotators work on a recipe's tasks; returns how many each has done in all.

    Running it again adds nothing to what they have done, and makes the same answers.

    Args:
        recipe: its sources must know the truth: `label: {use: truth}`.
        annotators: how many work at the same time.
        error_rate: share of answers that are wrong, in [0, 1]; by default 0.05, and of a reviewer 0.
        limit: tasks that each does in all; None for every one.
        reviewer: one reviewer works in place of annotators, on the tasks that `relabel` has sent back.
        workspace: where.
        progress: where to tell how far they are.

    Raises:
        SourceError: no item's truth is known.
        LabelStudioError: the server is not goldloop's own embedded one.
    """
    from goldloop.labeling.simulate import Persona
    from goldloop.labeling.simulate import simulate as work

    workspace, progress = workspace or Workspace.open(), progress or Silent()
    session = wiring.session(recipe, workspace)
    if not session.embedded:
        raise LabelStudioError(
            "simulated annotators work on the embedded Label Studio only",
            where=session.client.url,
            remedy="Unset LABEL_STUDIO_URL, or let people annotate there",
        )
    with workspace.engine.connect() as connection:
        items = {item.key: item for item in items_of(connection, recipe.name) if item.label is not None}
    if not items:
        raise SourceError(
            "no item's truth is known",
            where=recipe.name,
            remedy="Give a source `label: {from: ..., use: truth}`, then pull and push again",
        )
    error_rate = (0.0 if reviewer else 0.05) if error_rate is None else error_rate
    role, count = ("reviewer", 1) if reviewer else ("annotator", annotators)
    personas = [
        Persona(name=f"simulated-{role}-{number}", error_rate=error_rate, seed=number)
        for number in range(1, count + 1)
    ]
    total = None if reviewer else annotators * min(limit or len(items), len(items))
    progress.say(f"simulate: {count} simulated {role}s, {error_rate:.0%} wrong answers")
    with progress.track("annotate", total) as advance:
        report = work(
            session.client.url,
            session.access.api_key,
            session.project.id,
            personas,
            _Memory(tasks.create(recipe.task), items).answer,
            limit=limit,
            reviews=reviewer,
            report=lambda _name, _made: advance(1),
        )
    return dict(report.total)


class _Memory:
    """What simulated annotators know: the truth of every item, and what else could be answered."""

    def __init__(self, task: Task[Any], items: dict[str, Item]) -> None:
        self._task = task
        self._items = items
        distinct = {json.dumps(item.label, sort_keys=True): item.label for item in items.values()}
        self._answers: Sequence[Any] = [distinct[text] for text in sorted(distinct)]
        parts = [part for answer in self._answers if isinstance(answer, list) for part in answer]
        self._answers_are_names = bool(parts) and all(isinstance(part, str) for part in parts)

    def answer(self, key: str, wrong: bool, chance: random.Random) -> list[dict[str, Any]] | None:
        """The true answer to an item, or a wrong one; None where the truth is not known."""
        item = self._items.get(key)
        if item is None:
            return None
        return self._task.encode(self._mistake(item.label, chance) if wrong else item.label, item)

    def _mistake(self, target: Any, chance: random.Random) -> Any:
        """A wrong answer: one thing overlooked where the answer is many, else another item's answer.

        What another saw in another picture or text has no place in this one, so where nothing is to be seen
        the answer stays right; names alone may be taken from anywhere.
        """
        if isinstance(target, list) and not target and self._answers_are_names:
            return chance.choice([other for other in self._answers if other])
        if isinstance(target, list):
            overlooked = chance.randrange(len(target)) if target else 0
            return [thing for number, thing in enumerate(target) if number != overlooked]
        if isinstance(target, dict):
            things = next(name for name, part in target.items() if isinstance(part, list))
            return {**target, things: self._mistake(target[things], chance)}
        return chance.choice([other for other in self._answers if other != target])
