"""Tables: columns that are judged together, values that are no JSON, rows and archives that are broken."""

from __future__ import annotations

import base64
import gzip
import json
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from goldloop.connectors import _intake as intake
from goldloop.connectors import connectors
from goldloop.connectors._intake import Intake, Source
from goldloop.connectors._values import json_value
from goldloop.errors import RecipeError, SourceError
from goldloop.progress import Silent
from goldloop.records import Item, Quarantined, content_key
from goldloop.settings import Settings
from goldloop.tasks import tasks
from goldloop.tasks._text_pairs import pair_text
from goldloop.workspace import Workspace


def _table(path: Path, content: str | bytes = "", **options):
    if content:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    section = {
        "kind": "table",
        "url": str(path),
        **({} if "image" in options else {"text": "text"}),
        **options,
    }
    return connectors.create(section)


def _read(path: Path, content: str | bytes = "", **options) -> list[Item | Quarantined]:
    return list(_table(path, content, **options).items())


def _items(found) -> list[Item]:
    return [entry for entry in found if isinstance(entry, Item)]


def _reasons(found) -> list[str]:
    return [entry.reason for entry in found if isinstance(entry, Quarantined)]


def test_columns_that_are_judged_together_become_one_array_of_texts(tmp_path):
    rows = 'p,h\n"two\r\nlines, é 😀",b\n'

    (item,) = _items(_read(tmp_path / "t.csv", rows, text=["p", "h"]))

    assert item.text == pair_text(["two\r\nlines, é 😀", "b"])
    assert json.loads(item.text) == ["two\r\nlines, é 😀", "b"]
    assert item.key == content_key(item.text.encode())


def test_three_columns_are_a_prompt_and_two_answers(tmp_path):
    (item,) = _items(_read(tmp_path / "t.csv", "q,a,b\nwhy,yes,no\n", text=["q", "a", "b"]))

    tasks.create({"kind": "text-preference"}).check(item)
    assert json.loads(item.text) == ["why", "yes", "no"]


def test_a_pair_with_a_part_that_cannot_be_used_is_quarantined(tmp_path):
    parts = (
        {"p": "a", "h": " "},
        {"p": "a"},
        {"p": 1, "h": "b"},
        {"p": "a", "h": "\0"},
        {"p": "a", "h": "b"},
    )
    rows = "\n".join(json.dumps(part) for part in parts)

    found = _read(tmp_path / "t.jsonl", rows, text=["p", "h"])

    assert len(_items(found)) == 1
    for reason, expected in zip(_reasons(found), ("blank", "'h'", "no text", "NUL"), strict=True):
        assert expected in reason


def test_a_pair_without_one_of_its_columns_is_an_error(tmp_path):
    with pytest.raises(SourceError, match=r"no column 'hypotheses'.*Did you mean 'hypothesis'"):
        _read(tmp_path / "t.csv", "premise,hypothesis\na,b\n", text=["premise", "hypotheses"])


def test_a_list_of_one_column_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="two or more"):
        _table(tmp_path / "t.csv", text=["premise"])


def test_a_text_that_is_no_pair_is_quarantined_when_a_task_of_pairs_pulls_it(tmp_path):
    source = _table(tmp_path / "t.jsonl", '{"text": "no pair"}\n{"text": "[\\"a\\", \\"b\\"]"}\n')

    (item,) = _stored(tmp_path, source, "text-pairs")

    assert item.text == '["a", "b"]'


def test_after_a_broken_row_the_next_one_is_read_and_numbered_by_its_place(tmp_path):
    found = _read(tmp_path / "t.csv", 'text,n\na,1\n"b"x,2\nc,3\n')

    assert [Path(entry.uri).name for entry in found] == ["t.csv#0", "t.csv#line-3", "t.csv#2"]
    assert "expected after" in _reasons(found)[0]


def test_a_quote_that_is_never_closed_tells_which_lines_are_lost(tmp_path):
    found = _read(tmp_path / "t.csv", 'text,n\na,1\n"b,2\nc,3\nd,4\n')

    assert len(_items(found)) == 1
    assert "begins on line 3 is never closed: all to line 5" in _reasons(found)[0]


def test_a_wrong_column_is_told_though_the_first_row_is_broken(tmp_path):
    with pytest.raises(SourceError, match=r"no column 'text'.*Did you mean 'txt'"):
        _read(tmp_path / "t.csv", 'txt,n\n"b"x,2\nc,3\n')


def test_of_json_lines_any_row_may_have_a_column(tmp_path):
    label = {"from": "label", "use": "truth"}

    found = _items(_read(tmp_path / "t.jsonl", '{"text": "a"}\n{"text": "b", "label": "x"}\n', label=label))

    assert [item.label for item in found] == [None, "x"]
    with pytest.raises(SourceError, match="no column 'lable'"):
        _read(tmp_path / "t.jsonl", label={"from": "lable", "use": "truth"})


