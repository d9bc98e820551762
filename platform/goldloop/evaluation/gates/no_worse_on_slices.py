"""`kind: no-worse-on-slices`: a challenger that is better on the whole may not be worse on a part.

For each slice the two models' agreement with the labels is compared item by item. A loss counts if it is more
than `margin` AND the greatest loss of any slice would hardly be as great if the two were equally good: which
of them gave which of an item's answers is drawn anew, many times over, for all slices at once (Westfall and
Young 1993). So an equally good challenger is refused in at most 1 of 20 comparisons, however many slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field
from typing_extensions import override

from goldloop.evaluation.gates.base import Gate, GateConfig, Verdict, keys
from goldloop.evaluation.report import Report
from goldloop.evaluation.slices import Slice

if TYPE_CHECKING:
    from numpy.typing import NDArray

FALSE_ALARMS = 0.05
"""In how many of all comparisons an equally good challenger may be refused."""

_RESAMPLES = 2000
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class _Compared:
    """A slice, the mean agreement of the two models on its items, and how likely so great a loss is."""

    slice: Slice
    items: int
    before: float
    now: float
    chance: float

    @property
    def loss(self) -> float:
        return self.before - self.now

    def __str__(self) -> str:
        return (
            f"{self.slice.name}: agreement {self.before:.3f} to {self.now:.3f} on the same {self.items} "
            f"items, a difference of {-self.loss:+.3f}, as great as the greatest of equally good models in "
            f"{self.chance:.1%} of comparisons"
        )


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
        compared = []
        for (slice_, places), loss, chance in zip(found, losses, chances, strict=True):
            now = sum(both[place].agreement for place in places) / len(places)
            compared.append(_Compared(slice_, len(places), now + loss, now, chance))
        compared.sort(key=lambda each: (each.chance, -each.loss))
        # Counts divided and subtracted: a loss of just the margin must not become larger by rounding.
        counts = config.margin + 1e-9
        worse = [each for each in compared if each.loss > counts and each.chance <= FALSE_ALARMS]
        lost = [
            item
            for item in report.wrong()
            if any(each.slice.holds(item) for each in worse or compared[:1])
            and item.key in before
            and item.agreement < before[item.key].agreement
        ]
        whole = f"on the whole {sum(gains) / len(gains):+.3f} against {champion.model}"
        return Verdict(
            gate=gate,
            passed=not worse,
            figure=-(worse or compared)[0].loss,
            explanation=f"{_told(worse, compared)}; {whole}",
            examples=keys(lost),
        )

    @override
    @classmethod
    def example_config(cls, metric: str) -> dict[str, Any]:
        return {"kind": "no-worse-on-slices"}


def _told(worse: Sequence[_Compared], compared: Sequence[_Compared]) -> str:
    """In words: the slices that are worse, or the one that comes closest to it."""
    if not worse:
        return f"the greatest loss of {len(compared)} slices is on {compared[0]}"
    more = len(worse) - _MOST_NAMED
    named = [str(each) for each in worse[:_MOST_NAMED]] + ([f"and {more} more"] if more > 0 else [])
    return f"{len(worse)} of {len(compared)} slices lost: {'; '.join(named)}"


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
