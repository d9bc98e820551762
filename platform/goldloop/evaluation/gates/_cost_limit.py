"""What gates have in common that hold one figure of a model's costs against the most that it may be."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from typing_extensions import override

from goldloop.evaluation.costs import Costs
from goldloop.evaluation.gates.base import Gate, Verdict, unmeasured
from goldloop.evaluation.report import Report


class CostLimit(Gate):
    """Passes where the figure is at most the limit of the recipe."""

    about = "costs"
    unit: ClassVar[str]

    @property
    @abstractmethod
    def limit(self) -> float:
        """The most that it may be, in `unit`."""

    @abstractmethod
    def figure(self, costs: Costs) -> float:
        """What it is, in `unit`."""

    @abstractmethod
    def told(self, costs: Costs) -> str:
        """The figure in words, with its unit."""

    @override
    def judge(self, report: Report, champion: Report | None) -> Verdict:
        gate = f"{self.config.kind} {self.limit:g} {self.unit}"
        if report.costs is None:
            return unmeasured(gate)
        found = self.figure(report.costs)
        passed = found <= self.limit
        explanation = (
            f"{self.told(report.costs)}, {'within' if passed else 'more than'} {self.limit:g} {self.unit}"
        )
        return Verdict(gate=gate, passed=passed, figure=found, explanation=explanation)
