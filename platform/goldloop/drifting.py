"""`goldloop drift`: whether what came since the champion's version is like what that version knew.

    items that the champion has not learned from   against   items that came since
    points (input), what the champion says, how sure it is; and what people say, by version

Of the version are taken: its test split, which stands for all labelled items, and those that were open, as
many of each as there are of the whole; so it does not matter which items were chosen to be labelled. A
network sees what it has learned from with other eyes: held against its training split, all that is new would
have drifted. Only where too little is left are all items taken, and then points that it has not made.

<workspace>/runs/NAME/drift-<id>/drift.json    the outcome; the same items and models are looked at once
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop import __version__, durable, production, wiring
from goldloop.catalog.content import items_of
from goldloop.champion_view import in_words, points_of
from goldloop.monitoring.drawn import drawn, held_out
from goldloop.monitoring.foreseen import Foreseen, foreseen
from goldloop.monitoring.shifts import Shift, Sides, look
from goldloop.progress import Progress, Silent
from goldloop.recipe import Recipe, digest_of
from goldloop.records import Item, Prediction
from goldloop.selecting import answers_of
from goldloop.suspicion import Rows
from goldloop.tasks import tasks
from goldloop.tasks._logits import TEMPERATURE
from goldloop.workspace import Workspace

if TYPE_CHECKING:
    from goldloop.dataset.version import Version
    from goldloop.inference import Predictor
    from goldloop.registry.models import ModelVersion

RESULT = "drift.json"

Answers = tuple[list[Prediction[Any]], list[Prediction[Any]]]
"""Of the reference and of recent items."""


@dataclass(frozen=True, slots=True)
class Drift:
    """What a look found.

    Attributes:
        recipe: its name.
        champion: the model; None while there is none.
        version: what is the reference, `NAME@DIGEST`: the champion's, or the latest without one.
        seen_by: what has made the points.
        false_alarms: the rate that all tests hold together.
        came: how many items came since, before any were drawn.
        shifts: what was tested.
        foreseen: the champion's accuracy on recent items, as far as it can be told; None where it cannot.
        examples: keys of the recent items that are least like the reference.
        id: names this look: it changes with the items, the models and the settings.
        folder: where it is written down.
    """

    recipe: str
    champion: str | None
    version: str
    seen_by: str
    false_alarms: float
    came: int
    shifts: tuple[Shift, ...]
    foreseen: Foreseen | None
    examples: tuple[str, ...]
    id: str
    folder: Path

    @property
    def found(self) -> tuple[str, ...]:
        """What has drifted."""
        return tuple(shift.what for shift in self.shifts if shift.state == "drift")

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "folder": str(self.folder), "drifted": list(self.found)}

    @classmethod
    def read(cls, folder: Path) -> Drift:
        """One that was written down."""
        fields = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        del fields["drifted"]
        promised = fields["foreseen"]
        if promised is not None:
            promised = Foreseen(**{**promised, "tested": tuple(promised["tested"])})
        shifts = tuple(Shift(**shift) for shift in fields["shifts"])
        known = {"shifts": shifts, "foreseen": promised, "examples": tuple(fields["examples"])}
        return cls(**{**fields, **known, "folder": folder})


def drift(recipe: Recipe, workspace: Workspace | None = None, progress: Progress | None = None) -> Drift:
    """Hold what came since the champion's version against what that version knew; nothing is changed.

    Args:
        recipe: whose, and how by its `drift:`.
        workspace: where.
        progress: where to tell how far it is.

    Raises:
        VersionError: there is no version to hold anything against.
        ModelError: the champion cannot be loaded.
    """
    workspace, progress = workspace or Workspace.open(), progress or Silent()
    with workspace.lock(recipe.name):
        champion = wiring.registry(workspace).champion(recipe.name)
        version = wiring.version_of(workspace, recipe.name, None if champion is None else champion.version)
        looking = _Look(recipe, workspace, progress, champion, version)
        folder = workspace.runs / recipe.name / f"drift-{looking.id}"
        if (folder / RESULT).exists():
            return Drift.read(folder)
        progress.say(f"drift: {len(looking.recent)} items that came since {version.ref}")
        found = looking.go(folder)
        folder.mkdir(parents=True, exist_ok=True)
        durable.replace(folder / RESULT, (json.dumps(found.facts(), ensure_ascii=False) + "\n").encode())
    progress.say(f"drift: {', '.join(found.found) or 'none was found'}")
    return found


class _Look:
    """One look at a recipe's items."""

    def __init__(
        self,
        recipe: Recipe,
        workspace: Workspace,
        progress: Progress,
        champion: ModelVersion | None,
        version: Version,
    ) -> None:
        self.recipe, self.workspace, self.progress = recipe, workspace, progress
        self.champion, self.version = champion, version
        self.latest = wiring.version_of(workspace, recipe.name, None)
        self.config = recipe.drift
        self.task = tasks.create(version.task)
        lines = version.ledger().lines()
        self.splits = {line.key: line.split for line in lines if line.outcome != "forgotten"}
        with workspace.engine.connect() as connection:
            states = ("current", "gone", "superseded")
            self.items = {item.key: item for item in items_of(connection, recipe.name, states)}
            only = self.config.recent == "production"
            self.recent = [
                item
                for item in items_of(connection, recipe.name)
                if item.key not in self.splits and (not only or item.source == production.NAME)
            ]

    @cached_property
    def id(self) -> str:
        """The name of this look."""
        champion = None if self.champion is None else self.champion.ref
        digests = [self.version.digest, self.latest.digest]
        keys = [item.key for item in self.recent]
        settings = [self.config.model_dump(mode="json"), self.chosen_at_random]
        return digest_of([__version__, champion, *digests, settings, keys])[:12]

    @cached_property
    def chosen_at_random(self) -> bool:
        """Whether what is labelled is so by lot."""
        return self.recipe.labeling.select.strategy.kind == "random"

    @cached_property
    def predictor(self) -> Predictor | None:
        """The champion, ready to answer."""
        return None if self.champion is None else wiring.predictor(self.workspace, self.champion)

    def go(self, folder: Path) -> Drift:
        """Look."""
        config = self.config
        new = drawn(self.recent, config.max_items, config.seed)
        old = held_out(self.items, self.splits, config.max_items, config.seed)
        by_champion = self.champion is not None and len(old) >= config.min_items
        if not by_champion:
            known = (self.items[key] for key in self.splits if key in self.items)
            old = drawn(known, config.max_items, config.seed)
        few = self._too_few(old, "items before") or self._too_few(new, "recent items")
        points, seen_by = (few, "nothing") if few else self._points(old, new, by_champion=by_champion)
        answers = few or self._answers(old, new, by_champion=by_champion)
        sides = Sides(points, *self._said(answers), self._labels())
        shifts, typical = look(sides, config.false_alarms, config.seed)
        drifted = any(shift.state == "drift" and shift.what.startswith("input") for shift in shifts)
        return Drift(
            recipe=self.recipe.name,
            champion=None if self.champion is None else self.champion.ref,
            version=self.version.ref,
            seen_by=seen_by,
            false_alarms=config.false_alarms,
            came=len(self.recent),
            shifts=shifts,
            foreseen=self._foreseen(old, answers, drifted=drifted),
            examples=tuple(new[place].key for place in typical),
            id=self.id,
            folder=folder,
        )

    def _too_few(self, side: Sequence[Any], what: str) -> str:
        fewest = self.config.min_items
        return f"{len(side)} {what}, it takes {fewest}" if len(side) < fewest else ""

    def _points(
        self, old: Sequence[Item], new: Sequence[Item], *, by_champion: bool
    ) -> tuple[tuple[Any, Any], str]:
        predictor = self.predictor if by_champion else None
        folder = "" if self.champion is None else str(wiring.registry(self.workspace).download(self.champion))
        items = [*old, *new]
        made, seen_by = points_of(self.recipe, self.workspace, predictor, folder, items, self.progress)
        return (made[: len(old)], made[len(old) :]), seen_by

    def _answers(self, old: Sequence[Item], new: Sequence[Item], *, by_champion: bool) -> Answers | str:
        """What the champion says of both sides, or why it is not asked."""
        if self.predictor is None:
            return "there is no champion yet"
        if not by_champion:
            return "the champion has learned from too many of the items before"
        said = answers_of(self.workspace, self.predictor, [*old, *new], self.progress, "ask")
        return said[: len(old)], said[len(old) :]

    def _said(self, answers: Answers | str) -> tuple[Any, Any]:
        """Classes and confidence of both sides, or why they are not known."""
        if isinstance(answers, str):
            return answers, answers
        words = tuple(in_words(self.task, [each.target for each in side]) for side in answers)
        sure = tuple([each.confidence for each in side] for side in answers)
        return words if self.task.classes else "the answers have no classes", sure

    def _labels(self) -> Any:
        """What people say of items of the version, and of those labelled since; or why that is not known."""
        if not self.task.classes:
            return "the answers have no classes"
        if self.latest.digest == self.version.digest:
            return "there is no version since"
        if not self.chosen_at_random:
            return "what is labelled is chosen by a strategy, so that labels tell of the choice"
        sides = []
        for rows, among in ((Rows(self.version), None), (Rows(self.latest), self.splits)):
            groups = dict(zip(rows.keys, rows.groups, strict=True))
            one = {
                groups[key]: target for key, target in rows.targets.items() if not among or not among.get(key)
            }
            sides.append(in_words(self.task, list(one.values())))
        return (
            self._too_few(sides[1], "labels since")
            or self._too_few(sides[0], "labels before")
            or tuple(sides)
        )

    def _foreseen(self, old: Sequence[Item], answers: Answers | str, *, drifted: bool) -> Foreseen | None:
        """The champion's accuracy on recent items; None where answers are not right or wrong."""
        predictor = self.predictor
        if isinstance(answers, str) or predictor is None or not self.task.answers_are_classes:
            return None
        targets = Rows(self.version).targets
        tested = [
            (said.confidence, self.task.agreement(said.target, targets[item.key]))
            for item, said in zip(old, answers[0], strict=True)
            if item.key in targets
        ]
        if any(0 < right < 1 for _, right in tested):
            return None
        return foreseen(
            [said.confidence for said in answers[1]],
            [sure for sure, _ in tested],
            [right for _, right in tested],
            tempered=TEMPERATURE in predictor.model.settings,
            drifted=drifted,
        )
