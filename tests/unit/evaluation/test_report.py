from __future__ import annotations

import io

import datasets
import pytest
from PIL import Image

from goldloop.errors import ModelError
from goldloop.evaluation.report import Report, evaluate
from goldloop.records import Prediction
from goldloop.tasks import tasks

CLASSES = ["cat", "dog"]


def texts_task():
    return tasks.create({"kind": "text-classification", "classes": CLASSES})


def row(key, label=0, **fields):
    return {"key": key, "text": key, "label": label, "shown_models": [], **fields}


def says_cat(contents):
    return [Prediction(target="cat", confidence=0.8) for _ in contents]


def judged(rows, predict=says_cat, task=None, own=("pets/2",)):
    return evaluate(
        task or texts_task(),
        rows,
        predict,
        name="pets",
        model="pets/2",
        version="pets@abc",
        split="test",
        own_models=set(own),
    )


def test_a_report_has_the_figures_of_the_task_and_every_item_by_key():
    report = judged([row("c", 1), row("a"), row("b")])
    assert [item.key for item in report.items] == ["a", "b", "c"]
    assert report.metrics["accuracy"].value == pytest.approx(2 / 3)
    assert report.confusion == ((2, 0), (1, 0))
    assert report.per_class["dog"]["recall"] == 0
    assert [item.key for item in report.wrong()] == ["c"]
    assert report.headline().startswith("test accuracy 0.667 (")
    assert report.headline().endswith("on 3 items")


def test_wrong_items_come_with_the_most_confident_first():
    def predict(contents):
        return [Prediction(target="cat", confidence=float(content)) for content in contents]

    report = judged([row("0.5", 1), row("0.9", 1), row("0.7", 1), row("0.99", 0)], predict)
    assert [item.key for item in report.wrong()] == ["0.9", "0.7", "0.5"]


def test_an_item_that_was_shown_the_models_own_suggestion_does_not_judge_it():
    rows = [row("a"), row("b", shown_models=["pets/2"]), row("c", shown_models=["pets/1"])]
    report = judged(rows)
    assert [item.key for item in report.items] == ["a", "c"]
    assert report.left_out == {"b": "an annotator was shown what pets/2 suggested"}


def test_an_empty_split_says_what_to_do():
    with pytest.raises(ModelError, match=r"pets@abc test: there is nothing .* `test` a larger share"):
        judged([])


def test_a_split_of_shown_items_alone_says_what_to_do():
    with pytest.raises(ModelError, match="found 1 items, on all of which its own suggestion was shown"):
        judged([row("a", shown_models=["pets/2"])])


def test_rows_are_taken_a_chunk_at_a_time():
    taken, asked = 0, []

    def rows():
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield row(f"{number}")

    def predict(contents):
        asked.append((len(contents), taken))
        return says_cat(contents)

    report = judged(rows(), predict)
    assert len(report.items) == 1000
    assert [count for count, _ in asked] == [256, 256, 256, 232]
    assert asked[0][1] <= 257


def png(color):
    buffer = io.BytesIO()
    Image.new("RGB", (20, 12), color).save(buffer, format="PNG")
    return buffer.getvalue()


def test_images_of_a_version_reach_the_model_as_the_bytes_of_their_files(tmp_path):
    task = tasks.create({"kind": "image-classification", "classes": CLASSES})
    files = {"a": png("red"), "b": png("blue")}
    (tmp_path / "b.png").write_bytes(files["b"])
    features = datasets.Features(
        {**task.features(), "key": datasets.Value("string"), "shown_models": [datasets.Value("string")]}
    )
    images = {"a": {"bytes": files["a"], "path": None}, "b": {"bytes": None, "path": str(tmp_path / "b.png")}}
    rows = [{"key": key, "image": image, "label": 0, "shown_models": []} for key, image in images.items()]
    seen = []

    def predict(contents):
        seen.extend(contents)
        return says_cat(contents)

    report = judged(datasets.Dataset.from_list(rows, features=features), predict, task)
    assert seen == [files["a"], files["b"]]
    assert report.metrics["accuracy"].value == 1


def test_a_missing_image_names_its_item(tmp_path):
    task = tasks.create({"kind": "image-classification", "classes": CLASSES})
    gone = {"key": "k", "image": {"bytes": None, "path": str(tmp_path / "no.png")}, "label": 0}
    with pytest.raises(ModelError, match="item k: an image of the dataset version is missing"):
        judged([gone], task=task)


def test_a_report_is_read_as_it_was_written(tmp_path, make_report):
    report = make_report(shown={3: ["mail/2"]})
    report.save(tmp_path / "deep" / "report")
    assert Report.load(tmp_path / "deep" / "report") == report
    assert sorted(path.name for path in (tmp_path / "deep" / "report").iterdir()) == [
        "confusion.png",
        "report.html",
        "report.json",
    ]


def test_saving_again_replaces_the_whole_folder(tmp_path, make_report):
    folder = tmp_path / "report"
    make_report(0.5).save(folder)
    (folder / "left.txt").write_text("from before")
    better = make_report(1.0)
    better.save(folder)
    assert Report.load(folder) == better
    assert not (folder / "left.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_what_cannot_be_written_leaves_the_former_report(tmp_path, make_report, monkeypatch):
    import os

    def full(handle):
        raise OSError(28, "No space left on device")

    first = make_report(0.5)
    first.save(tmp_path / "report")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ModelError, match="No space left"):
        make_report(1.0).save(tmp_path / "report")
    assert Report.load(tmp_path / "report") == first
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_an_absent_and_a_damaged_report_say_where(tmp_path):
    with pytest.raises(ModelError, match=r"report\.json: there is no report"):
        Report.load(tmp_path)
    (tmp_path / "report.json").write_text('{"name": 3}')
    with pytest.raises(ModelError, match=r"report\.json: the report cannot be read \(found name"):
        Report.load(tmp_path)
