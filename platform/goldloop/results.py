"""What the stages of the loop give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from goldloop.catalog.ledger import Balance

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
