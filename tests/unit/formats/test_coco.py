from __future__ import annotations

import json

import numpy as np
import pytest

from goldloop.errors import SourceError
from goldloop.formats import formats
from goldloop.formats.base import Sample
from goldloop.tasks._masks import from_counts, to_counts

BOXES, OBJECTS, PIXELS, POSES = (
    "object-detection", "instance-segmentation", "semantic-segmentation", "keypoints",
)  # fmt: skip


def coco():
    return formats.create({"kind": "coco"})


@pytest.fixture
def folder(tmp_path, picture):
    """One image, with the annotations that a test gives it."""

    def make(*annotations, categories=({"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}), **image):
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "images" / "one.png").write_bytes(picture(10, 8))
        content = {
            "images": [{"id": 5, "file_name": "one.png", "width": 10, "height": 8, **image}],
            "annotations": [{"id": 1, "image_id": 5, "category_id": 3, **each} for each in annotations],
            "categories": categories,
        }
        (tmp_path / "annotations.json").write_text(json.dumps(content))
        return tmp_path

    return make


def test_categories_are_classes_in_the_order_of_ids_that_have_gaps(folder):
    data = folder({"bbox": [1, 2, 3, 4]}, {"id": 2, "bbox": [0.12345, 0, 1, 1], "category_id": 7})
    assert coco().task_fields(data, BOXES) == {"classes": ["cat", "dog"]}
    (sample,) = coco().read(data, BOXES)
    assert [(box["label"], box["x"]) for box in sample.target] == [("cat", 1), ("dog", 0.123)]


def test_the_kind_follows_from_what_the_annotations_have(folder):
    assert coco().kind_of(folder({"bbox": [1, 2, 3, 4]})) == BOXES
    assert coco().kind_of(folder({"bbox": [1, 2, 3, 4], "segmentation": [[0, 0, 4, 0, 4, 4]]})) == OBJECTS
    assert coco().kind_of(folder({"bbox": [1, 2, 3, 4], "keypoints": [1, 1, 2]})) == POSES


def test_one_polygon_stays_one_and_several_become_one_mask(folder):
    square = [0, 0, 4, 0, 4, 4, 0, 4]
    data = folder({"segmentation": [square]}, {"id": 2, "segmentation": [square, [6, 4, 9, 4, 9, 8, 6, 8]]})
    (sample,) = coco().read(data, OBJECTS)
    polygon, mask = sample.target["objects"]
    assert polygon["polygon"] == [[0, 0], [4, 0], [4, 4], [0, 4]]
    expected = np.zeros((8, 10), bool)
    expected[0:4, 0:4] = expected[4:8, 6:9] = True
    assert np.array_equal(from_counts(mask["counts"], 10, 8), expected)


def test_plain_and_compressed_runs_are_the_same_mask(folder):
    pixels = np.zeros((8, 10), bool)
    pixels[2:5, 3] = True
    plain = {"size": [8, 10], "counts": [26, 3, 51]}
    compressed = {"size": [8, 10], "counts": to_counts(pixels)}
    (sample,) = coco().read(folder({"segmentation": plain}, {"id": 2, "segmentation": compressed}), OBJECTS)
    assert [each["counts"] for each in sample.target["objects"]] == [to_counts(pixels)] * 2


def test_crowds_are_no_objects_but_pixels_of_their_class(folder):
    runs = {"size": [8, 10], "counts": [26, 3, 51]}
    data = folder({"segmentation": runs, "bbox": [3, 2, 1, 3], "iscrowd": 1})
    for kind in (BOXES, OBJECTS):
        (sample,) = coco().read(data, kind)
        assert not (sample.target if kind == BOXES else sample.target["objects"])
        assert sample.metadata == {"crowd_regions": 1}
    (sample,) = coco().read(data, PIXELS)
    assert [mask["label"] for mask in sample.target["masks"]] == ["cat"]


def test_what_comes_later_lies_on_top(folder):
    whole = {"size": [8, 10], "counts": [0, 80]}
    part = {"size": [8, 10], "counts": [26, 3, 51]}
    data = folder({"segmentation": whole}, {"id": 2, "segmentation": part, "category_id": 7})
    (sample,) = coco().read(data, PIXELS)
    pixels = {mask["label"]: from_counts(mask["counts"], 10, 8).sum() for mask in sample.target["masks"]}
    assert pixels == {"cat": 77, "dog": 3}


@pytest.mark.parametrize(
    ("kind", "annotation", "said"),
    [
        (BOXES, {"bbox": [1, 2, 3]}, "`bbox` is no list of 4 numbers"),
        (BOXES, {"bbox": [1, 2, 3, float("nan")]}, "`bbox`"),
        (BOXES, {"bbox": [1, 2, 3, 4], "category_id": 99}, "no category has this id"),
        (OBJECTS, {"segmentation": [[1, 2, 3, 4]]}, "three points or more"),
        (OBJECTS, {"segmentation": {"size": [10, 8], "counts": [80]}}, "another size"),
        (OBJECTS, {"segmentation": {"size": [8, 10], "counts": [80_000_000]}}, "do not fill the image"),
        (OBJECTS, {"segmentation": {"size": [8, 10], "counts": "~~~"}}, "annotation 1"),
        (OBJECTS, {"bbox": [1, 2, 3, 4]}, "no outline"),
    ],
)
def test_a_bad_annotation_keeps_its_image_out_and_is_named(folder, parted, kind, annotation, said):
    good, (bad,) = parted(coco().read(folder({"bbox": [1, 1, 1, 1], **annotation}), kind))
    assert good == []
    assert bad.uri == "annotations.json#image-5"
    assert said in bad.reason
    assert "one.png" in bad.reason


@pytest.mark.parametrize("name", ["two.png", "../../etc/passwd", "/etc/passwd"])
def test_an_image_that_is_not_in_the_folder_is_quarantined(folder, parted, name):
    _, (bad,) = parted(coco().read(folder(file_name=name), BOXES))
    assert "the image is missing" in bad.reason


def test_an_image_of_another_size_is_quarantined(folder, parted):
    _, (bad,) = parted(coco().read(folder(width=8, height=10), BOXES))
    assert "another size" in bad.reason


def test_annotations_of_no_image_are_quarantined_each(folder, parted):
    good, bad = parted(coco().read(folder({"image_id": 6}, {"id": 2, "image_id": 6}), BOXES))
    assert [sample.target for sample in good] == [[]]
    assert [entry.uri for entry in bad] == [f"annotations.json#annotation-{number}" for number in (1, 2)]


def test_one_id_with_two_names_is_an_error(folder, picture):
    data = folder()
    content = json.loads((data / "annotations.json").read_text())
    content["categories"] = [{"id": 7, "name": "wolf"}]
    (data / "more.json").write_text(json.dumps(content))
    with pytest.raises(SourceError, match="two names"):
        coco().task_fields(data, BOXES)


def test_boxes_rotated_or_not_come_back_equal(picture, task_of, there_and_back, tmp_path):
    boxes = [
        {"label": "dog", "x": 1.125, "y": 2.0, "width": 3.333, "height": 4.0, "rotation": 0.0},
        {"label": "cat", "x": 30.5, "y": 2.25, "width": 10.0, "height": 4.75, "rotation": 33.123456},
    ]
    samples = [Sample(name="1.png", content=picture(), target=boxes, split="train")]
    samples.append(Sample(name="2.png", content=picture(shade=2), target=[], split="test"))
    found = there_and_back(coco(), task_of(BOXES, ["dog", "cat"]), samples)
    assert {name: (each.split, each.target) for name, each in found.items()} == {
        "1": ("train", boxes),
        "2": ("test", []),
    }
    written = json.loads((tmp_path / "out" / "annotations" / "instances_train.json").read_text())
    x, y, width, height = written["annotations"][1]["bbox"]
    ring = written["annotations"][1]["segmentation"][0]
    assert (min(ring[::2]), min(ring[1::2])) == (x, y)
    assert max(ring[::2]) == pytest.approx(x + width, abs=0.002)
    assert max(ring[1::2]) == pytest.approx(y + height, abs=0.002)


def test_objects_and_poses_come_back_equal(picture, task_of, there_and_back):
    pixels = np.zeros((48, 64), bool)
    pixels[5:20, 5:20] = True
    pixels[8:12, 8:12] = False
    pixels[30:40, 40:60] = True
    objects = [
        {"label": "b", "polygon": [[1.125, 2.0], [10.0, 2.5], [5.5, 9.75]]},
        {"label": "a", "counts": to_counts(pixels)},
    ]
    target = {"width": 64, "height": 48, "objects": objects}
    sample = Sample(name="1.png", content=picture(), target=target)
    (found,) = there_and_back(coco(), task_of(OBJECTS, ["a", "b"]), [sample]).values()
    assert found.target == target

    points = [
        {"name": "eye", "x": 3.25, "y": 4.0, "visibility": 1},
        {"name": "tail", "x": 0, "y": 0, "visibility": 2},
    ]
    poses = [
        {"label": "b", "x": 1, "y": 2, "width": 30.5, "height": 20, "points": points},
        {"label": "a", "x": 1, "y": 2, "width": 3, "height": 4, "points": []},
    ]
    task = task_of(POSES, ["a", "b"], ["eye", "ear", "tail"])
    sample = Sample(name="1.png", content=picture(), target=poses)
    (found,) = there_and_back(coco(), task, [sample], "poses").values()
    assert found.target == poses


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # of pycocotools itself
def test_pycocotools_reads_what_is_written(picture, task_of, tmp_path):
    from pycocotools.coco import COCO

    pixels = np.zeros((48, 64), bool)
    pixels[5:20, 5:20] = True
    objects = [
        {"label": "a", "polygon": [[0, 0], [10, 0], [10, 10], [0, 10]]},
        {"label": "b", "counts": to_counts(pixels)},
    ]
    target = {"width": 64, "height": 48, "objects": objects}
    sample = Sample(name="1.png", content=picture(), target=target, split="train")
    coco().write(tmp_path / "out", task_of(OBJECTS, ["a", "b"]), [sample])

    read = COCO(str(tmp_path / "out" / "annotations" / "instances_train.json"))

    square, mask = (read.annToMask(each) for each in read.loadAnns(read.getAnnIds()))
    assert square.sum() == 100
    assert np.array_equal(mask.astype(bool), pixels)
    assert [each["area"] for each in read.loadAnns(read.getAnnIds())] == [100, 225]
