from __future__ import annotations

import pytest

from goldloop.formats import formats
from goldloop.formats.base import Sample

KIND = "image-classification"


def image_folder():
    return formats.create({"kind": "image-folder"})


def put(folder, name, content):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def test_folders_are_classes_and_folders_named_like_splits_are_splits(tmp_path, picture):
    for number, name in enumerate(("train/cat/a.png", "train/dog/b.png", "val/cat/c.png", "test/d.png")):
        put(tmp_path, name, picture(shade=number))
    found = {sample.name: (sample.split, sample.target) for sample in image_folder().read(tmp_path, KIND)}
    assert found == {
        "train/cat/a.png": ("train", "cat"),
        "train/dog/b.png": ("train", "dog"),
        "val/cat/c.png": ("validation", "cat"),
        "test/d.png": ("test", None),
    }
    assert image_folder().task_fields(tmp_path, KIND) == {"classes": ["cat", "dog"]}


def test_classes_may_be_named_like_splits(tmp_path, picture):
    for number, name in enumerate(("train/a.png", "test/b.png")):
        put(tmp_path, name, picture(shade=number))
    found = {sample.name: (sample.split, sample.target) for sample in image_folder().read(tmp_path, KIND)}
    assert found == {"train/a.png": (None, "train"), "test/b.png": (None, "test")}


def test_what_is_no_image_or_in_no_class_is_told(tmp_path, picture, parted):
    put(tmp_path, "cat/a.png", picture())
    put(tmp_path, "cat/notes.doc", b"notes")
    put(tmp_path, "b.png", picture(shade=1))
    put(tmp_path, ".hidden/c.png", picture(shade=2))
    good, bad = parted(image_folder().read(tmp_path, KIND))
    assert [sample.name for sample in good] == ["cat/a.png"]
    assert {entry.uri for entry in bad} == {"cat/notes.doc", "b.png"}


@pytest.mark.parametrize("split", [None, "train"])
def test_any_class_name_comes_back(picture, task_of, there_and_back, split):
    classes = ["train", "test", "a/b", "..", ".hidden", "50%", "a%2Fb", "Ünï", "back\\slash", " blank "]
    samples = [
        Sample(name=f"{number}.png", content=picture(shade=number), target=name, split=split)
        for number, name in enumerate(classes)
    ]
    found = there_and_back(image_folder(), task_of(KIND, classes), samples)
    assert [(found[str(number)].target, found[str(number)].split) for number in range(len(classes))] == [
        (name, split) for name in classes
    ]
