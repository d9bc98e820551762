from __future__ import annotations

import json

import pytest

from goldloop.errors import SourceError
from goldloop.formats import formats
from goldloop.formats.base import Sample
from goldloop.tasks import tasks

KIND = "text-classification"


def table(name="csv", **options):
    return formats.create({"kind": name, **options})


def task_with(classes):
    return tasks.create({"kind": KIND, "classes": classes})


TEXTS = [
    'a "quoted", text',
    "two\nlines",
    "two\r\nlines",
    "tab\there",
    " blanks ",
    "\ufeffmark",
    "007",
    "👩‍👩‍👧 é e\u0301",
    "=1+1",
]


@pytest.mark.parametrize("name", ["csv", "jsonl"])
def test_texts_and_classes_come_back_to_the_character(tmp_path, name):
    classes = ["a,b", 'say "x"', "007"]
    samples = [
        Sample(name=str(number), content=text, target=classes[number % 3], split="test", group="g 1")
        for number, text in enumerate(TEXTS)
    ]
    task = task_with(classes)
    assert table(name).losses(task, samples) == []
    table(name).write(tmp_path / "out", task, samples)
    found = list(table(name).read(tmp_path / "out", KIND))
    assert [(each.content, each.target, each.split, each.group) for each in found] == [
        (each.content, each.target, each.split, each.group) for each in samples
    ]
    assert table(name).kind_of(tmp_path / "out") == KIND
    assert table(name).task_fields(tmp_path / "out", KIND)["classes"] == classes


def test_columns_are_named_and_the_rest_is_metadata(tmp_path):
    (tmp_path / "train.csv").write_text("id,sentence,intent\n7,hello,greet\n8,sun?,\n", encoding="utf-8")
    form = table(text="sentence", label="intent")
    first, second = form.read(tmp_path, KIND)
    assert (first.content, first.target, first.split, first.metadata) == (
        "hello",
        "greet",
        "train",
        {"id": "7"},
    )
    assert second.target is None
    with pytest.raises(SourceError, match="--task"):
        form.kind_of(tmp_path)


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        (b"text,label\na,b\nc\n", 3, "1 fields, the header 2"),
        (b"text,label\na,b\n\xff,b\n", 3, "not UTF-8, in column 'text'"),
        (b"text,other\na,b\n", 2, "no column 'label'"),
        (b'text,label\na,b\n"c"d,b\n', 3, "cannot be read"),
    ],
)
def test_a_bad_row_is_quarantined_by_its_line(tmp_path, parted, content, line, said):
    (tmp_path / "data.csv").write_bytes(content)
    _, (bad,) = parted(table().read(tmp_path, KIND))
    assert bad.uri == f"data.csv#line-{line}"
    assert said in bad.reason


@pytest.mark.parametrize(
    ("line", "said"), [("{", "not JSON"), ("[1]", "list"), ('{"text": 1, "label": "a"}', "no text")]
)
def test_a_bad_line_of_json_is_quarantined(tmp_path, parted, line, said):
    (tmp_path / "data.jsonl").write_text('{"text": "a", "label": "x"}\n' + line + "\n")
    good, (bad,) = parted(table("jsonl").read(tmp_path, KIND))
    assert len(good) == 1
    assert said in bad.reason
    assert "data.jsonl, line 2" in bad.reason


@pytest.mark.parametrize("name", ["../one.png", "/etc/hostname", "", "none.png"])
def test_an_image_that_is_not_beside_the_table_is_quarantined(tmp_path, picture, parted, name):
    (tmp_path / "one.png").write_bytes(picture())
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "data.csv").write_text(f"image,label\n{name},cat\n")
    _, (bad,) = parted(table().read(tmp_path / "in", "image-classification"))
    assert "the image" in bad.reason


def test_several_classes_are_a_list_or_names_with_a_bar_between_them():
    form = table()
    for cell, expected in (
        ("a|b c", ["a", "b c"]),
        ('["a", "b|c"]', ["a", "b|c"]),
        ("[]", []),
        ("", None),
    ):
        assert form.label_of(cell, "text-multilabel") == expected


def test_an_empty_answer_is_told_lost_by_csv_and_held_by_jsonl(task_of):
    sample = Sample(name="1", content="a", target="")
    task = task_of("text-generation", ())
    assert table().losses(task, [sample]) == ["empty answers, which are read as none: 1 of 1 samples"]
    assert table("jsonl").losses(task, [sample]) == []


def test_what_is_known_beside_the_label_is_held_by_jsonl_and_told_lost_by_csv(tmp_path):
    known = {"provenance": "human", "annotators": ["ada"], "agreement": 0.5}
    sample = Sample(name="1", content="a", target="x", metadata=known)
    task = task_with(["x", "y"])
    assert [loss.partition(":")[0] for loss in table().losses(task, [sample])] == list(known)
    table("jsonl").write(tmp_path / "out", task, [sample])
    (found,) = table("jsonl").read(tmp_path / "out", KIND)
    assert found.metadata == known
    assert json.loads((tmp_path / "out" / "data.jsonl").read_text())["annotators"] == ["ada"]


def test_real_questions_are_read(real_data):
    samples = list(table(label="category").read(real_data / "banking77", KIND))
    assert len(samples) == 13_083
    assert {sample.split for sample in samples} == {"train", "test"}
    assert len({sample.target for sample in samples}) == 77
