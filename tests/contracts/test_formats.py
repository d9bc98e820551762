"""The laws that every format keeps. A new file in `goldloop/formats` is held to them unasked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from goldloop.errors import RecipeError, SourceError
from goldloop.formats import formats
from goldloop.formats.base import Sample
from goldloop.records import Quarantined
from goldloop.tasks import tasks

PAIRS = [(name, kind) for name in formats.names() for kind in tasks.names() if formats.get(name).holds(kind)]
SPLITS = ("train", "validation", "test")


def test_there_are_formats_and_each_holds_something():
    assert {"coco", "yolo", "pascal-voc", "png-masks", "conll", "csv", "jsonl"} <= set(formats.names())
    assert {name for name, _ in PAIRS} >= {"csv", "jsonl", "label-studio", "image-folder"}


@pytest.fixture(params=PAIRS, ids=lambda pair: "-".join(pair))
def pair(request):
    """A format, and a task that it holds."""
    name, kind = request.param
    return formats.create({"kind": name}), tasks.create(tasks.get(kind).example_config())


def samples_of(task, splits=SPLITS):
    """The task's examples, in splits by turns."""
    return [
        Sample(
            name=f"näme {number}{_extension(example)}",
            content=example.content if task.modality == "image" else example.item.text,
            target=example.target,
            split=splits[number % len(splits)],
        )
        for number, example in enumerate(task.examples())
    ]


def _extension(example):
    return {"image/jpeg": ".jpg", "image/png": ".png"}.get(example.item.media_type, "")


def content_of(sample):
    if isinstance(sample.content, Path):
        return sample.content.read_bytes()
    return sample.content.encode() if isinstance(sample.content, str) else sample.content


def found_in(form, task, folder):
    """What lies in a folder: content -> split and target in its canonical form."""
    items = {
        example.content if task.modality == "image" else example.item.text.encode(): example.item
        for example in task.examples()
    }
    found = {}
    for sample in form.read(folder, task.config.kind):
        assert isinstance(sample, Sample), sample
        content = content_of(sample)
        assert content not in found
        found[content] = (sample.split, task.parse(json.loads(json.dumps(sample.target)), items[content]))
    return found


@pytest.mark.parametrize("splits", [SPLITS, ["test"], [None]], ids=["split", "test only", "not split"])
def test_what_is_written_is_read_back_equal_unless_a_loss_was_told(pair, splits, tmp_path):
    form, task = pair
    samples = samples_of(task, splits)
    held = [sample for sample in samples if not form.losses(task, [sample])]
    assert held, "every example of the task is lost in part"

    form.write(tmp_path / "out", task, held)

    assert found_in(form, task, tmp_path / "out") == {
        content_of(sample): (sample.split, sample.target) for sample in held
    }


def test_a_told_loss_is_one(pair, tmp_path):
    form, task = pair
    for number, sample in enumerate(samples_of(task)):
        if form.losses(task, [sample]):
            form.write(tmp_path / str(number), task, [sample])
            (read,) = form.read(tmp_path / str(number), task.config.kind)
            assert content_of(read) != content_of(sample) or read.target != sample.target


def test_the_classes_come_back_in_the_order_of_their_ids(pair, tmp_path):
    form, task = pair
    if task.classes:
        task = task.with_classes(tuple(reversed(task.classes)))
    form.write(tmp_path / "out", task, samples_of(task))

    fields = form.task_fields(tmp_path / "out", task.config.kind)

    assert tasks.create({"kind": task.config.kind, **fields}).classes == task.classes


def test_a_group_and_metadata_are_held_or_told_lost(pair, tmp_path):
    form, task = pair
    first = samples_of(task)[0]
    sample = Sample(
        name=first.name,
        content=first.content,
        target=first.target,
        group="patient 7",
        metadata={"annotators": ["ada", "bob"]},
    )
    plain = form.losses(task, [first])

    told = [loss for loss in form.losses(task, [sample]) if loss not in plain]
    form.write(tmp_path / "out", task, [sample])
    (read,) = form.read(tmp_path / "out", task.config.kind)

    assert any("group" in loss for loss in told) == (read.group != "patient 7")
    assert any("annotators" in loss for loss in told) == (read.metadata != sample.metadata)


def test_a_target_that_is_not_empty_is_never_overwritten(pair, tmp_path):
    form, task = pair
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")

    with pytest.raises(SourceError, match="there already"):
        form.write(tmp_path / "out", task, samples_of(task))

    assert [path.name for path in tmp_path.rglob("*")] == ["out", "mine.txt"]


def test_an_export_that_breaks_off_leaves_nothing(pair, tmp_path):
    form, task = pair

    def breaking():
        yield samples_of(task)[0]
        raise OSError("the disk is full")

    with pytest.raises(SourceError, match="the disk is full"):
        form.write(tmp_path / "out", task, breaking())

    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_such_a_data_set_is_an_error(pair, tmp_path):
    form, task = pair
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(SourceError):
            list(form.read(folder, task.config.kind))


def test_one_broken_file_is_quarantined_and_the_rest_is_read(pair, tmp_path):
    form, task = pair
    samples = samples_of(task, ["train"])
    form.write(tmp_path / "out", task, samples)
    if task.modality == "text":
        for path in (tmp_path / "out").rglob("*.conll"):
            path.write_text("no tag\n\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
        for path in [*(tmp_path / "out").rglob("*.csv"), *(tmp_path / "out").rglob("*.jsonl")]:
            with path.open("a", encoding="utf-8") as file:
                file.write("no, such, row, at all, here\n")
        for path in (tmp_path / "out").rglob("tasks.json"):
            path.write_text(json.dumps([*json.loads(path.read_text(encoding="utf-8")), {"id": 99}]))
    else:
        image = sorted((tmp_path / "out").rglob("näme*.[jp][pn]g"))[0]
        image.unlink()
        image.with_suffix(".txt").write_text("no image")

    found = list(form.read(tmp_path / "out", task.config.kind))

    bad = [entry for entry in found if isinstance(entry, Quarantined)]
    assert bad
    assert all(len(entry.reason) > 10 for entry in bad)
    lost = 0 if task.modality == "text" else 1
    assert sum(isinstance(entry, Sample) for entry in found) >= len(samples) - lost - 1
    assert len({entry.uri if isinstance(entry, Quarantined) else entry.name for entry in found}) == len(found)


@pytest.mark.parametrize("name", formats.names())
def test_a_task_that_a_format_does_not_hold_is_refused(name, tmp_path):
    form = formats.create({"kind": name})
    for kind in tasks.names():
        if not form.holds(kind):
            with pytest.raises(RecipeError, match="jsonl"):
                form.write(tmp_path / "out", tasks.create(tasks.get(kind).example_config()), [])
    assert not (tmp_path / "out").exists()
