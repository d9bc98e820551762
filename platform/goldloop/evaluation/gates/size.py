"""`kind: size`: the model's files must not be larger than so much."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from typing_extensions import override

from goldloop.evaluation.gates.base import Gate, GateConfig, Verdict, unmeasured
from goldloop.evaluation.report import Report


class Size(Gate):
    """Passes where the model's folder has no more than the value."""

    about = "costs"

    class Config(GateConfig):
        """What a recipe says of it."""

        megabytes: float = Field(gt=0)

    config: Config

    @override
    def judge(self, report: Report, champion: Report | None) -> Verdict:
        most = self.config.megabytes
        gate = f"{self.config.kind} {most:g} MB"
        if report.costs is None:
            return unmeasured(gate)
        found = report.costs.size / 1e6
        passed = found <= most
        return Verdict(
            gate=gate,
            passed=passed,
            figure=found,
            explanation=f"the model's files have {found:.3f} MB, "
            f"{'within' if passed else 'more than'} {most:g} MB",
        )

    @override
    @classmethod
    def example_config(cls, metric: str) -> dict[str, Any]:
        return {"kind": "size", "megabytes": 1000}
