"""`kind: throughput`: items in batches must be answered fast enough, in number or against the champion.

What is fast enough in number depends on the hardware; against the champion, both are measured on the same.
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator
from typing_extensions import override

from goldloop.evaluation.gates.base import Gate, GateConfig, Verdict, unmeasured
from goldloop.evaluation.report import Report


class Throughput(Gate):
    """Passes where the model answers as many items a second as it must."""

    about = "costs"

    class Config(GateConfig):
        """What a recipe says of it."""

        items_per_second: float | None = Field(default=None, gt=0)
        """At least so many."""
        of_champion: float | None = Field(default=None, gt=0)
        """At least this share of what the champion answers on the same hardware."""

        @model_validator(mode="after")
        def _asks_for_something(self) -> Self:
            if self.items_per_second is None and self.of_champion is None:
                raise ValueError("throughput needs `items_per_second` or `of_champion`")
            return self

    config: Config

    @override
    def judge(self, report: Report, champion: Report | None) -> Verdict:
        config, costs = self.config, report.costs
        wanted = []
        if config.items_per_second is not None:
            wanted.append(f"{config.items_per_second:g} items/s")
        if config.of_champion is not None:
            wanted.append(f"{config.of_champion:g} of the champion's")
        gate = f"{config.kind} {', '.join(wanted)}"
        if costs is None:
            return unmeasured(gate)
        found, least, why = costs.items_per_second, config.items_per_second or 0.0, ""
        if config.of_champion is not None and champion is not None:
            rival = champion.costs
            if rival is None or rival.hardware != costs.hardware:
                there = "not measured" if rival is None else f"measured on {rival.hardware}"
                explanation = (
                    f"{found:.3f} items/s on {costs.hardware} cannot be compared, as {champion.model} "
                    f"was {there}"
                )
                return Verdict(gate=gate, passed=False, figure=found, explanation=explanation)
            least = max(least, config.of_champion * rival.items_per_second)
            why = f", {found / rival.items_per_second:.2f} of what {champion.model} answers"
        passed = found >= least
        return Verdict(
            gate=gate,
            passed=passed,
            figure=found,
            explanation=f"{found:.3f} items/s on {costs.hardware}{why}, "
            f"{'at least' if passed else 'below'} {least:.1f}",
        )

    @override
    @classmethod
    def example_config(cls, metric: str) -> dict[str, Any]:
        return {"kind": "throughput", "items_per_second": 1, "of_champion": 0.5}
