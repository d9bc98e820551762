"""What every gate has in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from goldloop.evaluation.judged import Judged
from goldloop.evaluation.report import Report
from goldloop.plugins import Plugin, PluginConfig

MOST_EXAMPLES = 20


class GateConfig(PluginConfig):
    """What every gate's configuration has."""


class Verdict(BaseModel):
    """What one gate said of one model.

    Attributes:
        gate: the gate in words, such as `at-least accuracy 0.95`.
        passed: whether the model may go on.
        figure: what was measured, None where nothing could be.
        explanation: one sentence with figure, interval, threshold and by how much.
        examples: content keys of items that speak against the model, worst first.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    gate: str
    passed: bool
    figure: float | None
    explanation: str
    examples: tuple[str, ...] = ()


class Gate(Plugin):
    """A condition that a model must meet.

    Laws, held by the contract suite: a perfect model passes a gate that `example_config` describes, an
    awful one does not; a figure that the report lacks is a refusal that names those it has.
    """

    Config = GateConfig
    about: ClassVar[Literal["answers", "costs", "data"]] = "answers"
    """What it looks at: what the model says, what it costs to ask, or what it is judged by."""

    @abstractmethod
    def judge(self, report: Report, champion: Report | None) -> Verdict:
        """Judge a model by its report.

        Args:
            report: the challenger's, on the test split.
            champion: the present champion's on the same items; None while there is no champion.

        Raises:
            ModelError: the two reports are not about the same items.
        """

    @classmethod
    @abstractmethod
    def example_config(cls, metric: str) -> dict[str, Any]:
        """A recipe's entry under `gates:`, for a task whose figure is `metric`."""


def lacks(gate: str, metric: str, report: Report) -> Verdict:
    """The verdict of a gate that asks for a figure which the report does not have."""
    known = ", ".join(sorted(report.metrics))
    explanation = f"the report has no figure {metric!r}, only {known}"
    return Verdict(gate=gate, passed=False, figure=None, explanation=explanation)


def unmeasured(gate: str) -> Verdict:
    """The verdict of a gate that asks for what an older report does not tell."""
    explanation = "the report does not tell it: it is of an older goldloop, so evaluate again"
    return Verdict(gate=gate, passed=False, figure=None, explanation=explanation)


def keys(items: list[Judged]) -> tuple[str, ...]:
    """The content keys of the first of these items."""
    return tuple(item.key for item in items[:MOST_EXAMPLES])
