from __future__ import annotations

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldloop.training.columns import open_columns, write_columns


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(-(2**40), 2**40), max_size=5), min_size=1, max_size=8))
def test_rows_of_any_length_come_back(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("columns") / "rows"
    # A first row of numbers settles the column's type.
    rows = [[1], *rows]
    write_columns(folder, ({"ids": row, "place": place} for place, row in enumerate(rows)))
    columns = open_columns(folder)
    assert columns is not None
    assert [columns.row(place)["ids"].tolist() for place in range(len(rows))] == rows
    assert [columns.row(place)["place"] for place in range(len(rows))] == list(range(len(rows)))
    assert columns.lengths("ids").tolist() == [len(row) for row in rows]


def test_boxes_come_back_with_their_shape(tmp_path):
    boxes = [numpy.ones((2, 4), "float32"), numpy.zeros((0, 4), "float32"), numpy.full((1, 4), 7, "float32")]
    write_columns(tmp_path / "rows", ({"boxes": each} for each in boxes))
    columns = open_columns(tmp_path / "rows")
    assert columns is not None
    for place, each in enumerate(boxes):
        assert numpy.array_equal(columns.row(place)["boxes"], each)
        assert columns.row(place)["boxes"].shape == each.shape


@pytest.mark.parametrize(
    "rows",
    [
        [{"a": 1}, {"b": 1}],
        [{"a": [1]}, {"a": [[1]]}],
        [{"a": "text"}],
    ],
)
def test_rows_that_do_not_fit_each_other_are_refused_and_leave_nothing(tmp_path, rows):
    with pytest.raises(ValueError, match=r"row 1|column a"):
        write_columns(tmp_path / "rows", rows)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_absent_is_none(tmp_path):
    assert open_columns(tmp_path / "rows") is None
