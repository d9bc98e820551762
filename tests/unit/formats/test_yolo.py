from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from goldloop.errors import SourceError
from goldloop.formats import formats
from goldloop.formats._yolo_lines import outline
from goldloop.formats.base import Sample
from goldloop.tasks._masks import to_counts

BOXES, OBJECTS, POSES = "object-detection", "instance-segmentation", "keypoints"


def yolo():
    return formats.create({"kind": "yolo"})


def box(x, y, width, height, label="a", rotation=0.0):
    return {"label": label, "x": x, "y": y, "width": width, "height": height, "rotation": rotation}


@pytest.fixture
def folder(tmp_path, picture):
    """One image of 100 x 50 with the lines that a test gives it."""

    def make(*lines, place="train", **description):
        for part in ("images", "labels"):
            (tmp_path / part / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / place / "one.png").write_bytes(picture(100, 50))
        (tmp_path / "labels" / place / "one.txt").write_text("\n".join(lines))
        names = {"names": ["a", "b"], "train": f"images/{place}", "val": f"images/{place}", **description}
        (tmp_path / "data.yaml").write_text(yaml.safe_dump(names))
        return tmp_path

    return make


def test_shares_of_the_image_become_pixels(folder):
    (sample,) = yolo().read(folder("1 0.5 0.5 0.2 0.4", "", "0 0.1 0.2 0.2 0.4"), BOXES)
    assert sample.target == [box(40, 15, 20, 20, "b"), box(0, 0, 20, 20)]


def test_four_corners_are_a_rotated_box_or_a_polygon_as_the_task_says(folder):
    data = folder("0 0.3 0.2 0.3 0.6 0.1 0.6 0.1 0.2")
    (sample,) = yolo().read(data, BOXES)
    assert sample.target == [box(30, 10, 20, 20, rotation=90.0)]
    (sample,) = yolo().read(data, OBJECTS)
    assert sample.target["objects"] == [{"label": "a", "polygon": [[30, 10], [30, 30], [10, 30], [10, 10]]}]


def test_keypoints_with_and_without_visibility(folder):
    data = folder("0 0.5 0.5 0.2 0.4 0.1 0.2 1 0 0 0", kpt_shape=[2, 3], kpt_names={0: ["eye", "ear"]})
    assert yolo().task_fields(data, POSES) == {"classes": ["a", "b"], "keypoints": ["eye", "ear"]}
    (sample,) = yolo().read(data, POSES)
    assert sample.target[0]["points"] == [{"name": "eye", "x": 10, "y": 10, "visibility": 1}]
    data = folder("0 0.5 0.5 0.2 0.4 0.1 0.2 0 0", kpt_shape=[2, 2])
    (sample,) = yolo().read(data, POSES)
    assert sample.target[0]["points"] == [{"name": "point 1", "x": 10, "y": 10, "visibility": 2}]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("2 0.5 0.5 0.2 0.4", "class id is not below 2"),
        ("-1 0.5 0.5 0.2 0.4", "class id"),
        ("0 0.5 0.5 0.2", "so many numbers"),
        ("0 0.5 0.5 0.2 nan", "impossible"),
        ("a 0.5 0.5 0.2 0.1", "a class id and numbers"),
    ],
)
def test_a_bad_line_keeps_its_image_out_and_is_named(folder, parted, line, said):
    good, (bad,) = parted(yolo().read(folder("0 0.5 0.5 0.2 0.4", line), BOXES))
    assert good == []
    assert "labels/train/one.txt, line 2: " in bad.reason
    assert said in bad.reason


def test_an_image_without_a_text_file_has_nothing_in_it_and_a_text_file_without_image_is_told(
    folder, picture, parted
):
    data = folder("0 0.5 0.5 0.2 0.4")
    (data / "images" / "train" / "two.png").write_bytes(picture(shade=1))
    (data / "labels" / "train" / "three.txt").write_text("")
    good, (bad,) = parted(yolo().read(data, BOXES))
    assert [len(sample.target) for sample in good] == [1, 0]
    assert bad.uri == "labels/train/three.txt"


