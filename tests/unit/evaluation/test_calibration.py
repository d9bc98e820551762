from __future__ import annotations

import numpy
import pytest

from goldloop.evaluation.calibration import calibration_of
from goldloop.evaluation.judged import Judged


def judged(confidence, right) -> list[Judged]:
    return [
        Judged(key=f"{n:05}", expected="a", predicted="a", confidence=float(sure), agreement=float(is_right))
        for n, (sure, is_right) in enumerate(zip(confidence, right, strict=True))
    ]


def test_a_model_that_is_right_as_often_as_it_is_sure_is_off_by_chance_alone():
    generator = numpy.random.default_rng(0)
    sure = generator.uniform(0.5, 1, 3000)
    found = calibration_of(judged(sure, generator.random(3000) < sure))
    assert found.error.value < 0.04
    assert found.error.value == pytest.approx(found.by_chance, abs=0.02)
    assert abs(found.overconfidence) < 0.02


def test_a_model_that_is_surer_than_right_is_off_by_so_much():
    generator = numpy.random.default_rng(0)
    sure = generator.uniform(0.7, 1, 3000)
    found = calibration_of(judged(sure, generator.random(3000) < sure - 0.2))
    assert found.error.value == pytest.approx(0.2, abs=0.03)
    assert found.error.low < 0.2 < found.error.high
    assert found.overconfidence == pytest.approx(0.2, abs=0.03)


def test_bins_hold_all_items_by_confidence():
    found = calibration_of(judged(numpy.linspace(0, 1, 105), [1] * 105))
    assert len(found.bins) == 10
    assert sum(each.items for each in found.bins) == 105
    assert [each.confidence for each in found.bins] == sorted(each.confidence for each in found.bins)


def test_few_items_tell_nothing():
    assert calibration_of(judged([0.5] * 19, [1] * 19)) is None
    assert len(calibration_of(judged([0.5] * 20, [1] * 20)).bins) == 2
