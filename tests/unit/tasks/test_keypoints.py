"""Poses between people, files and networks."""

from __future__ import annotations

import contextlib
import io
import json
import random

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from pydantic import ValidationError

from goldloop.errors import AnnotationError, GoldloopError, ModelError, VersionError
from goldloop.records import Item
from goldloop.tasks import tasks
from goldloop.tasks._images import decode_upright
from goldloop.tasks._poses import similarities

NAMES = ("nose", "left hand", "right hand", "tail")
WIDTH, HEIGHT = 300, 200
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}  # fmt: skip


def task_of(**fields):
    names = {"person": NAMES[:3], "dog": ("nose", "tail")}
    return tasks.create({"kind": "keypoints", "classes": ["person", "dog"], "keypoints": names, **fields})


TASK = task_of()


def item_of(width=WIDTH, height=HEIGHT):
    return Item(
        key="k", modality="image", uri="u", group="g", source="0:files", media_type="image/png",
        width=width, height=height,
    )  # fmt: skip


def pose(*points, label="person", x=20.0, y=30.0, width=100.0, height=80.0, **fields):
    """A pose; its points are a name, x, y and perhaps a visibility."""
    return {
        "label": label, "x": x, "y": y, "width": width, "height": height,
        "points": [
            {"name": name, "x": float(px), "y": float(py), "visibility": seen[0] if seen else 2}
            for name, px, py, *seen in points
        ],
        **fields,
    }  # fmt: skip


def ungrouped(regions):
    return [{name: value for name, value in each.items() if name != "parentID"} for each in regions]


@st.composite
def answers(draw):
    width, height = draw(st.integers(4, 8000)), draw(st.integers(4, 8000))
    item, share = item_of(width, height), st.floats(0, 1)
    poses = []
    for _ in range(draw(st.integers(0, 4))):
        label = draw(st.sampled_from(TASK.classes))
        place = {"x": draw(share) * width / 2, "y": draw(share) * height / 2}
        size = {
            "width": 0.01 + draw(share) * width / 2 * 0.9,
            "height": 0.01 + draw(share) * height / 2 * 0.9,
        }
        names = draw(st.lists(st.sampled_from(TASK.names_of(label)), unique=True))
        points = [
            (name, draw(share) * width, draw(share) * height, draw(st.sampled_from([1, 2]))) for name in names
        ]
        poses.append(pose(*points, label=label, **place, **size))
    return item, TASK.parse(poses, item)


@settings(deadline=None, max_examples=150)
@given(answers())
def test_every_form_and_back_is_the_same_to_the_bit(answer):
    item, target = answer
    result = json.loads(json.dumps(TASK.encode(target, item)))

    assert json.loads(json.dumps(target)) == target
    assert TASK.parse(target, item) == target
    assert TASK.decode(result, item) == target
    assert TASK.decode(list(reversed(result)), item) == target
    assert TASK.from_row(TASK.to_row(target)) == target
    assert TASK.agreement(target, target) == 1
    assert TASK.consensus([target, target], "unanimous") == target
    assert TASK.score([target], [target])["map"] == pytest.approx(1)


def test_a_point_is_grouped_with_its_box_and_says_whether_it_is_hidden():
    regions = TASK.encode([pose(("nose", 30, 40), ("left hand", 50, 60, 1))], item_of())

    assert [region["type"] for region in regions] == [
        "rectanglelabels", "keypointlabels", "keypointlabels", "choices",
    ]  # fmt: skip
    box, nose, hand, choice = regions
    assert nose["parentID"] == hand["parentID"] == box["id"]
    assert choice["id"] == hand["id"]
    assert choice["value"]["choices"] == ["occluded"]
    assert (nose["value"]["x"], nose["value"]["y"]) == pytest.approx((10, 20))


def test_a_point_without_a_group_belongs_to_the_box_around_it():
    poses = TASK.parse([pose(("nose", 30, 40)), pose(("tail", 210, 40), label="dog", x=200.0)], item_of())

    assert TASK.decode(ungrouped(TASK.encode(poses, item_of())), item_of()) == poses


