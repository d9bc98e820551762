"""What more labels would be worth, as one page of HTML."""

from __future__ import annotations

from pathlib import Path

from goldloop.learning_curve.budget import Budget
from goldloop.learning_curve.forecast import COVERAGE
from goldloop.pages import template
from goldloop.pages.charts import Chart, Series

_TEMPLATE = Path(__file__).with_name("budget.html.jinja")
_REACH = 2
"""The curve is drawn to so many times the labels that train now."""


def budget_page(found: Budget) -> str:
    """The curve, its continuation, and a table of what numbers of labels would be worth."""
    worths = found.worths(found.ladder())
    middle = min(worths, key=lambda each: abs(each.more - found.labels / 4))
    return template(_TEMPLATE).render(
        found=found,
        worths=worths,
        headline=middle,
        coverage=COVERAGE,
        chart=_chart(found),
        rows=[
            (size, len(draws), sum(draws) / len(draws), min(draws), max(draws))
            for size, draws in zip(found.curve.sizes, found.curve.figures, strict=True)
        ],
    )


def _chart(found: Budget) -> Chart:
    ahead = found.curve_to(_REACH * found.trained)
    measured = list(zip(found.curve.sizes, found.curve.means, strict=True))
    spans = [(each.labels, each.figure) for each in ahead]
    return Chart(
        title=f"{found.split} {found.metric} by labels that train",
        x="labels",
        y=found.metric,
        series=[
            Series("measured, means", measured),
            Series("expected", [(size, span.value) for size, span in spans]),
            Series(f"{COVERAGE:.0%} below", [(size, span.low) for size, span in spans]),
            Series("above", [(size, span.high) for size, span in spans]),
        ],
        percent=True,
        marked=(measured[-1], "all labels of now"),
    )
