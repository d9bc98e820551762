"""`kind: size`: the model's files must not be larger than so much."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from typing_extensions import override

from goldloop.evaluation.costs import Costs
from goldloop.evaluation.gates._cost_limit import CostLimit
from goldloop.evaluation.gates.base import GateConfig


class Size(CostLimit):
    """Passes where the model's folder has no more than the value."""

    unit = "MB"

    class Config(GateConfig):
        """What a recipe says of it."""

        megabytes: float = Field(gt=0)

    config: Config

    @property
    @override
    def limit(self) -> float:
        return self.config.megabytes

    @override
    def figure(self, costs: Costs) -> float:
        return costs.size / 1e6

    @override
    def told(self, costs: Costs) -> str:
        return f"the model's files have {self.figure(costs):.3f} MB"

    @override
    @classmethod
    def example_config(cls, metric: str) -> dict[str, Any]:
        return {"kind": "size", "megabytes": 1000}