def test_a_point_in_a_box_within_another_belongs_to_the_smaller():
    inner = pose(("nose", 45, 55), x=40.0, y=50.0, width=20.0, height=20.0)
    outer = pose(("left hand", 100, 100))

    poses = TASK.decode(ungrouped(TASK.encode([outer, inner], item_of())), item_of())

    assert poses == TASK.parse([inner, outer], item_of())


def test_a_point_belongs_to_a_box_whose_class_has_it():
    dog = pose(("tail", 45, 55), label="dog")
    person = pose(x=40.0, y=50.0, width=20.0, height=20.0)

    assert TASK.decode(ungrouped(TASK.encode([person, dog], item_of())), item_of()) == [person, dog]


def test_a_group_counts_for_more_than_the_place():
    outside = [pose(("nose", 250, 180)), pose(x=200.0, y=150.0, width=90.0, height=45.0)]

    assert TASK.decode(TASK.encode(outside, item_of()), item_of()) == outside


def broken(change):
    """What two people with a nose look like in Label Studio, with one thing wrong."""
    second = pose(("nose", 60, 60), x=50.0, y=50.0)
    first, nose, other, other_nose = TASK.encode([pose(("nose", 30, 40)), second], item_of())
    return change(first, nose, other, other_nose)


def without_group(region):
    (bare,) = ungrouped([region])
    return bare


def moved(region, **value):
    return {**region, "value": {**region["value"], **value}}


def choice_of(region, choices):
    value = {**region["value"], "choices": choices}
    return {**region, "type": "choices", "from_name": "visibility", "value": value}


BROKEN = [
    (lambda b1, p1, b2, p2: [b1, p1, b2, without_group(p2)], "could belong to several boxes"),
    (lambda b1, p1, b2, p2: [b1, p1, {**p2, "parentID": b1["id"]}], "'nose' is there twice"),
    (lambda b1, p1, b2, p2: [p1, {**b1, "id": "elsewhere"}], "grouped with something that is no box"),
    (lambda b1, p1, b2, p2: [without_group(p1)], "a point is in no box"),
    (lambda b1, p1, b2, p2: [b1, moved(p1, keypointlabels=["tail"])], "'person' has no such point"),
    (
        lambda b1, p1, b2, p2: [b1, moved(without_group(p1), keypointlabels=["tail"])],
        "'person' has no such point",
    ),
    (lambda b1, p1, b2, p2: [b1, moved(p1, keypointlabels=["nose", "tail"])], "exactly one name"),
    (lambda b1, p1, b2, p2: [b1, moved(p1, x=101.0)], "a point is outside the image"),
    (lambda b1, p1, b2, p2: [b1, moved(p1, x="left")], "`x` is no number"),
    (lambda b1, p1, b2, p2: [b1, p1, choice_of(b1, ["occluded"])], "only a point can be occluded"),
    (lambda b1, p1, b2, p2: [b1, p1, choice_of(p1, ["blurred"])], "occluded or not"),
    (lambda b1, p1, b2, p2: [moved(b1, rotation=10.0)], "is not turned"),
    (lambda b1, p1, b2, p2: [moved(b1, rectanglelabels=["persn"])], "Did you mean 'person'"),
    (lambda b1, p1, b2, p2: [{**b1, "original_width": 299}], "original_width"),
    (lambda b1, p1, b2, p2: [b1, {**p1, "original_height": 299}], "original_height"),
    (lambda b1, p1, b2, p2: [b1, {**b2, "id": b1["id"]}], "two boxes have one id"),
]


