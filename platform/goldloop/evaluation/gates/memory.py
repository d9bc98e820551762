"""`kind: memory`: the process that answers (on a GPU, the device) must not hold more than so much."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from typing_extensions import override

from goldloop.evaluation.costs import Costs
from goldloop.evaluation.gates._cost_limit import CostLimit
from goldloop.evaluation.gates.base import GateConfig


class Memory(CostLimit):
    """Passes where the evaluation held no more than the value at any time."""

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
        return costs.memory / 1e6

    @override
    def told(self, costs: Costs) -> str:
        return f"at most {self.figure(costs):.3f} MB were held while the model was judged on {costs.hardware}"

    @override
    @classmethod
    def example_config(cls, metric: str) -> dict[str, Any]:
        return {"kind": "memory", "megabytes": 8000}
