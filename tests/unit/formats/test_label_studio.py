from __future__ import annotations

import json

import pytest

from goldloop.formats import formats
from goldloop.tasks import tasks

KIND = "text-classification"


def label_studio(**options):
    return formats.create({"kind": "label-studio", **options})


def answer(name, **fields):
    region = {
        "from_name": "their-name",
        "to_name": "their-text",
        "type": "choices",
        "value": {"choices": [name]},
    }
    return {"result": [region], "was_cancelled": False, **fields}


def read(folder, *entries, **options):
    (folder / "export.json").write_text(json.dumps(entries))
    return label_studio(**options).read(folder, KIND)


def test_controls_of_any_name_are_read_and_classes_found(tmp_path):
    found = list(
        read(
            tmp_path,
            {"id": 7, "data": {"words": "hello"}, "annotations": [answer("greeting")]},
            {"id": 8, "data": {"words": "sun?"}, "annotations": [answer("weather")]},
        )
    )
    assert [(each.name, each.content, each.target) for each in found] == [
        ("export.json#task-7", "hello", "greeting"),
        ("export.json#task-8", "sun?", "weather"),
    ]
    assert label_studio().task_fields(tmp_path, KIND) == {"classes": ["greeting", "weather"]}


def test_skips_and_predictions_are_no_answers_and_people_vote(tmp_path):
    skip = answer("b", was_cancelled=True)
    found = list(
        read(
            tmp_path,
            {"id": 1, "data": {"text": "one"}, "annotations": [skip, answer("a")]},
            {"id": 2, "data": {"text": "two"}, "annotations": [skip]},
            {"id": 3, "data": {"text": "three"}, "annotations": [answer("a"), answer("b"), answer("b")]},
            {"id": 4, "data": {"text": "four"}, "annotations": [answer("a"), answer("b")]},
            {"id": 5, "data": {"text": "five"}, "annotations": [], "predictions": [answer("a")]},
        )
    )
    assert [each.target for each in found] == ["a", None, "b", None, None]
    assert found[2].metadata == {"answers": 3}


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"id": 1, "annotations": []}, "no `data`"),
        ({"id": 1, "data": {"a": "x", "b": "y"}}, "which field of `data`"),
        ({"id": 1, "data": {"text": "x"}, "annotations": [{"result": [{"type": "choices"}]}]}, "task-1"),
        (7, "no `data`"),
    ],
)
def test_a_bad_task_is_quarantined_and_named(tmp_path, parted, entry, said):
    good_entry = {"id": 9, "data": {"text": "one"}, "annotations": [answer("a")]}
    other = {"id": 10, "data": {"text": "two"}, "annotations": [answer("b")]}
    good, (bad,) = parted(read(tmp_path, good_entry, other, entry))
    assert len(good) == 2
    assert said in bad.reason


@pytest.mark.parametrize(
    "address",
    [
        "/data/local-files/?d=some/root/images/a%20b.png",
        "/data/upload/3/a%20b.png",
        "images/a b.png",
        "s3://b/a b.png",
    ],
)
def test_images_are_found_by_the_end_of_their_address(tmp_path, picture, address):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a b.png").write_bytes(picture())
    entry = {"id": 1, "data": {"picture": address}, "annotations": [answer("a")]}
    other = {"id": 2, "data": {"picture": "../../etc/passwd"}, "annotations": [answer("b")]}
    (tmp_path / "export.json").write_text(json.dumps([entry, other]))
    found, lost = label_studio().read(tmp_path, "image-classification")
    assert found.content == tmp_path / "images" / "a b.png"
    assert "the image is missing" in lost.reason


@pytest.mark.parametrize("kind", tasks.names())
def test_an_export_is_what_label_studio_imports(tmp_path, kind):
    from label_studio_sdk.label_interface import LabelInterface

    from goldloop.formats.base import Sample

    task = tasks.create(tasks.get(kind).example_config())
    samples = [
        Sample(name=f"{number}.png", content=example.content or example.item.text, target=example.target)
        for number, example in enumerate(task.examples())
    ]
    label_studio().write(tmp_path / "out", task, samples)

    interface = LabelInterface((tmp_path / "out" / "label_config.xml").read_text())
    entries = json.loads((tmp_path / "out" / "tasks.json").read_text())
    assert len(entries) == len(samples)
    for entry in entries:
        assert {shown.value.lstrip("$") for shown in interface.objects} <= entry["data"].keys()
        for annotation in entry["annotations"]:
            assert interface.validate_prediction({"result": annotation["result"]}, return_errors=True) == []


def test_two_tasks_of_one_id_are_told_apart_by_the_source(tmp_path):
    from goldloop.connectors import connectors

    entries = [{"id": 1, "data": {"text": text}, "annotations": [answer(text)]} for text in "ab"]
    (tmp_path / "export.json").write_text(json.dumps(entries))
    section = {"kind": "dataset", "url": str(tmp_path), "format": "label-studio", "task": KIND}
    first, second = connectors.create(section).items()
    assert first.label == "a"
    assert "has the name" in second.reason
