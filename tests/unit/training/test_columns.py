from __future__ import annotations

import hashlib
import json
import os
import shutil

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldloop.training.columns import is_whole, open_columns, write_columns


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(-(2**40), 2**40), max_size=5), min_size=1, max_size=8))
def test_rows_of_any_length_come_back(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("columns") / "rows"
    # Rows without a number do not settle the column's type.
    rows = [*rows, [1]]
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


def test_rows_that_are_all_empty_come_back(tmp_path):
    write_columns(tmp_path / "rows", [{"boxes": numpy.zeros((0, 4), "float32")}] * 3)
    columns = open_columns(tmp_path / "rows")
    assert columns.row(2)["boxes"].shape == (0, 4)
    assert columns.lengths("boxes").tolist() == [0, 0, 0]


@pytest.fixture
def rows(tmp_path):
    write_columns(tmp_path / "rows", ({"a": [number] * (number + 1), "b": number} for number in range(9)))
    return tmp_path / "rows"


@pytest.mark.parametrize("name", ["a.bin", "a.lengths", "b.bin", "index.json"])
def test_a_file_that_was_altered_is_not_read_though_its_size_and_time_are_the_same(rows, name):
    assert open_columns(rows) is not None
    before = (rows / name).stat()
    content = bytearray((rows / name).read_bytes())
    content[len(content) // 2] ^= 1
    (rows / name).write_bytes(content)
    os.utime(rows / name, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert open_columns(rows) is None
    assert not is_whole(rows)


def test_what_was_verified_once_is_not_read_again_before_it_is_used(rows, monkeypatch):
    read = []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda file, name: read.append(file) or digest(file, name))
    assert open_columns(rows) is not None
    assert not read
    os.utime(rows / "a.bin")
    assert open_columns(rows) is not None
    assert len(read) == 3
    assert open_columns(rows) is not None
    assert len(read) == 3
    assert is_whole(rows)
    assert len(read) == 6


def test_a_copy_of_the_folder_is_verified_and_read(rows, tmp_path):
    shutil.copytree(rows, tmp_path / "copy")
    assert open_columns(tmp_path / "copy").row(3)["a"].tolist() == [3, 3, 3, 3]
    assert json.loads((tmp_path / "copy" / "verified.json").read_text())
