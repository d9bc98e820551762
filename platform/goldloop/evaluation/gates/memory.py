"""`kind: memory`: the process that answers (on a GPU, the device) must not hold more than so much."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from typing_extensions import override

from goldloop.evaluation.gates.base import Gate, GateConfig, Verdict, unmeasured
from goldloop.evaluation.report import Report


class Memory(Gate):
    """Passes where the evaluation held no more than the value at any time."""

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
        found = report.costs.memory / 1e6
        passed = found <= most
        return Verdict(
            gate=gate,
            passed=passed,
            figure=found,
            explanation=f"at most {found:.3f} MB were held while the model was judged on "
            f"{report.costs.hardware}, {'within' if passed else 'more than'} {most:g} MB",
        )

    @override
    @classmethod
    def example_config(cls, metric: str) -> dict[str, Any]:
        return {"kind": "memory", "megabytes": 8000}
