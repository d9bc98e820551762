"""Whether a model is right as often as it is sure: reliability, and the expected calibration error.

Items are put into bins of equally many by confidence; in each, the mean confidence is held against the mean
agreement with the labels (Naeini, Cooper and Hauskrecht, Obtaining well calibrated probabilities using
Bayesian binning, 2015; equal mass as Nixon et al., Measuring calibration in deep learning, 2019). Of few
items the error is never 0, however well calibrated: what chance alone would give is told beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from goldloop.evaluation.judged import Estimate, Judged

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BINS = 10
_RESAMPLES = 500
_FEWEST = 20


class Bin(BaseModel):
    """Items of like confidence.

    Attributes:
        items: how many.
        confidence: in the mean, in [0, 1].
        agreement: in the mean, in [0, 1].
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    items: int
    confidence: float
    agreement: float


class Calibration(BaseModel):
    """How far confidence is from what it promises.

    Attributes:
        error: expected calibration error, in [0, 1], with its 95% interval over resampled items.
        by_chance: the error that a perfectly calibrated model of these confidences has in the mean.
        overconfidence: mean confidence minus mean agreement, in [-1, 1].
        bins: by confidence, the least sure first.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    error: Estimate
    by_chance: float
    overconfidence: float
    bins: tuple[Bin, ...]


def calibration_of(items: Sequence[Judged], seed: int = 0) -> Calibration | None:
    """The calibration of a model by judged items; None of fewer than 20 items.

    Args:
        items: of a task whose answers are right or wrong, and whose confidence is a probability.
        seed: of the resampling.
    """
    import numpy

    if len(items) < _FEWEST:
        return None
    confidence = numpy.array([item.confidence for item in items])
    agreement = numpy.array([item.agreement for item in items])
    order = numpy.argsort(confidence, kind="stable")
    confidence, agreement = confidence[order], agreement[order]
    # As many bins as have ten items each: with fewer, an error is mostly noise.
    count = min(_BINS, len(items) // _BINS)
    parts = numpy.array_split(numpy.arange(len(items)), max(count, 1))

    def error(sure: NDArray[Any], right: NDArray[Any]) -> float:
        gaps = [abs(sure[part].mean() - right[part].mean()) * len(part) for part in parts]
        return float(sum(gaps) / len(sure))

    generator = numpy.random.default_rng(seed)
    drawn, fair = [], []
    for _ in range(_RESAMPLES):
        chosen = numpy.sort(generator.integers(len(items), size=len(items)))
        drawn.append(error(confidence[chosen], agreement[chosen]))
        fair.append(error(confidence, (generator.random(len(items)) < confidence).astype(float)))
    value = error(confidence, agreement)
    low, high = numpy.percentile(drawn, [2.5, 97.5]).tolist()
    bins = tuple(
        Bin(
            items=len(part),
            confidence=float(confidence[part].mean()),
            agreement=float(agreement[part].mean()),
        )
        for part in parts
    )
    return Calibration(
        error=Estimate(value=value, low=min(low, value), high=max(high, value)),
        by_chance=float(numpy.mean(fair)),
        overconfidence=float(confidence.mean() - agreement.mean()),
        bins=bins,
    )
