"""Boxes, masks, points and maps stay on what they mark, however the picture is moved."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from goldloop.tasks._augmentation import (
    OBJECTS,
    AugmentationOptions,
    Draws,
    draw_frames,
    frame_of,
    sampled,
    within,
)
from goldloop.tasks._moved_targets import hidden_objects, inverse, moved_maps, moved_objects

SIDE = 96
LARGE = 240
NUMBERS = st.floats(-0.4, 0.4)
FRAMES = st.builds(
    lambda wide, high, right, down, flips: frame_of(
        *(torch.tensor([value]) for value in (flips[0] * 2**wide, flips[1] * 2**high, right, down))
    ),
    NUMBERS,
    NUMBERS,
    NUMBERS,
    NUMBERS,
    st.tuples(st.sampled_from([-1, 1]), st.sampled_from([-1, 1])),
)
BOXES = st.tuples(st.integers(4, 90), st.integers(4, 90), st.integers(100, 140), st.integers(100, 140))


def marked(left, top, width, height, side=SIDE):
    """A picture whose object is white, and the object."""
    pixels = torch.zeros(1, 3, side, side)
    pixels[:, :, top : top + height, left : left + width] = 255
    objects = {
        "boxes": torch.tensor([[left, top, left + width, top + height]]).float(),
        "class_labels": torch.tensor([3]),
        "masks": (pixels[:, 0] > 0).to(torch.uint8),
    }
    return pixels, objects


def overlap(one, other):
    return float((one & other).sum() / (one | other).sum().clamp(min=1))


def filled(box, side=SIDE):
    """The pixels whose middle is in a box."""
    middle = torch.arange(side) + 0.5
    left, top, right, bottom = box.tolist()
    across, along = (middle >= left) & (middle <= right), (middle >= top) & (middle <= bottom)
    return along.view(-1, 1) & across


@settings(deadline=None, max_examples=60)
@given(FRAMES, BOXES)
def test_boxes_and_masks_cover_what_they_mark(frames, place):
    pixels, objects = marked(*place, side=LARGE)

    shown = sampled(pixels, frames, "border")[0, 0]
    (moved,) = moved_objects([objects], frames, LARGE)

    # Pixels of the border go on beyond the picture, so what is beyond is not compared.
    seen = moved_maps(torch.zeros(1, LARGE, LARGE, dtype=torch.uint8), frames)[0] == 0
    white = (shown > 127) & seen
    if moved["masks"].any():
        assert overlap(white, moved["masks"][0].bool()) >= 0.95
        assert overlap(white, filled(moved["boxes"][0], LARGE)) >= 0.95
    else:
        before = (place[2] / abs(frames[0, 0, 0])) * (place[3] / abs(frames[0, 1, 1]))
        assert white.sum() <= 0.33 * before
        assert (moved["boxes"] == 0).all()


@pytest.mark.parametrize("options", [
    AugmentationOptions(colour=False),
    AugmentationOptions(colour=False, geometry=False, crop=0.5),
    AugmentationOptions(colour=False, geometry=False, flip="horizontal"),
    AugmentationOptions(colour=False, geometry=False, flip="vertical"),
    AugmentationOptions(colour=False, crop=0.3, flip="both"),
], ids=str)  # fmt: skip
def test_every_geometric_option_takes_the_object_along(options):
    pixels, objects = marked(30, 26, 34, 40)
    frames = draw_frames(Draws(torch.Generator().manual_seed(4), 24, pixels.device), OBJECTS, options)

    shown = sampled(pixels.expand(24, -1, -1, -1), frames, "border")[:, 0] > 127
    moved = moved_objects([objects] * 24, frames, SIDE)

    assert len({tuple(found["boxes"][0].tolist()) for found in moved}) > 1
    for white, found in zip(shown, moved, strict=True):
        assert overlap(white, found["masks"][0].bool()) >= 0.95
        assert overlap(white, filled(found["boxes"][0])) >= 0.95
        assert found["class_labels"].tolist() == [3]


def turned(degrees):
    angle = torch.tensor([math.radians(degrees)])
    cosine, sine, zero = torch.cos(angle), torch.sin(angle), torch.zeros(1)
    return torch.stack([cosine, -sine, zero, sine, cosine, zero], 1).view(1, 2, 3)


def test_a_box_is_drawn_around_what_has_turned():
    pixels, objects = marked(30, 30, 36, 36)
    frames = turned(30)

    (moved,) = moved_objects([objects], frames, SIDE)

    rows, columns = (sampled(pixels, frames, "zeros")[0, 0] > 127).nonzero(as_tuple=True)
    around = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert moved["boxes"][0].tolist() == pytest.approx([float(side) for side in around], abs=2)


@settings(deadline=None, max_examples=40)
@given(FRAMES, FRAMES)
def test_the_way_back_leads_back(one, other):
    frames = within(one, within(turned(17), other))

    there_and_back = within(frames, inverse(frames))

    torch.testing.assert_close(there_and_back, torch.eye(2, 3)[None], atol=1e-4, rtol=0)


def test_an_object_that_is_mostly_out_of_the_picture_is_gone_with_its_points():
    _, objects = marked(60, 30, 30, 30)
    points = torch.tensor([[[62.0, 40.0, 2.0], [88.0, 40.0, 2.0]]])
    still = torch.zeros(1)
    shifts = [-0.2, -0.9]

    found = [
        moved_objects(
            [{**objects, "keypoints": points}], frame_of(still + 1, still + 1, still + shift, still), SIDE
        )[0]
        for shift in shifts
    ]

    assert found[0]["boxes"].tolist() == [pytest.approx([69.6, 30, 96, 60], abs=1e-3)]
    assert found[0]["keypoints"][0, :, 2].tolist() == [2, 0]
    assert (found[1]["boxes"] == 0).all()
    assert not found[1]["masks"].any()
    assert (found[1]["keypoints"][..., 2] == 0).all()


@pytest.mark.parametrize(("flips", "swapped"), [((-1, 1), True), ((1, -1), True), ((-1, -1), False)])
def test_left_and_right_change_places_in_a_mirror_and_not_when_turned(flips, swapped):
    _, objects = marked(30, 30, 30, 30)
    points = torch.tensor([[[32.0, 40.0, 2.0], [58.0, 40.0, 1.0], [45.0, 50.0, 2.0]]])
    one, zero = torch.ones(1), torch.zeros(1)
    frames = frame_of(flips[0] * one, flips[1] * one, zero, zero)

    (found,) = moved_objects([{**objects, "keypoints": points}], frames, SIDE, partners=(1, 0, 2))

    places = {"left": 32.0, "right": 58.0}
    at = "right" if swapped else "left"
    expected = places[at] if flips[0] > 0 else SIDE - places[at]
    assert float(found["keypoints"][0, 0, 0]) == pytest.approx(expected)
    assert found["keypoints"][0, 0, 2] == (1 if swapped else 2)


@pytest.mark.parametrize("degrees", [0, 33, 90])
def test_maps_follow_their_picture_and_invent_no_class(degrees):
    maps = torch.full((1, SIDE, SIDE), 255, dtype=torch.uint8)
    maps[:, 20:70, 24:60] = 9
    maps[:, 40:60, 30:50] = 254
    pixels = maps.float().unsqueeze(1).expand(-1, 3, -1, -1)
    frames = within(turned(degrees), frame_of(*(torch.tensor([value]) for value in (1.2, 0.9, 0.1, -0.2))))

    moved = moved_maps(maps, frames)

    assert set(moved.unique().tolist()) == {9, 254, 255}
    shown = sampled(pixels, frames, "border")[:, 0]
    assert overlap(moved == 9, (shown - 9).abs() < 60) >= 0.95
    assert overlap(moved != 255, shown < 254.5) >= 0.9


def test_what_is_beyond_the_picture_is_void():
    maps = torch.zeros(1, SIDE, SIDE, dtype=torch.uint8)

    moved = moved_maps(maps, frame_of(*(torch.tensor([value]) for value in (2.0, 2.0, 0.0, 0.0))))

    assert (moved == 0).sum() == (SIDE // 2) ** 2
    assert (moved == 255).sum() == SIDE**2 - (SIDE // 2) ** 2


def test_paint_hides_objects_and_points():
    _, objects = marked(20, 20, 40, 40)
    points = torch.tensor([[[22.0, 22.0, 2.0], [58.0, 58.0, 2.0], [0.0, 0.0, 0.0]]])
    targets = [{**objects, "keypoints": points}] * 3
    # The second rectangle covers a quarter of the object, the third all of it; the first has no area.
    painted = torch.tensor([[0.0] * 4, [-1.0, -1.0, 40 / 48 - 1, 40 / 48 - 1], [-0.7, -0.7, 0.7, 0.7]])

    apart, partly, wholly = hidden_objects(targets, painted, SIDE)

    for found in (apart, partly):
        assert torch.equal(found["boxes"], objects["boxes"])
        assert torch.equal(found["masks"], objects["masks"])
    assert apart["keypoints"][0, :, 2].tolist() == [2, 2, 0]
    assert partly["keypoints"][0, :, 2].tolist() == [1, 2, 0]
    assert (wholly["boxes"] == 0).all()
    assert not wholly["masks"].any()


@pytest.mark.parametrize("name", ["masks", "keypoints"])
def test_a_picture_without_objects_stays_one(name):
    shape = {"masks": (0, SIDE, SIDE), "keypoints": (0, 3, 3)}[name]
    nothing = {
        "boxes": torch.zeros((0, 4)), "class_labels": torch.zeros(0, dtype=torch.int64),
        name: torch.zeros(shape),
    }  # fmt: skip
    frames = frame_of(*(torch.tensor([value]) for value in (-1.0, 1.0, 0.1, 0.0)))

    (found,) = moved_objects([nothing], frames, SIDE, partners=(1, 0, 2))

    assert {key: tuple(value.shape) for key, value in found.items()} == {
        "boxes": (0, 4), "class_labels": (0,), name: shape,
    }  # fmt: skip