def test_other_layouts_are_found(tmp_path, picture):
    for split, key in (("train", "train"), ("valid", "val")):
        for part in ("images", "labels"):
            (tmp_path / split / part).mkdir(parents=True)
        (tmp_path / split / "images" / f"{split}.png").write_bytes(picture(shade=len(split)))
        (tmp_path / split / "labels" / f"{split}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
        assert key in ("train", "val")
    text = "train: ../train/images\nval: ../valid/images\nnc: 1\nnames: ['a']\n"
    (tmp_path / "data.yaml").write_text(text)
    found = {Path(sample.name).stem: sample.split for sample in yolo().read(tmp_path, BOXES)}
    assert found == {"train": "train", "valid": "validation"}

    (tmp_path / "train.txt").write_text("./train/images/train.png\n")
    (tmp_path / "data.yaml").write_text("test: train.txt\nnames: ['a']\n")
    assert [sample.split for sample in yolo().read(tmp_path, BOXES)] == ["test"]


@pytest.mark.parametrize(
    ("description", "said"),
    [({"train": "../../elsewhere"}, "not there"), ({"names": {1: "a"}}, "leaves out an id")],
)
def test_a_description_that_leads_nowhere_is_an_error(folder, description, said):
    with pytest.raises(SourceError, match=said):
        list(yolo().read(folder("0 0.5 0.5 0.2 0.4", **description), BOXES))


SIDES = st.integers(1, 6_000_000).map(lambda value: value / 1000)
ANGLES = st.integers(0, 359_999_999).map(lambda value: value / 1e6)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(SIDES, SIDES, SIDES, SIDES), min_size=1, max_size=4),
    st.none() | ANGLES,
    st.integers(1, 5000),
    st.integers(1, 5000),
)
def test_boxes_come_back_equal_rotated_or_not(places, rotation, width, height):
    import io

    from PIL import Image

    boxes = [box(*place, rotation=rotation or 0.0) for place in places]
    if rotation is not None:
        # Of a box that is as thin as the third decimal, corners tell the angle no better than that.
        boxes = [{**each, "width": each["width"] + 10, "height": each["height"] + 10} for each in boxes]
        boxes = [
            {**each, "width": round(each["width"], 3), "height": round(each["height"], 3)} for each in boxes
        ]
    buffer = io.BytesIO()
    Image.new("1", (width, height)).save(buffer, format="PNG")
    task = SimpleNamespace(config=SimpleNamespace(kind=BOXES), classes=("a",))
    with tempfile.TemporaryDirectory() as folder:
        sample = Sample(name="1.png", content=buffer.getvalue(), target=boxes)
        yolo().write(Path(folder) / "out", task, [sample])
        (found,) = yolo().read(Path(folder) / "out", BOXES)
    assert found.target == boxes
    assert found.split is None


def test_polygons_and_poses_come_back_equal(picture, task_of, there_and_back):
    target = {
        "width": 64,
        "height": 48,
        "objects": [{"label": "b", "polygon": [[1.125, 2.0], [10.001, 2.5], [5.5, 9.75]]}],
    }
    sample = Sample(name="1.png", content=picture(), target=target, split="validation")
    (found,) = there_and_back(yolo(), task_of(OBJECTS, ["a", "b"]), [sample]).values()
    assert (found.target, found.split) == (target, "validation")

    points = [
        {"name": "eye", "x": 3.25, "y": 4.1, "visibility": 1},
        {"name": "tail", "x": 0, "y": 0, "visibility": 2},
    ]
    poses = [{"label": "b", "x": 1.1, "y": 2, "width": 30.5, "height": 20, "points": points}]
    task = task_of(POSES, ["a", "b"], ["eye", "ear", "tail"])
    sample = Sample(name="1.png", content=picture(), target=poses)
    (found,) = there_and_back(yolo(), task, [sample], "poses").values()
    assert found.target == poses
    assert not yolo().losses(task, [sample])


def test_masks_are_told_lost_and_the_outline_of_the_largest_part_is_written(picture, task_of, there_and_back):
    pixels = np.zeros((48, 64), bool)
    pixels[5:20, 5:25] = True
    pixels[8:12, 8:12] = False
    pixels[30:32, 40:42] = True
    target = {"width": 64, "height": 48, "objects": [{"label": "a", "counts": to_counts(pixels)}]}
    sample = Sample(name="1.png", content=picture(), target=target)
    task = task_of(OBJECTS, ["a"])
    (loss,) = yolo().losses(task, [sample])
    assert "holes" in loss
    (found,) = there_and_back(yolo(), task, [sample]).values()
    ((polygon,),) = [[each["polygon"] for each in found.target["objects"]]]
    assert sorted(map(tuple, polygon)) == [(5, 5), (5, 20), (25, 5), (25, 20)]


def test_an_outline_goes_along_the_edges_of_pixels():
    assert sorted(outline(to_counts(np.ones((2, 3), bool)), (3, 2))) == [(0, 0), (0, 2), (3, 0), (3, 2)]
