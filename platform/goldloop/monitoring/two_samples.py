"""Whether two samples may be of one distribution: each test gives a p-value, and how far they are apart.

M = items of the reference, N = recent ones, D = width of a point. Each test holds its level in finite samples
(up to ties, which make it careful): by permutation (points, categories), by ranks of scores that a
classifier which has not seen them gives (points), or exactly (numbers).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

_AT_ONCE = 256
_WIDTH = 32
_RARE = 5
"""Categories with fewer items on both sides together are taken as one."""
_OTHERS = "(rare ones)"


@dataclass(frozen=True, slots=True)
class Apart:
    """What a test found.

    Attributes:
        chance: the p-value: how often samples of one distribution are as far apart, in (0, 1].
        distance: how far they are, in the test's own measure; 0 where they are alike.
        typical: places of those recent items that are least like the reference, the clearest first.
    """

    chance: float
    distance: float
    typical: tuple[int, ...] = ()


def mean_discrepancy(
    reference: NDArray[Any], recent: NDArray[Any], permutations: int, generator: Generator
) -> Apart:
    """Maximum mean discrepancy with a Gaussian kernel, by permutation (Gretton et al. 2012).

    The kernel is as wide as the median distance. `distance` is the square of the discrepancy, in [0, 2].

    Args:
        reference: `(M, D)`.
        recent: `(N, D)`.
        permutations: how many; no p-value is below `1 / (permutations + 1)`.
        generator: draws them.
    """
    import numpy
    from sklearn.metrics.pairwise import euclidean_distances

    count, split = len(reference) + len(recent), len(reference)
    squares = euclidean_distances(numpy.concatenate([reference, recent]).astype(numpy.float64), squared=True)
    between = squares[numpy.triu_indices(count, 1)]
    width = float(numpy.median(between)) or float(between.mean())
    if width <= 0:
        return Apart(1.0, 0.0)
    kernel = numpy.exp(-squares / width)
    weights = numpy.concatenate(
        [numpy.full(split, 1 / split), numpy.full(count - split, -1 / (count - split))]
    )
    found = float(weights @ kernel @ weights)
    as_far = 0
    for start in range(0, permutations, _AT_ONCE):
        drawn = generator.permuted(numpy.tile(weights, (min(_AT_ONCE, permutations - start), 1)), axis=1)
        others = numpy.einsum("bi,bi->b", drawn @ kernel, drawn)
        as_far += int((others >= found - 1e-12).sum())
    return Apart((1 + as_far) / (1 + permutations), max(found, 0.0))


def told_apart(reference: NDArray[Any], recent: NDArray[Any], generator: Generator) -> Apart:
    """A classifier two-sample test (Lopez-Paz and Oquab 2017): can a linear model tell the sides apart?

    It learns from a half of each side; the ranks of its scores of the other halves are held against each
    other (Mann and Whitney). `distance` is its area under the curve there, less 1/2: at most 1/2.

    Args:
        reference: `(M, D)`.
        recent: `(N, D)`.
        generator: deals the halves.
    """
    import numpy
    from scipy.stats import mannwhitneyu
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    points = numpy.concatenate([reference, recent]).astype(numpy.float64)
    old, new = generator.permutation(len(reference)), generator.permutation(len(recent)) + len(reference)
    if not numpy.ptp(points, axis=0).any():
        return Apart(1.0, 0.0)
    learned = numpy.concatenate([old[: len(old) // 2], new[: len(new) // 2]])
    old, new = old[len(old) // 2 :], new[len(new) // 2 :]
    width = max(1, min(_WIDTH, points.shape[1], len(learned) // 4))
    classifier = make_pipeline(
        PCA(width, svd_solver="full"),
        StandardScaler(),
        LogisticRegression(max_iter=5000, class_weight="balanced"),
    )
    classifier.fit(points[learned], learned >= len(reference))
    scores, before = classifier.decision_function(points[new]), classifier.decision_function(points[old])
    test = mannwhitneyu(scores, before, alternative="greater")
    order = numpy.argsort(-scores, kind="stable")
    area = float(test.statistic) / (len(old) * len(new))
    return Apart(
        float(test.pvalue), max(area - 0.5, 0.0), tuple(int(new[place]) - len(reference) for place in order)
    )


def categories(
    reference: Sequence[str], recent: Sequence[str], permutations: int, generator: Generator
) -> Apart:
    """A chi-squared test of how often each category is, by tables of the same margins drawn at random.

    `distance` is the total variation, in [0, 1].
    """
    import numpy
    from scipy.stats import random_table

    counts = Counter([*reference, *recent])
    names = sorted({name if counts[name] >= _RARE else _OTHERS for name in counts})
    places = {name: names.index(name if counts[name] >= _RARE else _OTHERS) for name in counts}
    table = numpy.zeros((2, len(names)), dtype=numpy.int64)
    for row, side in enumerate((reference, recent)):
        for name in side:
            table[row, places[name]] += 1
    sides, totals = table.sum(1), table.sum(0)
    shares = table / sides[:, None]
    distance = float(numpy.abs(shares[0] - shares[1]).sum() / 2)
    if len(names) < 2:
        return Apart(1.0, distance)
    expected = numpy.outer(sides, totals) / sides.sum()
    drawn = random_table(sides, totals).rvs(permutations, random_state=generator)
    found = ((table - expected) ** 2 / expected).sum()
    as_far = int((((drawn - expected) ** 2 / expected).sum((1, 2)) >= found - 1e-9).sum())
    return Apart((1 + as_far) / (1 + permutations), distance)


def numbers(reference: Sequence[float], recent: Sequence[float]) -> Apart:
    """Kolmogorov and Smirnov's test; `distance` is the greatest difference of the two shares, in [0, 1]."""
    from scipy.stats import ks_2samp

    test = ks_2samp(reference, recent)
    return Apart(float(test.pvalue), float(test.statistic))


def held_together(chances: Sequence[float]) -> list[float]:
    """P-values of several tests, so adjusted that the chance of any false alarm is held (Holm 1979)."""
    order = sorted(range(len(chances)), key=lambda place: chances[place])
    adjusted = [1.0] * len(chances)
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, chances[place] * (len(chances) - rank)))
        adjusted[place] = highest
    return adjusted
