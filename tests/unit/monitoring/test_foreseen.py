"""The accuracy that confidence promises is the accuracy that comes, where it holds; else it says why not."""

from __future__ import annotations

import numpy
import pytest

from goldloop.monitoring.foreseen import CONDITION, foreseen


def _confidence(generator, count: int) -> list[float]:
    return generator.beta(4, 1.5, count).tolist()


def test_the_interval_covers_the_accuracy_of_a_calibrated_model():
    generator = numpy.random.default_rng(0)
    covered = 0
    for _ in range(200):
        recent, tested = _confidence(generator, 120), _confidence(generator, 80)
        right = (generator.random(80) < tested).astype(float).tolist()
        truth = float((generator.random(120) < recent).mean())
        told = foreseen(recent, tested, right, tempered=True, drifted=False)
        covered += told.low <= truth <= told.high
    assert covered >= 185


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, CONDITION),
        ({"tempered": False}, "no temperature"),
        ({"drifted": True}, "drifted"),
        ({"right": [0.0] * 50}, "not right as often as it is sure"),
    ],
    ids=["calibrated", "no-temperature", "drifted", "too-sure"],
)
def test_it_says_whether_it_holds(changes, said):
    given = {"right": [1.0] * 40 + [0.0] * 10, "tempered": True, "drifted": False} | changes
    told = foreseen([0.8] * 60, [0.8] * 50, given.pop("right"), **given)
    assert told.value == pytest.approx(0.8)
    assert told.holds == (not changes)
    assert said in told.condition


def test_nothing_is_promised_of_nothing():
    assert foreseen([], [0.5], [1.0], tempered=True, drifted=False) is None
