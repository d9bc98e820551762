"""`kind: leakage`: nothing that judges the model may be known to it.

No judged item was trained on, groups and near-duplicates are in one split each, and the version's certificate
says that both were looked for.
"""

from __future__ import annotations

from typing import Any, ClassVar

from typing_extensions import override

from goldloop.evaluation.gates.base import MOST_EXAMPLES, Gate, GateConfig, Verdict, unmeasured
from goldloop.evaluation.report import Report

_CHECKS = ("every group is in one split", "near-duplicates are in one split")


class Leakage(Gate):
    """Passes where no item that judges is, or is nearly, one that the model was trained or chosen on."""

    about = "data"

    class Config(GateConfig):
        """What a recipe says of it."""

    config: Config
    checks: ClassVar[tuple[str, ...]] = _CHECKS

    @override
    def judge(self, report: Report, champion: Report | None) -> Verdict:
        gate, data = self.config.kind, report.data
        if data is None:
            return unmeasured(gate)
        unchecked = [check for check in self.checks if check not in data.checks]
        if data.seen is None:
            explanation = (
                "the version that the model was trained on is not at hand, so nobody knows what it has seen"
            )
            return Verdict(gate=gate, passed=False, figure=None, explanation=explanation)
        seen = len(data.seen)
        what = f"{seen} of {len(report.items)} items that judge were trained on"
        if unchecked:
            what += (
                f", and the certificate of {report.version} does not say that {' or that '.join(unchecked)}"
            )
        return Verdict(
            gate=gate,
            passed=not seen and not unchecked,
            figure=float(seen),
            explanation=what,
            examples=data.seen[:MOST_EXAMPLES],
        )

    @override
    @classmethod
    def example_config(cls, metric: str) -> dict[str, Any]:
        return {"kind": "leakage"}
