"""What the stages of the loop give, and the search beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from goldloop.catalog.ledger import Balance
from goldloop.recipe import in_yaml

if TYPE_CHECKING:
    from goldloop.dataset.version import Version
    from goldloop.evaluation.gates.base import Verdict
    from goldloop.evaluation.report import Report
    from goldloop.registry.models import ModelVersion
    from goldloop.training.run import Run


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did: tasks made now, what became of every item, and where to annotate."""

    created: int
    balance: Balance
    address: str


@dataclass(frozen=True, slots=True)
class CollectedBooks:
    """What a collection found: annotations held, and what became of every task."""

    annotations: int
    balance: Balance
    address: str


@dataclass(frozen=True, slots=True)
class Promotion:
    """What the gates said, and whether the model is now champion."""

    model: ModelVersion
    verdicts: tuple[Verdict, ...]
    promoted: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the loop.

    `pushed` and `collected` are None where all labels were imported and nobody is asked; what comes after
    them is None while too little is labelled.
    """

    pulled: Balance
    pushed: Pushed | None
    collected: CollectedBooks | None
    version: Version | None = None
    run: Run | None = None
    report: Report | None = None
    promotion: Promotion | None = None
    preannotated: int = 0
    waiting: str | None = None


Outcome = Literal["finished", "pruned", "failed"]


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of a search.

    Attributes:
        number: from 0, in the order in which they were begun.
        settings: setting -> value, by names such as `training.learning_rate`.
        outcome: `pruned`: stopped early as others did better; `failed`: these settings do not train.
        value: the task's metric on the validation split, at the best evaluation; None where there was none.
        steps: how many it trained.
        seconds: what it cost, evaluation included.
        run: the id of its run.
        reason: why it failed.
    """

    number: int
    settings: Mapping[str, Any]
    outcome: Outcome
    value: float | None
    steps: int
    seconds: float
    run: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a search found.

    Attributes:
        name: the recipe's.
        version: `NAME@DIGEST` that it was searched on.
        metric: what chose; higher is better.
        validation_items: how many items it was measured on.
        trials: all of them, in order.
        best: the one with the highest value; it is among `trials`.
        own: what the recipe's own settings reached, which are trial 0 where the space holds them.
        importance: setting -> share of what made trials differ, adding up to 1; None for too few trials.
        seconds: what all trials cost.
        folder: of the best run.
    """

    name: str
    version: str
    metric: str
    validation_items: int
    trials: tuple[Trial, ...]
    best: Trial
    own: float | None
    importance: Mapping[str, float] | None
    seconds: float
    folder: Path

    @property
    def overrides(self) -> list[str]:
        """The best settings as any command takes them behind a recipe."""
        return [f"{name}={in_yaml(value)}" for name, value in self.best.settings.items()]

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "folder": str(self.folder), "overrides": self.overrides}
