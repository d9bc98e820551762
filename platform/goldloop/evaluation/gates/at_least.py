"""`kind: at-least`: a figure must reach a value."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from typing_extensions import override

from goldloop.evaluation.gates.base import Gate, GateConfig, Verdict, keys, lacks
from goldloop.evaluation.report import Report


class AtLeast(Gate):
    """Passes where the measured figure reaches the value; its interval is told, not held against it."""

    class Config(GateConfig):
        """What a recipe says of it."""

        metric: str
        value: float = Field(allow_inf_nan=False)

    config: Config

    @override
    def judge(self, report: Report, champion: Report | None) -> Verdict:
        metric, wanted = self.config.metric, self.config.value
        gate = f"{self.config.kind} {metric} {wanted:g}"
        if metric not in report.metrics:
            return lacks(gate, metric, report)
        figure = report.metrics[metric]
        passed = figure.value >= wanted
        stands = "reaches" if passed else f"is {wanted - figure.value:.3f} below"
        doubt = ", which lies within the interval" if figure.low <= wanted <= figure.high else ""
        weakest = "" if passed else _weakest(report)
        return Verdict(
            gate=gate,
            passed=passed,
            figure=figure.value,
            explanation=f"{metric} {figure.value:.3f} (95% interval {figure.low:.3f} to {figure.high:.3f} "
            f"on {len(report.items)} items) {stands} {wanted:g}{doubt}{weakest}",
            examples=keys(report.wrong()),
        )

    @override
    @classmethod
    def example_config(cls, metric: str) -> dict[str, Any]:
        return {"kind": "at-least", "metric": metric, "value": 0.9}


def _weakest(report: Report) -> str:
    """The class that the model knows least, as the end of a sentence."""
    held = {name: figures for name, figures in report.per_class.items() if figures["support"] > 0}
    if not held:
        return ""
    name = min(held, key=lambda name: (held[name]["f1"], name))
    figures = held[name]
    return (
        f", weakest in class {name!r} (f1 {figures['f1']:.3f}, recall {figures['recall']:.3f} "
        f"of {figures['support']:.0f})"
    )
