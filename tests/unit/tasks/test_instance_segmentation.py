"""Objects with outlines and masks between people, files and networks."""

from __future__ import annotations

import io
import json

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from goldloop.errors import AnnotationError, ItemError
from goldloop.records import Item
from goldloop.tasks import tasks
from goldloop.tasks._images import decode_upright
from goldloop.tasks._instance_masks import in_square, mask_of, spread, unpacked
from goldloop.tasks._letterbox import letterbox
from goldloop.tasks._masks import from_counts, to_counts

TASK = tasks.create({"kind": "instance-segmentation", "classes": ["bolt", "nut"]})
WIDTH, HEIGHT = 300, 200
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}  # fmt: skip


def item_of(width=WIDTH, height=HEIGHT):
    return Item(
        key="k", modality="image", uri="u", group="g", source="0:files", media_type="image/png",
        width=width, height=height,
    )  # fmt: skip


def polygon(*points, label="bolt"):
    return {"label": label, "polygon": [list(point) for point in points]}


def painted(mask, label="bolt"):
    return {"label": label, "counts": to_counts(mask)}


def target_of(*objects, width=WIDTH, height=HEIGHT):
    return {"width": width, "height": height, "objects": list(objects)}


def square_mask(left, top, side, width=WIDTH, height=HEIGHT):
    mask = numpy.zeros((height, width), dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


def overlap(one, other):
    return (one & other).sum() / (one | other).sum()


TRIANGLE = polygon((20.0, 20.0), (120.5, 30.25), (60.0, 150.125))


@st.composite
def answers(draw):
    """An item of any size with objects in canonical form."""
    width, height = draw(st.integers(1, 3000)), draw(st.integers(1, 40))
    item = item_of(width, height)
    objects = []
    for _ in range(draw(st.integers(0, 4))):
        label = draw(st.sampled_from(["bolt", "nut"]))
        if draw(st.booleans()):
            share = st.floats(0, 1)
            corners = draw(st.lists(st.tuples(share, share), min_size=3, max_size=9))
            points = [[round(x * width, 3), round(y * height, 3)] for x, y in corners]
            if len({x for x, _ in points}) > 1 and len({y for _, y in points}) > 1:
                objects.append({"label": label, "polygon": points})
        else:
            seed = draw(st.integers(0, 2**32 - 1))
            mask = numpy.random.default_rng(seed).random((height, width)) < 0.3
            mask[0, 0] = True
            objects.append(painted(mask, label))
    return item, TASK.parse({"width": width, "height": height, "objects": objects}, item)


@settings(deadline=None, max_examples=80)
@given(answers())
def test_every_form_and_back_is_the_same_to_the_bit(answer):
    item, target = answer

    assert json.loads(json.dumps(target)) == target
    assert TASK.parse(target, item) == target
    assert TASK.decode(json.loads(json.dumps(TASK.encode(target, item))), item) == target
    assert TASK.from_row(TASK.to_row(target)) == target
    assert TASK.decode(list(reversed(TASK.encode(target, item))), item) == target
    assert TASK.agreement(target, target) == 1
    assert TASK.consensus([target, target], "unanimous") == target
    assert TASK.score([target], [target])["map"] == pytest.approx(1)


def test_holes_and_parts_of_a_brush_region_are_one_object():
    mask = square_mask(10, 10, 50) ^ square_mask(20, 20, 10) | square_mask(200, 100, 30)
    target = TASK.parse(target_of(painted(mask)), item_of())

    (region,) = TASK.encode(target, item_of())
    (found,) = TASK.decode([region], item_of())["objects"]

    assert region["type"] == "brushlabels"
    assert (mask_of(found, WIDTH, HEIGHT) == mask).all()


def test_a_polygon_stays_as_it_was_drawn():
    target = TASK.parse(target_of(TRIANGLE), item_of())

    (region,) = TASK.encode(target, item_of())

    assert region["type"] == "polygonlabels"
    assert region["value"]["points"][0] == pytest.approx([20 / 300 * 100, 10])
    assert TASK.decode([region], item_of())["objects"] == [TRIANGLE]


def test_nothing_is_an_answer():
    assert TASK.decode([], item_of()) == target_of()
    assert TASK.encode(target_of(), item_of()) == []
    assert TASK.describe(target_of()) == "nothing"


POLYGON_VALUES = [
    ({"points": [[1, 1], [2, 2]]}, "3 corners or more"),
    ({"points": [[1, 1], [2, 2], [3, "x"]]}, "3 corners or more"),
    ({"points": [[10, 10], [20, 20], [130, 30]]}, "outside the image"),
    ({"points": [[10, 10], [20, 10], [30, 10]]}, "nothing inside"),
    ({"polygonlabels": ["bolt", "nut"]}, "exactly one class"),
    ({"polygonlabels": ["bold"]}, "Did you mean 'bolt'"),
]


@pytest.mark.parametrize(("change", "problem"), POLYGON_VALUES)
def test_a_polygon_that_means_nothing_is_named(change, problem):
    (region,) = TASK.encode(target_of(TRIANGLE), item_of())
    broken = {**region, "value": {**region["value"], **change}}

    with pytest.raises(AnnotationError, match=problem) as caught:
        TASK.decode([broken], item_of())

    assert f"item k, region {region['id']}" in str(caught.value)


def test_a_brush_region_that_was_wiped_out_is_named():
    (region,) = TASK.encode(target_of(painted(square_mask(0, 0, 5))), item_of())
    (empty,) = TASK.encode(target_of(painted(square_mask(0, 0, 0))), item_of())

    with pytest.raises(AnnotationError, match=r"region \w+: an object without a pixel"):
        TASK.decode([region, empty], item_of())


def test_regions_of_another_image_are_refused():
    for entry in (TRIANGLE, painted(square_mask(0, 0, 5))):
        (region,) = TASK.encode(target_of(entry), item_of())
        with pytest.raises(AnnotationError, match="original_width"):
            TASK.decode([{**region, "original_width": 299}], item_of())
    with pytest.raises(AnnotationError, match="another size"):
        TASK.parse(target_of(width=200, height=300), item_of())


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"label": "bolt"}, "a polygon or a mask"),
        ({**TRIANGLE, "counts": "PP"}, "a polygon or a mask"),
        (painted(numpy.eye(5, dtype=bool)), "another size than its image"),
        ({"label": "bolt", "counts": 7}, "no compressed RLE"),
        ({"label": "bolt", "polygon": [1, 2, 3]}, "a list of corners"),
        (polygon((0, 0), (1, float("nan")), (5, 5)), "no number"),
        (polygon((-3, 0), (1, 4), (5, 5)), "outside the image"),
    ],
)
def test_a_source_that_means_nothing_is_told_so(entry, problem):
    with pytest.raises(AnnotationError, match=problem):
        TASK.parse(target_of(entry), item_of())


