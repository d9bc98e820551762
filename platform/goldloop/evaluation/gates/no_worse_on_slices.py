"""`kind: no-worse-on-slices`: a challenger that is better on the whole may not be worse on a part.

For each slice the two models' agreement with the labels is compared item by item. A loss counts if it is more
than `margin` AND the greatest loss of any slice would hardly be as great if the two were equally good: which
of them gave which of an item's answers is drawn anew, many times over, for all slices at once (Westfall and
Young 1993). So an equally good challenger is refused in at most 1 of 20 comparisons, however many slices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field
from typing_extensions import override

from goldloop.evaluation.gates.base import Gate, GateConfig, Verdict, keys
from goldloop.evaluation.report import Report

if TYPE_CHECKING:
    from numpy.typing import NDArray

FALSE_ALARMS = 0.05
"""In how many of all comparisons an equally good challenger may be refused."""

_RESAMPLES = 2000


class NoWorseOnSlices(Gate):
    """Passes where there is no champion, or no slice with a loss that is larger than margin and chance."""

    class Config(GateConfig):
        """What a recipe says of it."""

        margin: float = Field(default=0.02, ge=0, allow_inf_nan=False)
        """A loss of mean agreement so small is nobody's concern."""
        by: tuple[str, ...] = ()
        """Circumstances whose slices count, such as `source`; by default all that the report has."""

    config: Config

    @override
    def judge(self, report: Report, champion: Report | None) -> Verdict:
        config = self.config
        gate = f"{config.kind} (margin {config.margin:g})"
        if champion is None:
            explanation = "there is no champion yet that it could be worse than"
            return Verdict(gate=gate, passed=True, figure=None, explanation=explanation)
        before = {item.key: item for item in champion.items}
        both = [item for item in report.items if item.key in before]
        slices = [each for each in report.slices if not config.by or each.circumstance in config.by]
        found = [(each, [place for place, item in enumerate(both) if each.holds(item)]) for each in slices]
        found = [(each, places) for each, places in found if places]
        if not found:
            explanation = f"no slice is in the reports of both, so none is worse than {champion.model}"
            return Verdict(gate=gate, passed=True, figure=None, explanation=explanation)
        gains = [item.agreement - before[item.key].agreement for item in both]
        losses, chances = _losses(gains, [places for _, places in found])
        worst = min(range(len(found)), key=lambda number: (chances[number], -losses[number]))
        slice_, places = found[worst]
        loss, chance = losses[worst], chances[worst]
        # Counts divided and subtracted: a loss of just the margin must not become larger by rounding.
        passed = not (loss > config.margin + 1e-9 and chance <= FALSE_ALARMS)
        now = sum(both[place].agreement for place in places) / len(places)
        lost = [
            item
            for item in report.wrong()
            if slice_.holds(item) and item.key in before and item.agreement < before[item.key].agreement
        ]
        return Verdict(
            gate=gate,
            passed=passed,
            figure=-loss,
            explanation=f"the greatest loss of {len(found)} slices is on {slice_.name}: agreement "
            f"{now + loss:.3f} to {now:.3f} on the same {len(places)} items, a difference of {-loss:+.3f}, "
            f"as great as the greatest of equally good models in {chance:.1%} of comparisons, on the whole "
            f"{sum(gains) / len(gains):+.3f} against {champion.model}",
            examples=keys(lost),
        )

    @override
    @classmethod
    def example_config(cls, metric: str) -> dict[str, Any]:
        return {"kind": "no-worse-on-slices"}


def _losses(gains: list[float], slices: list[list[int]], seed: int = 0) -> tuple[list[float], list[float]]:
    """Mean loss of each slice, and how often the greatest of equally good models is as great."""
    import numpy

    members: NDArray[Any] = numpy.zeros((len(gains), len(slices)))
    for number, places in enumerate(slices):
        members[places, number] = 1
    counts = members.sum(axis=0)
    differences = numpy.asarray(gains)
    # In slices with many differing answers, chance makes greater differences.
    scale = numpy.sqrt(numpy.square(differences) @ members) / counts
    scale[scale == 0] = numpy.inf
    losses = -(differences @ members) / counts
    signs = numpy.random.default_rng(seed).choice([-1.0, 1.0], size=(_RESAMPLES, len(gains)))
    greatest = ((signs * differences) @ members / counts / scale).max(axis=1)
    as_great = (greatest[:, None] >= losses / scale - 1e-9).sum(axis=0)
    return losses.tolist(), ((1 + as_great) / (1 + _RESAMPLES)).tolist()