@pytest.mark.parametrize(("change", "problem"), BROKEN, ids=[problem for _, problem in BROKEN])
def test_regions_that_are_no_poses_are_named(change, problem):
    with pytest.raises(AnnotationError, match=problem) as caught:
        TASK.decode(broken(change), item_of())

    assert "item k, region " in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (pose(("nose", 1, 1), ("nose", 2, 2)), "there twice"),
        (pose(("nose", 1, 1, 0)), "neither visible nor occluded"),
        (pose(("tail", 1, 1)), "no such point"),
        (pose(("nose", 301.5, 1)), "outside the image"),
        ({**pose(), "points": "nose"}, "points are given as a list"),
        ({**pose(), "label": "cat"}, "unknown class"),
        ({**pose(), "width": -1}, "nothing inside"),
    ],
)
def test_a_source_that_means_nothing_is_told_so(entry, problem):
    with pytest.raises(AnnotationError, match=problem):
        TASK.parse([entry], item_of())


def test_points_come_in_the_order_of_the_recipe():
    (found,) = TASK.parse([pose(("right hand", 9, 9), ("nose", 1, 1))], item_of())

    assert [point["name"] for point in found["points"]] == ["nose", "right hand"]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"keypoints": []}, "different names, found none"),
        ({"keypoints": ["nose", "nose"]}, "'nose' twice"),
        ({"keypoints": {"cat": ["nose"]}}, "'cat', which is no class"),
        ({"skeleton": [["nose", "ear"]]}, "'ear' is none of the keypoints"),
        ({"sigmas": {"ear": 0.1}}, "'ear' is none of the keypoints"),
        ({"sigmas": {"nose": 0}}, "above 0"),
        ({"mirrored": [["left hand", "right hand"], ["left hand", "nose"]]}, "with one other"),
    ],
)
def test_a_recipe_that_contradicts_itself_is_told_so(fields, problem):
    with pytest.raises((ValidationError, GoldloopError), match=problem):
        task_of(**fields)


def test_classes_may_have_all_points_or_their_own():
    assert TASK.config.keypoints == NAMES
    assert TASK.names_of("dog") == ("nose", "tail")
    assert task_of(keypoints=["nose", "tail"]).names_of("person") == ("nose", "tail")
    assert TASK.with_classes(["person", "dog", "cat"]).names_of("cat") == NAMES


def test_rows_with_a_point_that_the_task_does_not_have_are_refused():
    row = TASK.to_row([pose(("right hand", 9, 9))])

    with pytest.raises(VersionError, match="'right hand'"):
        task_of(keypoints=["nose"]).from_row(row)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_point_set_on_a_picture_of_any_orientation_is_where_the_model_sees_it(orientation):
    seen = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(seen)
    draw.rectangle((40, 30, 139, 129), fill="blue")
    draw.ellipse((60 - 8, 50 - 8, 60 + 8, 50 + 8), fill="red")
    drawn = pose(("nose", 60.5, 50.5), x=40.0, y=30.0, width=100.0, height=100.0)
    # The file holds the pixels as the camera lay; viewers turn them upright by the tag.
    stored = seen.transpose(TURNS[orientation]) if orientation in TURNS else seen
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    stored.save(buffer, format="PNG", exif=exif)
    upright = decode_upright(buffer.getvalue(), WIDTH)
    item = item_of(*upright.size)

    target = TASK.decode(TASK.encode([drawn], item), item)

    assert upright.size == (WIDTH, HEIGHT)
    assert target == [drawn]
    torch.manual_seed(0)
    model = TASK.model({"from-config": dict(TASK.small_network)}, settings={"image_size": 256})
    (row,) = TASK.prepare(model, [{"key": "k", "image": buffer.getvalue(), **TASK.to_row(target)}])
    red, _, blue = (row["pixel_values"].numpy() > 128)[[0, 1, 2]]
    rows, columns = numpy.nonzero(red & ~blue)
    x, y, visibility = row["keypoints"][0, NAMES.index("nose")]
    assert (x, y) == pytest.approx((columns.mean() + 0.5, rows.mean() + 0.5), abs=0.5)
    assert visibility == 2
    assert not row["keypoints"][0, 1:].any()
    left, top, right, bottom = row["boxes"][0].round().astype(int)
    assert (blue & ~red)[top + 1 : bottom - 1, left + 1 : right - 1].mean() > 0.9


