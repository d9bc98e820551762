"""What a search for the worth of more labels has found, and what it says of any number of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from goldloop.learning_curve.forecast import COVERAGE, Forecast, Measured, Span, forecast

_LADDER = (50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)


@dataclass(frozen=True, slots=True)
class Worth:
    """What a number of labels more would be worth.

    Attributes:
        more: how many, as annotators make them; all splits have their share.
        figure: of a model that learns from its share of them too.
        gain: that minus the figure by all labels of now.
    """

    more: int
    figure: Span
    gain: Span

    def in_words(self) -> str:
        """As in `200 more labels are worth +0.8 (+0.3 to +1.4) points`."""
        value, low, high = (100 * each for each in (self.gain.value, self.gain.low, self.gain.high))
        labels = "1 more label is" if self.more == 1 else f"{self.more:,} more labels are"
        return f"{labels} worth {value:+.1f} ({low:+.1f} to {high:+.1f}) points"


@dataclass(frozen=True, slots=True)
class Budget:
    """The learning curve of a version.

    Attributes:
        version: `NAME@DIGEST`.
        way: what was trained, `embeddings` or `training`.
        model: the same in words.
        metric: the task's figure.
        split: which split judged.
        judges: by how many items.
        labels: of all splits.
        curve: the figure by the number of labels that trained.
        page: where people read it.
    """

    version: str
    way: str
    model: str
    metric: str
    split: str
    judges: int
    labels: int
    curve: Measured
    page: str

    @property
    def trained(self) -> int:
        """The labels of the training split."""
        return self.curve.sizes[-1]

    def worth(self, more: int) -> Worth:
        """What so many more labels would be worth, of which training gets the share that it has now.

        Beyond twice the labels that there are the interval is a guess.
        """
        return self.worths([more])[0]

    def worths(self, numbers: Sequence[int]) -> list[Worth]:
        """The same of several numbers."""
        found = forecast(self.curve, [self._with(more) for more in numbers])
        return [Worth(more, each.figure, each.gain) for more, each in zip(numbers, found, strict=True)]

    def ladder(self) -> list[int]:
        """Round numbers of labels up to as many as there are, for a table; one at least."""
        return [more for more in _LADDER if more <= self.labels][-5:] or [_LADDER[0]]

    def curve_to(self, most: int, points: int = 24) -> list[Forecast]:
        """The curve itself, from the fewest labels measured to `most` that train, evenly by ratio."""
        import numpy

        sizes = {round(float(size)) for size in numpy.geomspace(self.curve.sizes[0], most, points)}
        return forecast(self.curve, sorted(sizes))

    def _with(self, more: int) -> int:
        return self.trained + round(more * self.trained / self.labels)

    def facts(self) -> dict[str, Any]:
        """As JSON: what was measured, and what a few numbers of labels would be worth."""
        worths = self.worths(self.ladder())
        return {**asdict(self), "coverage": COVERAGE, "worth": [asdict(each) for each in worths]}

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Budget:
        """What `facts` was made of."""
        names = cls.__dataclass_fields__.keys() - {"curve"}
        return cls(curve=Measured(**facts["curve"]), **{name: facts[name] for name in names})
