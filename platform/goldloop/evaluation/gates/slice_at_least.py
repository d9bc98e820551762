"""`kind: slice-at-least`: on no part of the items may the model be below a value.

A slice of few items is below any value now and then: it is refused only if its whole 95% interval is.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field
from typing_extensions import override

from goldloop.evaluation.gates.base import Gate, GateConfig, Verdict, keys
from goldloop.evaluation.report import Report


class SliceAtLeast(Gate):
    """Passes where the mean agreement of every slice may be as high as the value."""

    class Config(GateConfig):
        """What a recipe says of it."""

        value: float = Field(ge=0, le=1)
        """Mean agreement with the labels, in [0, 1]: accuracy, where answers are classes."""
        by: tuple[str, ...] = ()
        """Circumstances whose slices count, such as `source`; by default all that the report has."""
        fewest: int = Field(default=20, ge=1)
        """Items that a slice must have to count."""

    config: Config

    @override
    def judge(self, report: Report, champion: Report | None) -> Verdict:
        config = self.config
        gate = f"{config.kind} {config.value:g}{' by ' + ', '.join(config.by) if config.by else ''}"
        known = {each.circumstance for each in report.slices}
        if unknown := sorted(set(config.by) - known):
            there = ", ".join(sorted(known)) or "none"
            explanation = f"the report has no slices by {', '.join(unknown)}, only by {there}"
            return Verdict(gate=gate, passed=False, figure=None, explanation=explanation)
        wanted = config.by or known
        counted = [
            each for each in report.slices if each.circumstance in wanted and each.items >= config.fewest
        ]
        if not counted:
            explanation = f"no slice has {config.fewest} items, so none is judged"
            return Verdict(gate=gate, passed=True, figure=None, explanation=explanation)
        weakest = min(counted, key=lambda each: (each.agreement.high, each.agreement.value, each.name))
        figure = weakest.agreement
        passed = figure.high >= config.value
        stands = "may reach" if passed else "is below"
        return Verdict(
            gate=gate,
            passed=passed,
            figure=figure.value,
            explanation=f"the weakest of {len(counted)} slices is {weakest.name}: agreement "
            f"{figure.value:.3f} (95% interval {figure.low:.3f} to {figure.high:.3f} on "
            f"{weakest.items} items), "
            f"which {stands} {config.value:g}; it is {weakest.rest:.3f} elsewhere",
            examples=keys([item for item in report.wrong() if weakest.holds(item)]),
        )

    @override
    @classmethod
    def example_config(cls, metric: str) -> dict[str, Any]:
        return {"kind": "slice-at-least", "value": 0.8}
