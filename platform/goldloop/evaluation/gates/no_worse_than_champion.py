"""`kind: no-worse-than-champion`: the challenger must not be worse than the model that it would replace.

A challenger is refused if it is more than `margin` below the champion on the same items AND a loss so
large is unlikely to be chance: equally good models show it in at most 5% of comparisons, by a paired
randomisation test. So an equally good challenger is refused in at most 1 of 20 comparisons, whatever the
size of the test set, and fewer with a margin. Two models are compared, not two recipes: where another seed
alone makes a model that is truly worse by more than the margin, such a model is refused as any other.

The stricter rule, to demand that the interval's lower end stays above -margin, would refuse nearly every
equally good challenger on a test set of a few hundred items. The price of this one: on a small test
set a challenger that is somewhat worse may pass; the explanation has the interval, to see by. The more
test items, the smaller the loss that is seen.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field
from typing_extensions import override

from goldloop.evaluation.gates.base import Gate, GateConfig, Verdict, keys, lacks
from goldloop.evaluation.report import Report
from goldloop.tasks import tasks

FALSE_ALARMS = 0.05
"""In how many of all comparisons an equally good challenger may be refused."""


class NoWorseThanChampion(Gate):
    """Passes where there is no champion, or no loss against it that is larger than margin and chance."""

    class Config(GateConfig):
        """What a recipe says of it."""

        metric: str
        margin: float = Field(default=0.01, ge=0, allow_inf_nan=False)
        """A loss so small is nobody's concern."""

    config: Config

    @override
    def judge(self, report: Report, champion: Report | None) -> Verdict:
        from goldloop.evaluation.significance import compare

        metric, margin = self.config.metric, self.config.margin
        gate = f"{self.config.kind} {metric} (margin {margin:g})"
        if metric not in report.metrics:
            return lacks(gate, metric, report)
        figure = report.metrics[metric].value
        if champion is None:
            explanation = f"there is no champion yet that {metric} {figure:.3f} could be worse than"
            return Verdict(gate=gate, passed=True, figure=figure, explanation=explanation)
        if not {item.key for item in report.items} & {item.key for item in champion.items}:
            explanation = (
                f"{metric} {figure:.3f} cannot be compared with {champion.model}: no item judges both fairly"
            )
            return Verdict(gate=gate, passed=False, figure=figure, explanation=explanation)
        found = compare(tasks.create(report.task), report, champion, metric)
        difference = found.difference
        # Counts divided and subtracted: a loss of just the margin must not become larger by rounding.
        larger = difference.value < -margin - 1e-9
        passed = not (larger and found.chance <= FALSE_ALARMS)
        explanation = (
            f"{metric} {found.challenger:.3f} against {found.champion:.3f} of {champion.model} "
            f"on the same {len(found.keys)} items is a difference of {difference.value:+.3f} "
            f"(95% interval {difference.low:+.3f} to {difference.high:+.3f})"
            f"{_why(larger, passed, found.chance, margin)}{'' if passed else _slice(report, champion)}"
        )
        right_before = {item.key for item in champion.items if not item.wrong}
        lost = [item for item in report.wrong() if item.key in right_before]
        return Verdict(
            gate=gate, passed=passed, figure=found.challenger, explanation=explanation, examples=keys(lost)
        )

    @override
    @classmethod
    def example_config(cls, metric: str) -> dict[str, Any]:
        return {"kind": "no-worse-than-champion", "metric": metric}


def _why(larger: bool, passed: bool, chance: float, margin: float) -> str:
    if not larger:
        return f", not a loss of more than {margin:g}"
    seen = f"which equally good models show in {chance:.1%} of comparisons"
    if passed:
        return f", a loss of more than {margin:g} that may be chance, {seen}"
    return f", a loss of more than {margin:g}, {seen}"


def _slice(report: Report, champion: Report) -> str:
    """The class with the greatest loss of f1, as the end of a sentence."""
    both = {
        name: (champion.per_class[name]["f1"], figures["f1"])
        for name, figures in report.per_class.items()
        if name in champion.per_class and figures["support"] > 0
    }
    if not both:
        return ""
    name = min(both, key=lambda name: (both[name][1] - both[name][0], name))
    before, now = both[name]
    return f", most of all in class {name!r} (f1 {before:.3f} to {now:.3f})" if now < before else ""
