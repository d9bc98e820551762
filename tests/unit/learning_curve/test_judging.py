from __future__ import annotations

import numpy
import pytest

from goldloop.learning_curve.judging import Judge
from goldloop.tasks import tasks


def _taken(task, expected, answers):
    judge = Judge(task, expected)
    for size, row in answers:
        judge.take(size, row)
    return judge


def test_figures_stand_by_size_and_items_that_judge_say_how_sure_they_are():
    task = tasks.create({"kind": "text-classification", "classes": ["a", "b"]})
    chance = numpy.random.default_rng(0)
    expected = chance.choice(["a", "b"], 400).tolist()
    answers = [
        (size, [name if chance.random() < right else {"a": "b", "b": "a"}[name] for name in expected])
        for size, right in ((20, 0.6), (10, 0.5), (40, 0.9), (10, 0.5))
    ]
    judge = _taken(task, expected, answers)
    curve = judge.curve()
    assert list(curve.sizes) == [10, 20, 40]
    assert [len(row) for row in curve.figures] == [2, 1, 1]
    assert curve.means[2] == pytest.approx(0.9, abs=0.05)
    # A share of 0.6 over 400 items.
    assert numpy.sqrt(curve.items[1][1]) == pytest.approx((0.6 * 0.4 / 400) ** 0.5, rel=0.1)
    # The quick way and the way of any figure say the same.
    resampled = numpy.sqrt(numpy.diag(judge._resampled(curve.sizes)))
    assert resampled == pytest.approx(numpy.sqrt(numpy.diag(curve.items)), rel=0.35)


def test_a_figure_that_is_no_mean_over_items_is_resampled():
    task = tasks.create({"kind": "text-multilabel", "classes": ["a", "b"]})
    expected = [["a"], [], ["a", "b"], ["b"]] * 20
    answers = [
        (10, [["a"]] * 80),
        (20, [["a"], ["b"]] * 40),
        (40, [*expected[:60], *[["a"]] * 20]),
    ]
    curve = _taken(task, expected, answers).curve()
    assert curve.figures[2][0] == pytest.approx(task.score(answers[2][1], expected)[task.metric])
    spread = numpy.diag(curve.items)
    assert (spread > 0).all()
    assert (spread < 0.1**2).all()
