from __future__ import annotations

import math
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldloop.pages.charts import Chart, Series, number_text, ticks

NUMBERS = st.floats(-1e9, 1e9, allow_nan=False).filter(lambda value: value == 0 or abs(value) > 1e-9)


def tags(svg: str, name: str) -> list[ElementTree.Element]:
    return [one for one in ElementTree.fromstring(svg).iter() if one.tag == name]


@settings(deadline=None, max_examples=200)
@given(st.tuples(NUMBERS, NUMBERS).map(sorted), st.integers(2, 8))
def test_ticks_rise_evenly_and_reach_around_what_they_span(span, count):
    low, high = span
    found = ticks(low, high, count)
    steps = [after - before for before, after in pairwise(found)]
    assert 2 <= len(found) <= count + 3
    assert min(steps) > 0
    assert max(steps) == pytest.approx(min(steps), rel=1e-3)
    assert found[0] <= low + steps[0] * 1e-6
    assert found[-1] >= high - steps[0] * 1e-6


@settings(deadline=None, max_examples=100)
@given(st.tuples(NUMBERS, NUMBERS).map(sorted), st.integers(2, 8))
def test_ticks_inside_stay_inside(span, count):
    low, high = span
    slack = (high - low) * 1e-6
    assert all(low - slack <= value <= high + slack for value in ticks(low, high, count, inside=True))


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=400, unique_by=lambda point: point[0]))
def test_every_curve_is_valid_and_lies_within_its_drawing(points):
    svg = Chart("Loss", "step", "loss", [Series("loss", sorted(points), smooth=True)]).svg()
    (drawing,) = tags(svg, "svg")
    _, _, width, height = map(float, drawing.attrib["viewBox"].split())
    for path in tags(svg, "path"):
        for pair in path.attrib["d"].removeprefix("M").split("L"):
            x, y = map(float, pair.split())
            assert 0 <= x <= width
            assert 0 <= y <= height


def test_a_chart_is_named_and_told_in_words():
    chart = Chart("Loss", "step", "nats", [Series("training loss", [(0, 2.0), (10, 0.5)])])
    (drawing,) = tags(chart.svg(), "svg")
    assert drawing.attrib["role"] == "img"
    assert drawing.attrib["aria-label"] == ("Loss. training loss: from 2 to 0.5, lowest 0.5, highest 2")
    assert {"step", "nats"} <= {text.text for text in tags(chart.svg(), "text")}


def test_names_cannot_leave_the_drawing():
    name = '"><script>alert(1)</script>'
    svg = Chart(name, name, name, [Series(name, [(0, 1), (1, 2)])], marked=((1, 2), name)).svg()
    assert not tags(svg, "script")
    assert tags(svg, "title")[0].text == name


def test_gaps_are_left_out_and_a_single_point_is_no_curve():
    chart = Chart("a", "x", "y", [Series("a", [(0, math.nan), (1, 2.0), (2, math.inf)]), Series("b", [])])
    assert not chart.drawable
    assert chart.legend == []
    assert Chart("a", "x", "y", [Series("a", [(0, 1.0), (1, 2.0)])]).drawable
    with pytest.raises(ValueError, match="nothing to draw: a"):
        Chart("a", "x", "y", []).svg()


def test_a_line_of_one_height_can_be_drawn():
    svg = Chart("a", "x", "y", [Series("a", [(0, 5.0), (1, 5.0)])]).svg()
    assert len(tags(svg, "path")) == 1


def test_many_points_are_thinned_and_smoothed_without_lag():
    points = [(float(x), float(x)) for x in range(5000)]
    faint, smooth = tags(Chart("a", "x", "y", [Series("a", points, smooth=True)]).svg(), "path")
    assert "faint" in faint.attrib["class"]
    assert faint.attrib["d"].count("L") < 400
    # The mean around each point of a straight line is the line.
    assert smooth.attrib["d"] == faint.attrib["d"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.25, "0.25"),
        (4e-5, "4e-5"),
        (1500, "1,500"),
        (42_000, "42k"),
        (1.25e6, "1.25M"),
        (-2.0, "-2"),
    ],
)
def test_numbers_are_short(value, text):
    assert number_text(value) == text
