from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from goldloop.errors import SourceError
from goldloop.formats import formats
from goldloop.formats.base import Sample
from goldloop.tasks._masks import from_counts, to_counts

KIND = "semantic-segmentation"
CAMVID = [
    "Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian",
    "Bicyclist",
]  # fmt: skip


def masks(**options):
    return formats.create({"kind": "png-masks", **options})


def put(folder, name, pixels, picture, **arguments):
    for part in ("images", "masks"):
        (folder / part).mkdir(exist_ok=True)
    height, width = np.asarray(pixels).shape[:2]
    (folder / "images" / f"{name}.png").write_bytes(picture(width, height, **arguments))
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(buffer, format="PNG")
    (folder / "masks" / f"{name}.png").write_bytes(buffer.getvalue())


def test_pixels_are_class_ids_and_void_is_left_out(tmp_path, picture):
    put(tmp_path, "one", [[0, 1, 255], [1, 1, 11]], picture)
    (sample,) = masks(classes=["a", "b"], void=[11, 255]).read(tmp_path, KIND)
    assert (sample.target["width"], sample.target["height"]) == (3, 2)
    found = {mask["label"]: from_counts(mask["counts"], 3, 2).tolist() for mask in sample.target["masks"]}
    assert found == {
        "a": [[True, False, False], [False] * 3],
        "b": [[False, True, False], [True, True, False]],
    }


def test_a_picture_that_is_void_as_a_whole_is_an_answer(tmp_path, picture):
    put(tmp_path, "one", [[255, 255]], picture)
    (sample,) = masks(classes=["a", "b"]).read(tmp_path, KIND)
    assert sample.target == {"width": 2, "height": 1, "masks": []}


def test_classes_must_come_from_somewhere(tmp_path, picture):
    put(tmp_path, "one", [[0, 1]], picture)
    with pytest.raises(SourceError, match=r"classes\.txt"):
        list(masks().read(tmp_path, KIND))


def test_bad_masks_are_quarantined_by_name(tmp_path, picture, parted):
    put(tmp_path, "a-good", [[0, 1]], picture)
    put(tmp_path, "b-unknown", [[0, 7]], picture)
    put(tmp_path, "c-colour", np.zeros((1, 2, 3)), picture)
    put(tmp_path, "d-broken", [[0, 1]], picture)
    (tmp_path / "masks" / "d-broken.png").write_bytes(b"\x89PNG")
    put(tmp_path, "e-size", [[0, 1]], picture)
    (tmp_path / "images" / "e-size.png").write_bytes(picture(1, 2))
    put(tmp_path, "f-orphan", [[0, 1]], picture)
    (tmp_path / "images" / "f-orphan.png").unlink()
    put(tmp_path, "g-unlabelled", [[0, 1]], picture)
    (tmp_path / "masks" / "g-unlabelled.png").unlink()

    good, bad = parted(masks(classes=["a", "b"]).read(tmp_path, KIND))

    assert {sample.name: sample.target is None for sample in good} == {
        "images/a-good.png": False,
        "images/g-unlabelled.png": True,
    }
    reasons = {entry.uri: entry.reason for entry in bad}
    for name, said in (
        ("images/b-unknown.png", "found 7, expected 0 to 1, or void 255"),
        ("images/c-colour.png", "colour"),
        ("images/d-broken.png", "cannot be decoded"),
        ("images/e-size.png", "another size"),
        ("masks/f-orphan.png", "no image"),
    ):
        assert said in reasons.pop(name)
    assert reasons == {}


def test_more_classes_than_a_byte_holds(picture, task_of, there_and_back):
    classes = [f"class {number}" for number in range(300)]
    pixels = np.arange(300).reshape(15, 20)
    target = {
        "width": 20,
        "height": 15,
        "masks": [
            {"label": classes[number], "counts": to_counts(pixels == number)} for number in (0, 254, 255, 299)
        ],
    }
    sample = Sample(name="1.png", content=picture(20, 15), target=target, split="test")
    found = there_and_back(masks(), task_of(KIND, classes), [sample])["1"]
    assert (found.target, found.split) == (target, "test")


def test_real_masks_come_back_to_the_pixel(real_data, task_of, tmp_path):
    form, folder = masks(classes=CAMVID, void=[11]), real_data / "camvid"
    samples = list(form.read(folder, KIND))
    assert len(samples) == 100
    task = task_of(KIND, CAMVID)
    named = [
        Sample(name=each.content.name, content=each.content, target=each.target, split="train")
        for each in samples
    ]

    masks().write(tmp_path / "out", task, named)
    again = {each.content.name: each for each in masks().read(tmp_path / "out", KIND)}

    assert len(again) == 100
    for each in samples:
        name = each.content.name
        assert again[name].target == each.target
        original = np.asarray(Image.open(folder / "masks" / name))
        written = np.asarray(Image.open(tmp_path / "out" / "masks" / "train" / name))
        assert np.array_equal(np.where(original == 11, 255, original), written)
