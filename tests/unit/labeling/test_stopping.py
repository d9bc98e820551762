from __future__ import annotations

import pytest
from pydantic import ValidationError

from goldloop.labeling.config import Stop
from goldloop.labeling.stopping import reason_to_stop


def test_enough_labels_are_enough():
    stop = Stop(labels=100)
    assert reason_to_stop(stop, 99, []) is None
    assert "100 items are labelled" in (reason_to_stop(stop, 100, []) or "")


@pytest.mark.parametrize(
    ("values", "stops"),
    [
        ([], False),
        ([0.5, 0.6], False),
        ([0.5, 0.6, 0.7], False),
        ([0.7, 0.701, 0.702], True),
        ([0.7, 0.6, 0.65], True),
        ([0.7, 0.6, 0.75], False),
        ([0.2, 0.9, 0.5, 0.6], True),
    ],
    ids=["none", "two", "rising", "flat", "falling", "late", "best before"],
)
def test_models_that_get_no_better_end_it(values, stops):
    assert (reason_to_stop(Stop(gain=0.01, models=2), 0, values) is not None) == stops


def test_a_rule_that_says_nothing_is_refused():
    with pytest.raises(ValidationError, match="say when to stop"):
        Stop(models=2)
