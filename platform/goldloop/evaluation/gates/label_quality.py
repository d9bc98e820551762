"""`kind: label-quality`: the labels that judge must be ones that annotators agree about.

A test split whose labels are disputed cannot tell a good model from a better one.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from typing_extensions import override

from goldloop.evaluation.gates.base import Gate, GateConfig, Verdict, unmeasured
from goldloop.evaluation.report import Report


class LabelQuality(Gate):
    """Passes where annotators of the version agree as far as they must."""

    about = "data"

    class Config(GateConfig):
        """What a recipe says of it."""

        value: float = Field(ge=-1, le=1)
        measure: Literal["agreement", "alpha"] = "agreement"
        """`alpha` is Krippendorff's, beyond chance; `agreement` the mean over items."""
        fewest: int = Field(default=30, ge=1)
        """Items that two annotators must have answered."""

    config: Config

    @override
    def judge(self, report: Report, champion: Report | None) -> Verdict:
        config, data = self.config, report.data
        gate = f"{config.kind} {config.measure} {config.value:g}"
        if data is None:
            return unmeasured(gate)
        figure = data.agreement if config.measure == "agreement" else data.alpha
        if figure is None or data.items_compared < config.fewest:
            explanation = (
                f"{data.items_compared} items of {report.version} were answered by two annotators, "
                f"{config.fewest} are needed"
            )
            return Verdict(gate=gate, passed=False, figure=figure, explanation=explanation)
        passed = figure >= config.value
        return Verdict(
            gate=gate,
            passed=passed,
            figure=figure,
            explanation=f"the {config.measure} of annotators is {figure:.3f} on {data.items_compared} items "
            f"of {report.version}, {'at least' if passed else 'below'} {config.value:g}",
        )

    @override
    @classmethod
    def example_config(cls, metric: str) -> dict[str, Any]:
        return {"kind": "label-quality", "value": 0.7}
