"""By how much a model is too sure: the temperature that its logits are divided by (Guo et al. 2017).

    On calibration of modern neural networks: one number, found on the validation split, which changes no
    answer, only how sure the model is of it.

Found where the likelihood of the labels is greatest, held back towards 1 as if by one observation: of a split
on which a model makes no error, it would be 0 otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

FEWEST = 50
"""Items that a validation split has at least: fewer say too little of how sure a model should be."""

_WIDEST = 8.0
_FLOOR = 1e-12


def temperature_of(scores: Sequence[Mapping[str, float]], expected: Sequence[str]) -> float | None:
    """The temperature of predictions whose scores are probabilities; None of too few items.

    Args:
        scores: probability of each class, of N items.
        expected: the class of each item's label.
    """
    import numpy
    from scipy.optimize import minimize_scalar

    if len(expected) < FEWEST:
        return None
    names = {name: place for place, name in enumerate(scores[0])}
    probabilities = numpy.array([[row[name] for name in names] for row in scores], dtype=numpy.float64)
    places = numpy.array([names[name] for name in expected])
    logits = numpy.log(numpy.maximum(probabilities, _FLOOR))
    rows = numpy.arange(len(places))

    def loss(log_temperature: float) -> float:
        scaled = logits / numpy.exp(log_temperature)
        highest = scaled.max(axis=1)
        normal = highest + numpy.log(numpy.exp(scaled - highest[:, None]).sum(axis=1))
        return float((normal - scaled[rows, places]).sum() + log_temperature**2 / 2)

    reach = float(numpy.log(_WIDEST))
    found = minimize_scalar(loss, bounds=(-reach, reach), method="bounded")
    return float(numpy.exp(found.x))
