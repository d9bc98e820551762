"""`kind: latency`: an item that is asked alone must be answered in time, on the hardware that judges."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from typing_extensions import override

from goldloop.evaluation.gates.base import Gate, GateConfig, Verdict, unmeasured
from goldloop.evaluation.report import Report


class Latency(Gate):
    """Passes where 99 of 100 answers take no longer than the value."""

    about = "costs"

    class Config(GateConfig):
        """What a recipe says of it."""

        milliseconds: float = Field(gt=0)

    config: Config

    @override
    def judge(self, report: Report, champion: Report | None) -> Verdict:
        most = self.config.milliseconds
        gate = f"{self.config.kind} {most:g} ms"
        if report.costs is None:
            return unmeasured(gate)
        found = 1000 * report.costs.latency_p99
        passed = found <= most
        return Verdict(
            gate=gate,
            passed=passed,
            figure=found,
            explanation=f"99 of 100 items that are asked alone take no more than {found:.3f} ms (half of "
            f"them {1000 * report.costs.latency_p50:.3f}) on {report.costs.hardware}, "
            f"{'within' if passed else 'more than'} {most:g} ms",
        )

    @override
    @classmethod
    def example_config(cls, metric: str) -> dict[str, Any]:
        return {"kind": "latency", "milliseconds": 500}