def test_corners_within_a_pixel_of_the_edge_are_moved_to_it():
    target = TASK.parse(target_of(polygon((-0.4, 10), (300.9, 10), (60, 200.5))), item_of())

    assert target["objects"] == [polygon((0.0, 10.0), (300.0, 10.0), (60.0, 200.0))]


def test_former_names_of_classes_count_for_the_present_ones():
    renamed = tasks.create(
        {"kind": "instance-segmentation", "classes": ["screw", "nut"], "renamed": {"bolt": "screw"}}
    )
    regions = TASK.encode(target_of(TRIANGLE, painted(square_mask(0, 0, 5))), item_of())

    assert renamed.classes_in(renamed.decode(regions, item_of())) == ["screw", "screw"]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("tool", ["polygon", "brush"])
def test_what_was_drawn_on_a_picture_of_any_orientation_is_what_the_model_sees(orientation, tool):
    seen = Image.new("RGB", (WIDTH, HEIGHT), "white")
    corners = [(40.0, 30.0), (250.5, 60.0), (180.0, 170.25), (70.0, 120.0)]
    drawn = polygon(*corners)
    mask = mask_of(drawn, WIDTH, HEIGHT)
    if tool == "brush":
        mask &= ~square_mask(120, 80, 25)
        drawn = painted(mask)
    seen.paste("red", mask=Image.fromarray(mask))
    # The file holds the pixels as the camera lay; viewers turn them upright by the tag.
    stored = seen.transpose(TURNS[orientation]) if orientation in TURNS else seen
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    stored.save(buffer, format="PNG", exif=exif)
    upright = decode_upright(buffer.getvalue(), WIDTH)
    item = item_of(*upright.size)

    target = TASK.decode(TASK.encode(target_of(drawn), item), item)

    assert upright.size == (WIDTH, HEIGHT)
    red = numpy.asarray(upright)[..., 1] < 128
    assert overlap(red, mask_of(target["objects"][0], WIDTH, HEIGHT)) >= 0.99
    # And in the square that the network gets.
    model = TASK.model({"from-config": dict(TASK.small_network)}, settings={"image_size": 256})
    (row,) = TASK.prepare(model, [{"key": "k", "image": buffer.getvalue(), **TASK.to_row(target)}])
    in_network = (row["pixel_values"][1] < 128).numpy() & (row["pixel_values"][0] > 200).numpy()
    (learned,) = unpacked(row["masks"], 256).numpy().astype(bool)
    assert overlap(in_network, learned) >= 0.97
    left, top, right, bottom = row["boxes"][0]
    rows, columns = numpy.flatnonzero(learned.any(1)), numpy.flatnonzero(learned.any(0))
    assert (left, top) == pytest.approx((columns[0], rows[0]), abs=1.5)
    assert (right, bottom) == pytest.approx((columns[-1] + 1, rows[-1] + 1), abs=1.5)


