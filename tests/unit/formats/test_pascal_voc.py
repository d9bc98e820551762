from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldloop.formats import formats
from goldloop.formats.base import Sample

KIND = "object-detection"
CLASSES = ("wbc", "a & <b>", "Ünï")


def box(x, y, width, height, label="wbc", rotation=0.0):
    return {"label": label, "x": x, "y": y, "width": width, "height": height, "rotation": rotation}


def voc(**options):
    return formats.create({"kind": "pascal-voc", **options})


@pytest.fixture
def folder(tmp_path, picture):
    for name in ("Annotations", "JPEGImages"):
        (tmp_path / name).mkdir()
    (tmp_path / "JPEGImages" / "one.png").write_bytes(picture())
    return tmp_path


def label(folder, objects="", name="one", size="<size><width>64</width><height>48</height></size>"):
    text = f"<annotation><filename>one.png</filename>{size}{objects}</annotation>"
    (folder / "Annotations" / f"{name}.xml").write_text(text, encoding="utf-8")


OBJECT = "<object><name>wbc</name><difficult>1</difficult><bndbox>{}</bndbox></object>"
CORNERS = "<xmin>1</xmin><ymin>2</ymin><xmax>11</xmax><ymax>22.5</ymax>"


def test_corners_are_taken_as_they_stand(folder):
    label(folder, OBJECT.format(CORNERS))
    (sample,) = voc().read(folder, KIND)
    assert sample.target == [box(1, 2, 10, 20.5)]
    assert sample.metadata == {"difficult": 1}


def test_inclusive_corners_count_pixels_from_one(folder):
    label(folder, OBJECT.format(CORNERS))
    (sample,) = voc(corners="inclusive").read(folder, KIND)
    assert sample.target == [box(0, 1, 11, 21.5)]


SIDES = st.integers(0, 10_000_000).map(lambda value: value / 1000)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.builds(box, SIDES, SIDES, SIDES, SIDES, st.sampled_from(CLASSES)), max_size=5),
    st.sampled_from(["continuous", "inclusive"]),
)
def test_boxes_come_back_equal_to_three_decimals(boxes, corners):
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, format="PNG")
    form = voc(corners=corners)
    task = SimpleNamespace(config=SimpleNamespace(kind=KIND), classes=CLASSES)
    with tempfile.TemporaryDirectory() as folder:
        form.write(
            Path(folder) / "out", task, [Sample(name="1.png", content=buffer.getvalue(), target=boxes)]
        )
        (sample,) = form.read(Path(folder) / "out", KIND)
    assert sample.target == boxes


def test_an_image_without_a_file_has_no_label_and_one_without_objects_an_empty_one(folder, picture):
    label(folder)
    (folder / "JPEGImages" / "two.png").write_bytes(picture(shade=1))
    assert [sample.target for sample in voc().read(folder, KIND)] == [[], None]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("<annotation><object>", "line 1"),
        ('<!DOCTYPE a [<!ENTITY b "b">]><annotation>&b;</annotation>', "EntitiesForbidden"),
        ("<html/>", "no annotation"),
        ("<annotation><object><name>wbc</name></object></annotation>", "object 1 has no name or no bndbox"),
        (f"<annotation>{OBJECT.format('<xmin>a</xmin>')}</annotation>", "no number xmin"),
        (f"<annotation>{OBJECT.format(CORNERS.replace('11', 'nan'))}</annotation>", "impossible xmax"),
        ("<annotation><size><width>48</width><height>64</height></size></annotation>", "another size"),
    ],
)
def test_a_bad_file_is_quarantined_with_its_name_and_the_rest_is_read(folder, picture, parted, written, said):
    label(folder)
    (folder / "JPEGImages" / "two.png").write_bytes(picture(shade=1))
    (folder / "Annotations" / "two.xml").write_text(written)
    good, (bad,) = parted(voc().read(folder, KIND))
    assert [sample.name for sample in good] == ["JPEGImages/one.png"]
    assert bad.reason.startswith("Annotations/two.xml: ")
    assert said in bad.reason


def test_an_image_is_found_by_the_file_s_own_name_before_the_one_that_it_tells(folder, picture, parted):
    (folder / "JPEGImages" / "two.png").write_bytes(picture(shade=1))
    label(folder, OBJECT.format(CORNERS), name="two")
    label(folder, name="three")
    label(folder, name="four", size="<filename>/etc/nothing.png</filename>")
    good, bad = parted(voc().read(folder, KIND))
    assert {sample.name: sample.target for sample in good} == {
        "JPEGImages/two.png": [box(1, 2, 10, 20.5)],
        "JPEGImages/one.png": [],
    }
    # `four` comes first, and tells that its image is one.png.
    (entry,) = bad
    assert "another file labels the same image" in entry.reason


def test_sizes_are_those_of_the_upright_image(tmp_path, picture, task_of, there_and_back):
    content = picture(64, 48, orientation=6, form="JPEG")
    sample = Sample(name="turned.jpg", content=content, target=[box(40, 50, 8, 14)], split="validation")
    found = there_and_back(voc(), task_of(KIND, CLASSES), [sample])["turned"]
    assert (found.target, found.split) == (sample.target, "validation")
    assert found.content.read_bytes() == content
    assert "<width>48</width>" in (tmp_path / "out" / "Annotations" / "turned.xml").read_text()


def test_rotation_is_told_lost_and_the_box_around_is_written(picture, task_of, there_and_back):
    sample = Sample(name="1.png", content=picture(), target=[box(30, 10, 10, 20, rotation=90.0)])
    task = task_of(KIND, CLASSES)
    assert voc().losses(task, [sample]) == [
        "rotation of boxes, of which the upright box around it is written: 1 of 1 samples"
    ]
    (found,) = there_and_back(voc(), task, [sample]).values()
    assert found.target == [box(10, 10, 20, 10)]


def test_real_boxes_come_back_equal(real_data, task_of, tmp_path):
    form, folder = voc(), real_data / "bccd" / "BCCD"
    samples = list(form.read(folder, KIND))
    task = task_of(KIND, form.task_fields(folder, KIND)["classes"])
    assert task.classes == ("Platelets", "RBC", "WBC")
    assert len(samples) == 364
    assert sum(len(sample.target) for sample in samples) == 4888

    named = [
        Sample(name=Path(each.name).name, content=each.content, target=each.target, split="train")
        for each in samples
    ]
    assert form.losses(task, named) == []
    form.write(tmp_path / "out", task, named)
    again = {each.name: each for each in form.read(tmp_path / "out", KIND)}

    assert len(again) == 364
    for each in samples:
        assert again[each.name].target == each.target
        assert again[each.name].content.read_bytes() == each.content.read_bytes()
