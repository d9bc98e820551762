"""What more labels would be worth, with an interval that holds as often as it says.

    figures of trainings on some of the labels -> how sure each mean is -> forms that fit, by how well -> gain

Trainings on n labels are J draws out of the N at hand; draws are nested, so figures of different sizes go
together. To first order a figure is a mean over its labels, which says how: with s2 the variance of one, the
mean over draws has covariance s2 / J (1 / max(n, m) - 1 / N) over them (sampling without return). The items
that judge add theirs, and as no form is exact, there is a little more. Given that, each form is fitted by
generalised least squares, and forms are drawn by how likely they make what was measured (Domhan et al., 2015,
with a grid in place of a Markov chain). What M more labels will then give depends on which these are too:
s2 M / (N (N + M)).

S = sizes, J = draws, F = forms, K = samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from goldloop.learning_curve.shapes import forms

if TYPE_CHECKING:
    from numpy.typing import NDArray

COVERAGE = 0.8
"""How often the truth lies in an interval."""

FEWEST_SIZES = 4
"""Fewer sizes do not tell a curve's form."""

_SAMPLES = 4000
_MISFIT = 0.015
"""How far a true curve is from the nearest form, as a share of its rise."""
_BEYOND = 0.3
"""How far what a true curve gains beyond is from what the nearest form says, as a share of that."""
_FREEDOM = 8
"""How well the variance of draws is known: that of so many of them."""
_FLOOR = 1e-4


@dataclass(frozen=True, slots=True)
class Measured:
    """A learning curve as it was measured.

    Attributes:
        sizes: S numbers of labels, rising; the last is all that there are.
        figures: `[size][draw]`; of the last size there may be one draw.
        items: covariance of the mean figures over resampled items that judge, `(S, S)`.
    """

    sizes: Sequence[int]
    figures: Sequence[Sequence[float]]
    items: Sequence[Sequence[float]]

    @property
    def means(self) -> list[float]:
        """The mean figure of each size."""
        return [sum(draws) / len(draws) for draws in self.figures]


@dataclass(frozen=True, slots=True)
class Span:
    """A number that is not known exactly.

    Attributes:
        value: what is expected of it.
        low, high: between them it lies `COVERAGE` of the time.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a number of labels would give.

    Attributes:
        labels: how many in all.
        figure: of a model that learns from that many.
        gain: that minus the figure of one that learns from all labels of now.
    """

    labels: int
    figure: Span
    gain: Span


def forecast(curve: Measured, asked: Sequence[int], *, best: float = 1.0, seed: int = 0) -> list[Forecast]:
    """What numbers of labels would give, in the order asked.

    Args:
        curve: what was measured.
        asked: numbers of labels in all.
        best: no figure is higher.
        seed: of the sampling.

    Raises:
        ValueError: fewer than four sizes, or sizes that do not rise.
    """
    import numpy

    sizes = numpy.asarray(curve.sizes, dtype=float)
    if len(sizes) < FEWEST_SIZES or (numpy.diff(sizes) <= 0).any():
        raise ValueError(f"{FEWEST_SIZES} rising sizes or more are needed, not {list(curve.sizes)}")
    labels, training = _noise(curve)
    inside, outside, prior = forms(curve.sizes, [*asked, curve.sizes[-1]])
    means, covariance = numpy.array(curve.means), _covariance(curve, labels, training)
    generator = numpy.random.default_rng(seed)
    values = _sampled(means, covariance, inside, outside, numpy.array(prior), best, generator)
    now = values[:, -1]
    found = []
    for place, size in enumerate(asked):
        more, whole = max(size - sizes[-1], 0.0), sizes[-1]
        spread = (labels * more / (whole * max(size, whole)) + 2 * training * (more > 0)) ** 0.5
        beyond = generator.standard_normal(len(values))
        chance = generator.standard_t(_FREEDOM, len(values))
        # Of fewer labels than there are no form is guessed: they were measured.
        factor = numpy.exp(_BEYOND * beyond) if more else 1.0
        gain = (values[:, place] - now) * factor + spread * chance
        gain = numpy.minimum(gain, best - now)
        found.append(Forecast(int(size), _span(now + gain), _span(gain)))
    return found


