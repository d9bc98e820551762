"""`kind: calibration`: the model must be right about as often as it is sure."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from typing_extensions import override

from goldloop.evaluation.gates.base import Gate, GateConfig, Verdict, keys
from goldloop.evaluation.report import Report


class Calibration(Gate):
    """Passes where the expected calibration error is no more than the value."""

    class Config(GateConfig):
        """What a recipe says of it."""

        value: float = Field(ge=0, le=1)
        """Expected calibration error at most."""

    config: Config

    @override
    def judge(self, report: Report, champion: Report | None) -> Verdict:
        most = self.config.value
        gate = f"{self.config.kind} {most:g}"
        found = report.calibration
        if found is None:
            explanation = (
                f"the report tells no calibration: {report.task['kind']} has no probability of being right, "
                f"or the split fewer than twenty items"
            )
            return Verdict(gate=gate, passed=False, figure=None, explanation=explanation)
        error = found.error
        passed = error.value <= most
        sure = "surer than it is right" if found.overconfidence > 0 else "less sure than it is right"
        return Verdict(
            gate=gate,
            passed=passed,
            figure=error.value,
            explanation=f"the expected calibration error is {error.value:.3f} (95% interval {error.low:.3f} "
            f"to {error.high:.3f}, {found.by_chance:.3f} by chance alone), "
            f"{'at most' if passed else 'more than'} {most:g}, "
            f"the model {abs(found.overconfidence):.3f} {sure}",
            examples=keys(report.wrong()),
        )

    @override
    @classmethod
    def example_config(cls, metric: str) -> dict[str, Any]:
        return {"kind": "calibration", "value": 0.2}
