from __future__ import annotations

import pytest

from goldloop.labeling.portions import portions


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], []),
        ([3, 3, 3], [[3, 3], [3]]),
        ([6, 1], [[6], [1]]),
        ([9, 9], [[9], [9]]),
        ([1, 9, 1], [[1], [9], [1]]),
    ],
)
def test_portions_keep_order_and_stay_below_the_limit(sizes, expected):
    assert list(portions(sizes, lambda size: size, most=6)) == expected