def _span(samples: NDArray[Any]) -> Span:
    import numpy

    outside = 50 * (1 - COVERAGE)
    low, middle, high = numpy.percentile(samples, [outside, 50, 100 - outside]).tolist()
    return Span(middle, low, high)


def _noise(curve: Measured) -> tuple[float, float]:
    """The variance of a figure by one label, and by training alone; neither is below 0."""
    import numpy
    from scipy.optimize import nnls

    whole = curve.sizes[-1]
    rows, found, weights = [], [], []
    for size, draws in zip(curve.sizes, curve.figures, strict=True):
        if len(draws) > 1:
            rows.append([1 / size - 1 / whole, 1.0])
            found.append(float(numpy.var(draws, ddof=1)))
            weights.append((len(draws) - 1) ** 0.5)
    if not rows:
        return 0.0, 0.0
    # A variance is as uncertain as it is large: small ones count more.
    scale = numpy.array(weights) / numpy.maximum(found, max(max(found) / 20, _FLOOR**2))
    (labels, training), _ = nnls(numpy.array(rows) * scale[:, None], numpy.array(found) * scale)
    return float(labels), float(training)


def _covariance(curve: Measured, labels: float, training: float) -> NDArray[Any]:
    """Of the mean figures, `(S, S)`."""
    import numpy

    sizes = numpy.asarray(curve.sizes, dtype=float)
    draws = numpy.array([len(each) for each in curve.figures], dtype=float)
    fewest = numpy.minimum(draws[:, None], draws[None, :])
    most = numpy.maximum(draws[:, None], draws[None, :])
    shared = numpy.maximum(sizes[:, None], sizes[None, :])
    # Means over the same draws go together; one of few draws is shared by all of many.
    chosen = labels * (1 / shared - 1 / sizes[-1]) / most
    chosen[draws[:, None] == draws[None, :]] = (labels * (1 / shared - 1 / sizes[-1]) / fewest)[
        draws[:, None] == draws[None, :]
    ]
    rise = max(curve.means[-1] - curve.means[0], 0.0)
    own = training / draws + (_MISFIT * rise) ** 2 + _FLOOR**2
    total: NDArray[Any] = chosen + numpy.asarray(curve.items, dtype=float) + numpy.diag(own)
    return total


def _sampled(
    means: NDArray[Any],
    covariance: NDArray[Any],
    inside: NDArray[Any],
    outside: NDArray[Any],
    prior: NDArray[Any],
    best: float,
    generator: Any,
) -> NDArray[Any]:
    """Values at the sizes asked about by curves that may be true, `(K, asked)`."""
    import numpy

    precision = numpy.linalg.inv(covariance)
    # Of each form the values at the smallest and the largest size are what is fitted.
    designs = numpy.stack([1 - inside, inside], axis=-1)
    weighted = numpy.einsum("fsp,st->fpt", designs, precision)
    information = numpy.einsum("fpt,ftq->fpq", weighted, designs)
    fitted = numpy.linalg.solve(information, (weighted @ means)[..., None])[..., 0]
    residuals = means - numpy.einsum("fsp,fp->fs", designs, fitted)
    misfit = numpy.einsum("fs,st,ft->f", residuals, precision, residuals)
    evidence = numpy.log(prior) - misfit / 2 - numpy.linalg.slogdet(information)[1] / 2
    likely = numpy.exp(evidence - evidence.max())
    chosen = generator.choice(len(prior), _SAMPLES, p=likely / likely.sum())
    roots = numpy.linalg.cholesky(numpy.linalg.inv(information))
    ends = fitted[chosen] + numpy.einsum(
        "kpq,kq->kp", roots[chosen], generator.standard_normal((_SAMPLES, 2))
    )
    values: NDArray[Any] = ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * outside[chosen]
    # More labels do no harm on average, and no figure is above the best: of curves that say so, few are kept.
    possible = (ends[:, 1] >= ends[:, 0]) & (values.max(axis=1) <= best)
    kept: NDArray[Any] = values[possible]
    if len(kept) < _SAMPLES // 100:
        kept = numpy.minimum(values, best)
    return kept