def test_a_networks_mask_of_a_box_is_where_the_box_is():
    # A disc in a box that begins between pixels.
    steps = (torch.arange(28) + 0.5) / 14 - 1
    shares = (steps[None] ** 2 + steps[:, None] ** 2 <= 1).float()
    box = (20.3, 10.6, 120.3, 90.6)

    mask = spread(shares, box, WIDTH, HEIGHT)

    disc = Image.new("L", (WIDTH * 4, HEIGHT * 4))
    ImageDraw.Draw(disc).ellipse([side * 4 for side in box], fill=255)
    true = numpy.asarray(disc.resize((WIDTH, HEIGHT), Image.Resampling.BOX)) >= 128
    assert overlap(mask, true) > 0.97
    assert not spread(shares, (400.0, 10.0, 420.0, 30.0), WIDTH, HEIGHT).any()


def test_masks_move_with_their_pictures():
    torch.manual_seed(0)
    task = tasks.create({"kind": "instance-segmentation", "classes": ["ring", "wedge"], "mirror": True})
    example = task.examples()[0]
    model = task.example_model()
    row = {"key": "k", "image": example.content, **task.to_row(example.target)}
    batch = task.batch(task.prepare(model, [row] * 12), model)

    varied = task.augment(batch, model, torch.Generator().manual_seed(3))

    compared = 0
    for pixels, target in zip(varied.inputs["pixel_values"], varied.targets, strict=True):
        for label, mask in zip(target["class_labels"].tolist(), target["masks"].bool(), strict=True):
            shade = pixels[0] - pixels[2] if label == 0 else pixels[2] - pixels[0]
            coloured = shade > 60
            if mask.sum() > 60:
                compared += 1
                assert (mask & coloured).sum() / mask.sum() > 0.8
    assert compared >= 8
    assert torch.equal(
        batch.targets[0]["masks"], task.batch(task.prepare(model, [row]), model).targets[0]["masks"]
    )


def test_several_people_keep_the_pixels_that_most_of_them_gave():
    answers = [target_of(painted(square_mask(left, 20, 60))) for left in (20, 22, 30)]

    (found,) = TASK.consensus(answers, "majority")["objects"]

    assert (mask_of(found, WIDTH, HEIGHT) == square_mask(22, 20, 60)).all()


