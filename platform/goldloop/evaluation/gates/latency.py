"""`kind: latency`: an item that is asked alone must be answered in time, on the hardware that judges."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from typing_extensions import override

from goldloop.evaluation.costs import Costs
from goldloop.evaluation.gates._cost_limit import CostLimit
from goldloop.evaluation.gates.base import GateConfig


class Latency(CostLimit):
    """Passes where 99 of 100 answers take no longer than the value."""

    unit = "ms"

    class Config(GateConfig):
        """What a recipe says of it."""

        milliseconds: float = Field(gt=0)

    config: Config

    @property
    @override
    def limit(self) -> float:
        return self.config.milliseconds

    @override
    def figure(self, costs: Costs) -> float:
        return 1000 * costs.latency_p99

    @override
    def told(self, costs: Costs) -> str:
        return (
            f"99 of 100 items that are asked alone take no more than {self.figure(costs):.3f} ms (half of "
            f"them {1000 * costs.latency_p50:.3f}) on {costs.hardware}"
        )

    @override
    @classmethod
    def example_config(cls, metric: str) -> dict[str, Any]:
        return {"kind": "latency", "milliseconds": 500}
