"""The figures of several trainings on the same items, and how sure those are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from goldloop.learning_curve.forecast import Measured
from goldloop.tasks.base import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

_RESAMPLES = 60
_TOLERANCE = 1e-9


class Judge:
    """Takes the answers of one training after the other.

    Args:
        task: whose figure.
        expected: labels of the items that judge, T of them.
    """

    def __init__(self, task: Task[Any], expected: Sequence[Any]) -> None:
        self.task = task
        self.expected = expected
        self._tallies: dict[int, list[list[Any]]] = {}
        self._right: dict[int, list[list[float]]] = {}

    def take(self, size: int, answers: Sequence[Any]) -> None:
        """The answers, in the order of the items, of a model that learned from so many labels."""
        pairs = list(zip(answers, self.expected, strict=True))
        self._tallies.setdefault(size, []).append([self.task.tally(*pair) for pair in pairs])
        self._right.setdefault(size, []).append([self.task.agreement(*pair) for pair in pairs])

    def curve(self) -> Measured:
        """All that was taken as a learning curve."""
        sizes = sorted(self._tallies)
        figures = [[self._figure(tallies) for tallies in self._tallies[size]] for size in sizes]
        means = all(
            abs(sum(right) / len(right) - figure) < _TOLERANCE
            for size, row in zip(sizes, figures, strict=True)
            for right, figure in zip(self._right[size], row, strict=True)
        )
        covariance = self._of_means(sizes) if means else self._resampled(sizes)
        return Measured(sizes, figures, covariance.tolist())

    def _figure(self, tallies: Sequence[Any]) -> float:
        return float(self.task.summarize(tallies)[self.task.metric])

    def _of_means(self, sizes: Sequence[int]) -> NDArray[Any]:
        """Where a figure is a mean over items: its covariance over resampled items `(S, S)`."""
        import numpy

        right = numpy.array([numpy.mean(self._right[size], axis=0) for size in sizes])
        found: NDArray[Any] = numpy.cov(right) / right.shape[1]
        return found

    def _resampled(self, sizes: Sequence[int]) -> NDArray[Any]:
        """For any figure: the same by resampling."""
        import numpy

        generator = numpy.random.default_rng(0)
        drawn = []
        for _ in range(_RESAMPLES):
            places = generator.integers(len(self.expected), size=len(self.expected)).tolist()
            drawn.append(
                [
                    numpy.mean(
                        [self._figure([each[place] for place in places]) for each in self._tallies[size]]
                    )
                    for size in sizes
                ]
            )
        found: NDArray[Any] = numpy.cov(numpy.array(drawn).T)
        return found
