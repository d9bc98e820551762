"""What a run tells of itself while it goes; the loop shows it and hands it to the tracking server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from goldloop.training.throughput import Throughput


@dataclass(frozen=True, slots=True)
class StepLogged:
    """Some steps have been done since the last one of these.

    Attributes:
        step: steps done so far, over all sessions of the run.
        total: steps that the run has if it is not stopped early.
        epoch: epochs begun so far, from 1.
        loss: mean over the examples since the last one of these.
        learning_rate: of the last step.
        samples_per_second: over all processes, since the last one of these.
        speed: how fast the last steps went, as this process timed them; None before any was timed.
    """

    step: int
    total: int
    epoch: int
    loss: float
    learning_rate: float
    samples_per_second: float
    speed: Throughput | None = None


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The model has been scored on the validation split.

    Attributes:
        step, epoch: as in `StepLogged`.
        metrics: every figure of the task's `score`.
        best: whether these are the best weights so far.
    """

    step: int
    epoch: int
    metrics: Mapping[str, float]
    best: bool


@dataclass(frozen=True, slots=True)
class Note:
    """Something that the user should know."""

    text: str


Event = StepLogged | Evaluated | Note
