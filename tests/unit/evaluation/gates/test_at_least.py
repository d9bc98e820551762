from __future__ import annotations

import math

import pytest

from goldloop.errors import RecipeError
from goldloop.evaluation.gates import gates


def at_least(value, metric="accuracy"):
    return gates.create({"kind": "at-least", "metric": metric, "value": value})


def test_the_measured_figure_counts_to_the_last_digit(make_report):
    report = make_report(0.9)
    value = report.metrics["accuracy"].value
    assert at_least(value).judge(report, None).passed
    assert not at_least(math.nextafter(value, 2)).judge(report, None).passed


def test_a_refusal_says_by_how_much_how_sure_and_in_which_class(make_report):
    report = make_report(0.8)
    figure = report.metrics["accuracy"]
    verdict = at_least(0.95).judge(report, None)
    weakest = min(report.per_class, key=lambda name: report.per_class[name]["f1"])
    assert f"is {0.95 - figure.value:.3f} below 0.95" in verdict.explanation
    assert f"95% interval {figure.low:.3f} to {figure.high:.3f} on 200 items" in verdict.explanation
    assert f"weakest in class {weakest!r}" in verdict.explanation
    assert verdict.examples == tuple(item.key for item in report.wrong()[:20])


def test_a_threshold_within_the_interval_is_pointed_out(make_report):
    report = make_report(0.9)
    near = report.metrics["accuracy"].value - 0.005
    assert "within the interval" in at_least(near).judge(report, None).explanation
    assert "within the interval" not in at_least(0.5).judge(report, None).explanation


@pytest.mark.parametrize("value", ["much", float("nan"), float("inf"), None])
def test_a_threshold_is_a_number(value):
    with pytest.raises(RecipeError, match="value"):
        at_least(value)