def test_points_move_with_their_pictures_and_change_sides_in_a_mirror():
    task = task_of(mirror=True, mirrored=[["left hand", "right hand"]])
    picture = Image.new("RGB", (96, 96), (0, 0, 0))
    draw = ImageDraw.Draw(picture)
    # Whatever the mirror does, the hand on the left of the picture is the right one.
    places = {
        "right hand": (30, 50, (255, 60, 60)),
        "nose": (48, 40, (60, 255, 60)),
        "left hand": (66, 50, (60, 60, 255)),
    }
    for x, y, shade in places.values():
        draw.ellipse((x - 5, y - 5, x + 5, y + 5), fill=shade)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    points = [(name, x + 0.5, y + 0.5) for name, (x, y, _) in places.items()]
    target = task.parse([pose(*points, x=20.0, y=30.0, width=56.0, height=30.0)], item_of(96, 96))
    torch.manual_seed(0)
    model = task.model({"from-config": dict(task.small_network)}, settings={"image_size": 96})
    row = {"key": "k", "image": buffer.getvalue(), **task.to_row(target)}
    batch = task.batch(task.prepare(model, [row] * 16), model)

    varied = task.augment(batch, model, torch.Generator().manual_seed(5))

    sides = set()
    for pixels, labels in zip(varied.inputs["pixel_values"], varied.targets, strict=True):
        for spots in labels["keypoints"]:
            mirrored = bool((spots[1, 2] > 0) & (spots[2, 2] > 0) & (_channel(pixels, spots[1]) == 0))
            sides.add(mirrored)
            for name, (x, y, visibility) in zip(NAMES, spots.tolist(), strict=True):
                if name == "tail":
                    assert visibility == 0
                elif visibility and 3 < x < 93 and 3 < y < 93:
                    expected = {"nose": 1, "left hand": 2, "right hand": 0}[name]
                    if mirrored and name != "nose":
                        expected = 2 - expected
                    assert _channel(pixels, (x, y)) == expected
            if spots[1, 2] and spots[2, 2]:
                assert spots[1, 0] > spots[2, 0]
    assert sides == {True, False}


def _channel(pixels, spot):
    return int(pixels[:, int(spot[1]), int(spot[0])].argmax())


def test_several_people_place_a_point_at_the_mean():
    answers = [
        [pose(("nose", 30, 40), ("left hand", 60, 60))],
        [pose(("nose", 32, 43, 1), x=22.0)],
        [pose(("nose", 34, 43, 1), x=24.0)],
    ]

    assert TASK.consensus(answers, "majority") == [pose(("nose", 32, 42, 1), x=22.0)]


def test_agreement_falls_with_the_distance_of_points_and_with_their_absence():
    near = [[pose(("nose", 30, 40), ("left hand", 60, 60))], [pose(("nose", 31, 40), ("left hand", 60, 60))]]
    far = [pose(("nose", 60, 40), ("left hand", 60, 60))]
    fewer = [pose(("nose", 30, 40))]

    values = [TASK.agreement(near[0], other) for other in (near[1], fewer, far)]

    assert 0.98 < values[0] < 1
    assert values[1] == pytest.approx(0.5)
    assert values[2] == pytest.approx(0.5, abs=0.01)
    assert TASK.agreement(near[0], [pose(label="dog")]) == 0
    assert TASK.agreement([pose()], [pose(width=50.0)]) == pytest.approx(0.5)


def random_pairs(chance):
    pairs = []
    for _ in range(10):
        expected = []
        for _ in range(chance.randrange(1, 4)):
            x, y = chance.uniform(0, 150), chance.uniform(0, 100)
            points = [
                (name, x + chance.uniform(0, 90), y + chance.uniform(0, 90), chance.choice([1, 2]))
                for name in chance.sample(NAMES[:3], chance.randrange(1, 4))
            ]
            expected.append(pose(*points, x=x, y=y, width=90.0, height=90.0))
        predicted = []
        for true in expected:
            known = {point["name"]: (point["x"], point["y"]) for point in true["points"]}
            spread = chance.choice([1, 6, 20])
            points = [
                (name, x + chance.gauss(0, spread), y + chance.gauss(0, spread))
                for name in NAMES[:3]
                for x, y in [known.get(name, (50, 50))]
            ]
            predicted.append({**pose(*points, x=true["x"], y=true["y"]), "score": chance.random()})
        pairs.append((predicted, expected))
    return pairs