def test_a_line_that_no_parser_can_follow_is_quarantined(tmp_path):
    found = _read(tmp_path / "t.jsonl", "[" * 200_000 + '\n{"text": "fine"}\n')

    assert [item.text for item in _items(found)] == ["fine"]


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_rows_without_an_id_are_quarantined_each_by_its_line(tmp_path, name):
    rows = {
        "t.csv": "text,id\na,\nb,\nc,7\n",
        "t.jsonl": '{"text": "a"}\n{"text": "b", "id": null}\n{"text": "c", "id": 7}\n',
    }

    found = _read(tmp_path / name, rows[name], id="id")

    assert [item.uri.rpartition("#")[2] for item in _items(found)] == ["7"]
    assert len({entry.uri for entry in found}) == 3
    assert all("no 'id'" in reason for reason in _reasons(found))


def _stored(tmp_path, connector, kind="text-classification"):
    """What the catalog holds after a pull."""
    from goldloop.catalog.content import items_of

    workspace = Workspace(tmp_path / "work", Settings())
    task = tasks.create(tasks.get(kind).example_config())
    with workspace.engine.connect() as connection:
        looked = intake.look(connection, "recipe", [Source("0:table", connector, "reading")])
    taker = Intake(workspace.media.put, task.modality, task.parse, task.check)
    intake.pull(workspace.engine, "recipe", looked, taker, "inputs", Silent())
    with workspace.engine.connect() as connection:
        return list(items_of(connection, "recipe"))


def test_values_that_are_no_json_are_kept_in_the_catalog_as_json(tmp_path):
    path = tmp_path / "t.parquet"
    columns = {
        "text": ["a"],
        "moment": [datetime(2024, 1, 2, 3, 4, 5)],
        "day": [date(2024, 1, 2)],
        "price": [Decimal("1.50")],
        "bytes": [b"\xff\x00"],
        "share": [float("nan")],
        "list": [[1.0, float("inf")]],
    }
    parquet.write_table(pyarrow.table(columns), path)

    (item,) = _stored(tmp_path, _table(path, metadata=list(columns)[1:], group="share", id="day"))

    assert item.uri.endswith("#2024-01-02")
    assert item.group == item.key
    assert item.metadata == {
        "moment": "2024-01-02T03:04:05",
        "day": "2024-01-02",
        "price": "1.50",
        "bytes": base64.b64encode(b"\xff\x00").decode(),
        "share": None,
        "list": [1.0, None],
    }


def test_ids_and_groups_with_halves_of_surrogate_pairs_are_kept_escaped(tmp_path):
    rows = '{"text": "a", "id": "\\ud800", "g": "\\u0000", "m": "\\udfff"}\n'

    (item,) = _stored(tmp_path, _table(tmp_path / "t.jsonl", rows, id="id", group="g", metadata=["m"]))

    assert item.uri.endswith("#\\ud800")
    assert item.group == "\\0"
    assert item.metadata == {"m": "\udfff"}


def test_a_label_that_is_no_number_is_none(tmp_path):
    label = {"from": "label", "use": "truth"}

    (item,) = _items(_read(tmp_path / "t.jsonl", '{"text": "a", "label": NaN}\n', label=label))

    assert item.label is None


def test_an_empty_list_and_a_zero_are_labels(tmp_path):
    label = {"from": "label", "use": "truth"}

    found = _read(
        tmp_path / "t.jsonl", '{"text": "a", "label": []}\n{"text": "b", "label": 0}\n', label=label
    )

    assert [item.label for item in _items(found)] == [[], 0]
    (stored,) = _stored(
        tmp_path, _table(tmp_path / "one.jsonl", '{"text": "a", "label": []}', label=label), "text-multilabel"
    )
    assert stored.label == []


@pytest.mark.parametrize("value", [None, True, 3, "x", [1, {"a": None}], 2.5])
def test_what_is_json_stays_as_it_is(value):
    assert json_value(value) == value
    assert type(json_value(value)) is type(value)


PACKED = gzip.compress(b"text\n" + b"".join(b"row %d, %d\n" % (n, n * n) for n in range(20_000)))


@pytest.mark.parametrize(
    "content",
    [PACKED[:1000], PACKED[:500] + bytes(50) + PACKED[550:], b"text\nplain\n"],
    ids=["cut off", "damaged", "not packed"],
)
def test_a_broken_archive_is_an_error_of_the_source(tmp_path, content):
    with pytest.raises(SourceError, match="cannot be read"):
        _read(tmp_path / "t.csv.gz", content)


def test_a_table_with_brackets_in_its_name_is_that_table(tmp_path):
    connector = _table(tmp_path / "t[1].csv", "text\na\n")

    assert len(list(connector.items())) == 1
    assert connector.fingerprint() == _table(tmp_path / "u.csv", "text\na\n").fingerprint()


def test_the_fingerprint_of_a_table_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(SourceError, match="no file is there"):
        _table(tmp_path / "none.csv").fingerprint()


def test_an_image_at_an_address_of_no_known_kind_is_quarantined(tmp_path):
    found = _read(tmp_path / "t.csv", "image\nnonsense://host/a.png\n", image="image")

    assert "unknown kind of address" in _reasons(found)[0]