def test_an_object_that_one_of_three_has_seen_is_left_out():
    one, other = painted(square_mask(20, 20, 60)), painted(square_mask(150, 20, 60), "nut")

    assert TASK.consensus([target_of(one)] * 2 + [target_of(one, other)], "majority") == target_of(one)
    assert TASK.consensus([target_of(one)] * 2 + [target_of(one, other)], "unanimous") is None
    assert TASK.consensus([target_of(one), target_of(width=9, height=9)], "majority") is None


def test_agreement_is_the_overlap_of_masks_whoever_drew_them_and_how():
    drawn = target_of(polygon((20, 20), (80, 20), (80, 80), (20, 80)))
    brush = target_of(painted(square_mask(20, 20, 60)))
    half = target_of(painted(square_mask(50, 20, 60)))

    assert TASK.agreement(drawn, brush) == pytest.approx(1, abs=1e-6)
    assert TASK.agreement(brush, half) == pytest.approx(1 / 3)
    assert TASK.agreement(brush, target_of(painted(square_mask(20, 20, 60), "nut"))) == 0


def test_masks_that_miss_cost_and_those_that_hit_are_counted_by_class():
    truth = target_of(painted(square_mask(20, 20, 60)), painted(square_mask(120, 20, 60), "nut"))
    found = target_of(
        {**painted(square_mask(30, 20, 60)), "score": 0.9},
        {**painted(square_mask(200, 100, 60), "nut"), "score": 0.8},
        {**painted(square_mask(120, 20, 60), "nut"), "score": 0.1},
    )

    figures = TASK.score([found], [truth])
    by_class = TASK.per_class([found], [truth])

    assert 0 < figures["map"] < figures["map_50"] < 1
    assert by_class["bolt"]["f1"] == 1
    assert by_class["nut"]["recall"] == 0


def test_annotators_see_what_the_model_is_sure_of():
    found = target_of({**painted(square_mask(20, 20, 60)), "score": 0.7}, {**TRIANGLE, "score": 0.2})

    (region,) = TASK.encode(found, item_of())

    assert region["score"] == 0.7
    assert TASK.describe(found) == "1 bolt"


def test_an_outline_between_the_centres_of_pixels_still_is_something():
    thin = target_of(polygon((10.6, 10.6), (10.9, 10.6), (10.9, 10.9)))

    assert mask_of(thin["objects"][0], WIDTH, HEIGHT).sum() == 1
    assert TASK.score([thin], [thin])["map"] == pytest.approx(1)


def test_a_row_with_objects_of_another_size_is_no_training_data():
    example = TASK.examples()[0]
    model = TASK.example_model()
    row = {"key": "k", "image": example.content, **TASK.to_row(target_of(TRIANGLE))}

    with pytest.raises(ItemError, match="another size"):
        TASK.prepare(model, [row])


def test_a_large_mask_comes_into_the_square_whole():
    mask = square_mask(1000, 500, 900, width=3000, height=2000)
    buffer = io.BytesIO()
    Image.new("L", (3000, 2000)).save(buffer, format="PNG")
    model = TASK.model({"from-config": dict(TASK.small_network)}, settings={"image_size": 100})
    _, frame = letterbox(buffer.getvalue(), model.processor)

    boxes, masks = in_square(target_of(painted(mask), width=3000, height=2000), frame, 100)

    assert masks.shape == (1, 100, 13)
    assert unpacked(masks, 100).sum() == pytest.approx((900 / 30) ** 2, rel=0.05)
    assert boxes[0] == pytest.approx([33.333, 32.75, 63.333, 62.9], abs=1e-3)
    assert (from_counts(to_counts(mask), 3000, 2000) == mask).all()


def test_drawing_leaves_the_picture_alone():
    picture = Image.new("RGB", (150, 100), "white")
    nearest = Image.Resampling.NEAREST

    shown = TASK.drawn(TASK.parse(target_of(TRIANGLE), item_of()), picture, 0.5)

    assert picture.getcolors() == [(150 * 100, (255, 255, 255))]
    marked = (numpy.asarray(shown) != 255).any(-1)
    true = numpy.asarray(Image.fromarray(mask_of(TRIANGLE, WIDTH, HEIGHT)).resize((150, 100), nearest))
    assert overlap(marked, true) > 0.99
