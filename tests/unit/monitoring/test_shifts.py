"""Drift is found where it was planted, and where there is none no more often than is stated."""

from __future__ import annotations

import numpy
import pytest
from scipy.stats import binom

from goldloop.monitoring import two_samples
from goldloop.monitoring.shifts import MEASURES, Sides, look

DRAWS = 200
ALARMS = 0.05
CLASSES = ("cat", "dog", "hen", "owl")


def _sides(
    generator: numpy.random.Generator, *, moved: float = 0, likely: float = 0.4, sure: float = 3
) -> Sides:
    """Items of which the reference is always of one kind; the recent ones may be of another."""
    old, new = 60, 50
    points = generator.normal(size=(old + new, 6)).astype(numpy.float32)
    points[old:, 0] += moved

    def named(count: int, first: float) -> list[str]:
        rest = (1 - first) / (len(CLASSES) - 1)
        return generator.choice(CLASSES, size=count, p=[first, *[rest] * (len(CLASSES) - 1)]).tolist()

    return Sides(
        (points[:old], points[old:]),
        (named(old, 0.4), named(new, likely)),
        (generator.beta(3, 1, old).tolist(), generator.beta(sure, 1, new).tolist()),
        (named(old, 0.4), named(new, likely)),
    )


def _found(sides: Sides, seed: int) -> set[str]:
    shifts, _ = look(sides, ALARMS, seed)
    return {shift.what for shift in shifts if shift.state == "drift"}


def test_false_alarms_of_all_tests_together_are_no_more_than_stated():
    generator = numpy.random.default_rng(7)
    alarms = sum(bool(_found(_sides(generator), seed)) for seed in range(DRAWS))
    # What would be seen one time in a thousand, were the rate just as stated.
    assert alarms <= binom.ppf(0.999, DRAWS, ALARMS)
    assert alarms > 0


@pytest.mark.parametrize(
    ("planted", "expected"),
    [
        ({"moved": 1.5}, {"input", "input-classifier"}),
        ({"likely": 0.9}, {"predicted-classes", "labels"}),
        ({"sure": 0.7}, {"confidence"}),
    ],
    ids=["input", "classes", "confidence"],
)
def test_drift_that_was_planted_is_found_and_named(planted, expected):
    generator = numpy.random.default_rng(11)
    times = [_found(_sides(generator, **planted), seed) for seed in range(20)]
    assert sum(expected <= found for found in times) >= 18
    assert sum(bool(found - expected) for found in times) <= 3


@pytest.mark.parametrize("test", ["discrepancy", "classifier", "categories", "numbers"])
def test_each_test_alone_holds_its_level(test):
    generator = numpy.random.default_rng(3)
    alone = {
        "discrepancy": lambda old, new: two_samples.mean_discrepancy(old, new, 99, generator),
        "classifier": lambda old, new: two_samples.told_apart(old, new, generator),
        "categories": lambda old, new: two_samples.categories(_words(old), _words(new), 99, generator),
        "numbers": lambda old, new: two_samples.numbers(old[:, 0], new[:, 0]),
    }[test]
    drawn = (generator.normal(size=(70, 3)) for _ in range(DRAWS))
    chances = [alone(points[:40], points[40:]).chance for points in drawn]
    for level in (0.05, 0.1, 0.3):
        low, high = binom.ppf([0.001, 0.999], DRAWS, level)
        assert sum(chance <= level for chance in chances) <= high
        if test != "numbers":  # its p-values are careful
            assert sum(chance <= level for chance in chances) >= low - 2


def _words(points) -> list[str]:
    return ["ab"[int(value > 0)] for value in points[:, 0]]


def test_the_least_like_items_are_those_that_were_planted():
    generator = numpy.random.default_rng(5)
    sides = _sides(generator)
    sides.points[1][:20, 0] += 6
    _, typical = look(sides, ALARMS, 0)
    assert len(typical) == 12
    assert sum(place < 20 for place in typical[:5]) >= 4


def test_items_that_are_all_alike_are_no_drift():
    same = numpy.ones((40, 4), dtype=numpy.float32)
    sides = Sides((same, same), (["cat"] * 40, ["cat"] * 40), ([0.5] * 40, [0.5] * 40), "no version since")
    shifts, _ = look(sides, 0.01, 0)
    assert [shift.state for shift in shifts] == ["none"] * 4 + ["unknown"]
    assert shifts[-1].why == "no version since"


def test_what_is_not_known_takes_no_share_of_the_false_alarms():
    generator = numpy.random.default_rng(1)
    old, new = generator.normal(size=(40, 2)), generator.normal(size=(40, 2)) + 0.55
    alone = Sides("few", "few", (old[:, 0].tolist(), new[:, 0].tolist()), "few")
    (shift,) = [shift for shift in look(alone, 0.05, 0)[0] if shift.state != "unknown"]
    assert shift.adjusted == shift.chance
    assert {each.what for each in look(alone, 0.05, 0)[0]} == set(MEASURES)


def test_holm_as_worked_out_by_hand():
    assert two_samples.held_together([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert two_samples.held_together([0.9, 0.8]) == [1.0, 1.0]
    assert two_samples.held_together([]) == []
