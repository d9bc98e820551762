"""The figures of a class against scikit-learn's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some
from sklearn.metrics import precision_recall_fscore_support

from goldloop.tasks._precision_recall import precision_recall

counts = some.integers(0, 20)


@given(counts, counts, counts)
def test_as_scikit_learn_has_them(hits: int, false: int, missed: int):
    truth = [1] * hits + [0] * false + [1] * missed + [0]
    answers = [1] * hits + [1] * false + [0] * missed + [0]
    theirs = precision_recall_fscore_support(truth, answers, labels=[1], zero_division=0)
    expected = dict(
        zip(("precision", "recall", "f1", "support"), (float(each[0]) for each in theirs), strict=True)
    )
    assert precision_recall(hits, hits + false, hits + missed) == pytest.approx(expected)
