"""Intervals for what more labels are worth hold the truth as often as they say, where the truth is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy
import pytest

from goldloop.learning_curve.forecast import COVERAGE, Measured, forecast

CURVES: dict[str, Callable[[float], float]] = {
    "power": lambda n: 0.93 - 1.2 * n**-0.5,
    "slow power": lambda n: 0.95 - 1.2 * n**-0.3,
    "logarithm": lambda n: 0.2 + 0.09 * math.log(n),
    "exponential": lambda n: 0.9 - 0.5 * math.exp(-n / 250),
    "hill": lambda n: 0.9 / (1 + 80 / n),
    "as good as it gets": lambda n: 0.97 - 0.4 * math.exp(-n / 60),
    "nothing to learn": lambda n: 0.7,
    "sigmoid of the logarithm": lambda n: 0.3 + 0.6 / (1 + math.exp(-(math.log(n) - 5.3) / 0.6)),
    "two parts": lambda n: 0.95 - 0.5 * n**-0.4 - 0.3 * math.exp(-n / 300),
}
LABELS, ITEMS = 800, 0.012


def measured(curve: Callable[[float], float], seed: int, of_one: float, more: int) -> tuple[Measured, float]:
    """Trainings on nested draws, where each label helps or harms by its own; and what `more` then gain."""
    chance = numpy.random.default_rng(seed)
    sizes = sorted({round(size) for size in numpy.geomspace(LABELS / 16, LABELS, 7).tolist()})
    help_ = chance.normal(0, of_one, LABELS + more)
    orders = [chance.permutation(LABELS) for _ in range(5)]
    judges = chance.normal(0, ITEMS)
    own = chance.normal(0, ITEMS / 3, len(sizes))
    figures = [
        [curve(size) + help_[order[:size]].mean() + judges + own[place] for order in orders]
        for place, size in enumerate(sizes)
    ]
    figures[-1] = figures[-1][:1]
    items = ITEMS**2 + numpy.eye(len(sizes)) * (ITEMS / 3) ** 2
    truth = curve(LABELS + more) + help_.mean() - curve(LABELS) - help_[:LABELS].mean()
    return Measured(sizes, figures, items.tolist()), truth


@pytest.mark.parametrize("more", [200, 800])
@pytest.mark.parametrize("of_one", [0.1, 0.4])
def test_four_of_five_intervals_hold_the_truth(of_one: float, more: int):
    assert CURVES
    held, wide, best = [], [], []
    for curve in CURVES.values():
        for seed in range(15):
            known, truth = measured(curve, seed, of_one, more)
            gain = forecast(known, [LABELS + more])[0].gain
            held.append(gain.low <= truth <= gain.high)
            wide.append((gain.high - gain.low) / 2)
            best.append(abs(gain.value - truth))
    assert sum(held) / len(held) >= COVERAGE
    # An interval that is wide enough holds anything: these are not much wider than the errors ask for.
    assert numpy.median(wide) < 5 * numpy.median(best)


def test_more_labels_are_worth_more_and_known_less():
    known, _ = measured(CURVES["power"], 0, 0.1, 0)
    found = forecast(known, [LABELS, LABELS + 100, LABELS + 400, LABELS + 1600])
    gains = [each.gain for each in found]
    assert gains[0].low == gains[0].high == 0
    assert [gain.value for gain in gains] == sorted(gain.value for gain in gains)
    widths = [gain.high - gain.low for gain in gains]
    assert widths == sorted(widths)
    assert all(each.figure.low <= each.figure.value <= each.figure.high <= 1 for each in found)


def test_a_curve_that_has_ended_promises_nothing_much():
    known, _ = measured(CURVES["as good as it gets"], 0, 0.02, 0)
    gain = forecast(known, [2 * LABELS])[0].gain
    assert abs(gain.value) < 0.005
    assert gain.high < 0.015


def test_the_same_question_has_the_same_answer_and_too_few_sizes_have_none():
    known, _ = measured(CURVES["hill"], 0, 0.1, 0)
    assert forecast(known, [1000]) == forecast(known, [1000])
    few = Measured(known.sizes[:3], known.figures[:3], [row[:3] for row in known.items[:3]])
    with pytest.raises(ValueError, match="4 rising sizes"):
        forecast(few, [1000])
