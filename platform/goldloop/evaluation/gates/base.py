"""What every gate has in common."""

from __future__ import annotations

from abc import abstractmethod

from pydantic import BaseModel, ConfigDict

from goldloop.evaluation.report import Report
from goldloop.plugins import Plugin, PluginConfig


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
    """A condition that a model must meet."""

    Config = GateConfig

    @abstractmethod
    def judge(self, report: Report, champion: Report | None) -> Verdict:
        """Judge a model by its report.

        Args:
            report: the challenger's, on the test split.
            champion: the present champion's on the same items; None while there is no champion.
        """
