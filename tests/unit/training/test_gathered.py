from __future__ import annotations

import numpy
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from goldloop.errors import TrainingError
from goldloop.tasks._rows import joined, keys_of, stacked
from goldloop.training.columns import open_columns, write_columns
from goldloop.training.gathered import StoredRows


def stored(folder, *parts, hidden="none"):
    """Rows in as many folders as there are parts, all of them in order."""
    folders = []
    for number, part in enumerate(parts):
        write_columns(folder / str(number), part)
        folders.append(open_columns(folder / str(number)))
    places = [(number, row) for number, part in enumerate(parts) for row in range(len(part))]
    keys = tuple(f"key {place}" for place in places)
    return StoredRows(folders, numpy.array(places).reshape(-1, 2), keys, pinned=False, hidden=hidden)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.lists(st.lists(st.integers(-(2**40), 2**40), max_size=4), min_size=1, max_size=5),
        min_size=1,
        max_size=3,
    )
)
def test_arrays_of_any_lengths_in_any_folders_come_one_behind_the_other(tmp_path_factory, parts):
    arrays = [[{"ids": numpy.array(ids, dtype=numpy.int64)} for ids in part] for part in parts]
    rows = stored(tmp_path_factory.mktemp("rows"), *arrays)
    flat, lengths = rows.flat("ids")
    everything = [ids for part in parts for ids in part]
    assert flat.tolist() == [token for ids in everything for token in ids]
    assert lengths.tolist() == [len(ids) for ids in everything]
    assert flat.dtype == lengths.dtype == torch.int64
    plain = joined([dict(row) for row in rows], "ids")
    assert torch.equal(plain[0], flat)
    assert torch.equal(plain[1], lengths)
    whole = rows.column("ids")
    assert (None if whole is None else whole.tolist()) == (
        everything if len({len(ids) for ids in everything}) == 1 else None
    )


@pytest.mark.parametrize("shape", [(), (3,), (3, 5, 4), (3, 80, 80)])
@pytest.mark.parametrize("kind", ["uint8", "float32", "int64", "bool"])
def test_a_column_of_one_shape_is_one_tensor(tmp_path, shape, kind):
    generator = numpy.random.default_rng(0)
    values = [generator.integers(0, 2, shape).astype(kind) for _ in range(5)]
    rows = stored(tmp_path, [{"a": value} for value in values[:2]], [{"a": value} for value in values[2:]])
    whole = rows.column("a")
    assert torch.equal(whole, torch.stack([torch.as_tensor(value) for value in values]))
    assert torch.equal(stacked(rows, "a"), whole)
    assert torch.equal(stacked([dict(row) for row in rows], "a"), whole)
    whole.zero_()
    assert torch.equal(rows.column("a"), torch.stack([torch.as_tensor(value) for value in values]))


def test_a_column_that_some_rows_lack_is_none(tmp_path):
    rows = stored(tmp_path, [{"a": 1, "b": [1, 2]}], [{"a": 2}])
    assert rows.column("b") is None
    assert rows.flat("b") is None
    assert rows.column("a").tolist() == [1, 2]
    assert ["b" in row for row in rows] == [True, False]


def test_a_row_is_a_mapping_with_its_key_and_without_what_is_hidden(tmp_path):
    rows = stored(tmp_path, [{"a": 7, "digest": [1, 2]}, {"a": 8, "digest": [3, 4]}], hidden="digest")
    assert dict(rows[1]) == {"a": 8, "key": "key (0, 1)"}
    assert len(rows[1]) == 2
    assert "digest" not in rows[1]
    assert rows.column("digest") is None
    assert [row["a"] for row in rows[::-1]] == [8, 7]
    assert rows[0].get("none", 5) == 5
    assert keys_of(rows) == keys_of([dict(row) for row in rows]) == ("key (0, 0)", "key (0, 1)")


def test_a_file_that_is_cut_short_while_it_is_read_is_told(tmp_path):
    rows = stored(tmp_path, [{"a": numpy.full((3, 100, 100), number, "uint8")} for number in range(4)])
    with (tmp_path / "0" / "a.bin").open("r+b") as file:
        file.truncate(100_000)
    with pytest.raises(TrainingError, match="cut short"):
        rows.column("a")


def test_gathering_large_rows_again_and_again_takes_no_more_memory(tmp_path):
    count, side = 2000, 224
    rows = stored(tmp_path, [{"a": numpy.zeros((3, side, side), "uint8")} for _ in range(count)])
    chosen = [
        StoredRows(rows._folders, rows._places[start : start + 20], ("",) * 20, pinned=False, hidden="none")
        for start in range(0, count, 20)
    ]
    chosen[0].column("a")
    before = psutil.Process().memory_info().rss
    for _ in range(5):
        for part in chosen:
            part.column("a")
    grown = psutil.Process().memory_info().rss - before
    # All rows together are 287 MB.
    assert grown < 150 * 2**20