def plain_coco(pairs, sigmas):
    """The same by COCOeval over everything at once."""
    truth, found = [], []
    for image, (predicted, expected) in enumerate(pairs):
        for poses, entries in ((expected, truth), (predicted, found)):
            for each in poses:
                points = {point["name"]: point for point in each["points"]}
                values = [
                    number
                    for name in NAMES[:3]
                    for number in (
                        (points[name]["x"], points[name]["y"], points[name]["visibility"])
                        if name in points
                        else (0, 0, 0)
                    )
                ]
                box = [each["x"], each["y"], each["width"], each["height"]]
                entry = {
                    "id": len(entries) + 1, "image_id": image, "iscrowd": 0, "category_id": 1, "bbox": box,
                    "area": each["width"] * each["height"], "keypoints": values,
                    "num_keypoints": len(points), "score": each.get("score"),
                }  # fmt: skip
                entries.append(entry)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {}, "images": [{"id": number} for number in range(len(pairs))],
            "categories": [{"id": 1}], "annotations": truth,
        }  # fmt: skip
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), "keypoints")
        evaluation.params.kpt_oks_sigmas = numpy.array(sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


@pytest.mark.parametrize("seed", range(4))
def test_figures_are_those_of_plain_coco(seed):
    pairs = random_pairs(random.Random(seed))
    task = task_of(sigmas={"nose": 0.026})

    figures = task.score(*zip(*pairs, strict=True))

    stats = plain_coco(pairs, [0.026, 0.05, 0.05])
    assert 0 < stats[0] < 1
    assert figures["map"] == pytest.approx(stats[0])
    assert figures["map_50"] == pytest.approx(stats[1])
    assert figures["map_75"] == pytest.approx(stats[2])
    assert figures["mar_100"] == pytest.approx(stats[5])


def test_points_that_nobody_labelled_cost_nothing_and_missing_ones_do():
    measure = similarities({}, "to-truth")
    truth = pose(("nose", 30, 40), ("left hand", 60, 60))

    more = measure([pose(("nose", 30, 40), ("left hand", 60, 60), ("right hand", 1, 1))], [truth])
    fewer = measure([pose(("nose", 30, 40))], [truth])

    assert (more.item(), fewer.item()) == pytest.approx((1, 0.5))


def test_annotators_see_what_the_model_is_sure_of():
    found = [pose(("nose", 30, 40), score=0.7), pose(x=40.0, score=0.2)]

    box, nose = TASK.encode(found, item_of())

    assert box["score"] == nose["score"] == 0.7
    assert TASK.describe(found) == "1 person"
    assert TASK.decode([box, nose], item_of()) == [pose(("nose", 30, 40))]


def test_a_model_of_other_points_is_refused(tmp_path):
    task = task_of(keypoints=["nose", "tail"])
    model = task.model({"from-config": {**task.small_network, "channels": 32}}, settings={"image_size": 64})
    model.network.save_pretrained(tmp_path)
    model.processor.save_pretrained(tmp_path)

    assert task.model(tmp_path, settings=model.settings).network.config.keypoints == ["nose", "tail"]
    with pytest.raises(ModelError, match=r"other points \(found nose, tail"):
        task_of(keypoints=["tail", "nose"]).model(tmp_path, settings=model.settings)


def test_drawing_shows_points_and_bones_and_leaves_the_picture_alone():
    task = task_of(skeleton=[["nose", "left hand"]])
    picture = Image.new("RGB", (150, 100), "white")

    shown = task.drawn([pose(("nose", 40, 60), ("left hand", 80, 60))], picture, 0.5)

    assert picture.getcolors() == [(150 * 100, (255, 255, 255))]
    assert shown.getpixel((30, 30)) != (255, 255, 255)
    assert shown.getpixel((30, 60)) == (255, 255, 255)
