"""Pictures are varied all at once, by what the generator says and nothing else."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torchvision.transforms.v2 import functional

from goldloop.tasks._augmentation import (
    BY_DEFAULT,
    OBJECTS,
    OF_CLASSES,
    OF_IMAGES,
    OF_OBJECTS,
    PIXELS,
    WHOLE_IMAGE,
    AugmentationOptions,
    Draws,
    covered,
    draw_frames,
    paint_over,
    rectangles,
    relight,
    sampled,
    vary,
)
from goldloop.tasks._rand_augment import COLOURS, MOVES, Operations, colours_of, draw_operations, frames_of
from goldloop.training.config import Augmentation

SIDE = 32
NOTHING = AugmentationOptions(geometry=False, colour=False)


def draws(images=8, seed=0):
    return Draws(torch.Generator().manual_seed(seed), images, torch.device("cpu"))


def pictures(images=8):
    """Smooth pictures, each of another shade."""
    ramp = torch.linspace(0, 255, SIDE)
    one = torch.stack([ramp.expand(SIDE, SIDE), ramp.expand(SIDE, SIDE).T, torch.full((SIDE, SIDE), 90.0)])
    return (one * torch.linspace(0.6, 1, images).view(-1, 1, 1, 1)).to(torch.uint8)


def test_the_options_are_those_of_a_recipe():
    recipe = {name: field.default for name, field in Augmentation.model_fields.items()}

    assert dataclasses.asdict(BY_DEFAULT) == recipe


def test_what_a_kind_of_task_cannot_do_is_named():
    options = AugmentationOptions(colour=False, mixup=0.5, mosaic=1.0)

    assert options.beyond(OF_CLASSES) == ("mosaic",)
    assert options.beyond(OF_OBJECTS) == ("mixup",)
    assert options.beyond(frozenset()) == ("mixup", "mosaic")
    assert BY_DEFAULT.beyond(frozenset()) == ()


@pytest.mark.parametrize("strength", [WHOLE_IMAGE, OBJECTS, PIXELS])
def test_images_differ_from_each_other_and_stay_in_range(strength):
    same = pictures(1).expand(8, -1, -1, -1)
    options = AugmentationOptions(crop=0.5, flip="both", rand_augment=2, erase=0.5)

    varied, again, other = (vary(same, draws(seed=seed), strength, options).pixels for seed in (1, 1, 2))

    assert varied.dtype == torch.float32
    assert varied.shape == same.shape
    assert varied.min() >= 0
    assert varied.max() <= 255
    assert len({tuple(image.flatten().tolist()) for image in varied}) == 8
    assert torch.equal(varied, again)
    assert not torch.equal(varied, other)


def test_without_options_images_stay_as_they_are():
    before = pictures().float()
    given = before.clone()

    varied = vary(given, draws(), WHOLE_IMAGE, NOTHING).pixels

    assert torch.equal(varied, before)
    varied.zero_()
    assert torch.equal(given, before)


@pytest.mark.parametrize("option", sorted(OF_IMAGES))
def test_every_option_of_images_changes_them_and_not_what_was_given(option):
    value = {"crop": 0.4, "flip": "both", "rand_augment": 2, "erase": 1.0}.get(option, True)
    given = pictures().float()
    before = given.clone()

    varied = vary(given, draws(), PIXELS, dataclasses.replace(NOTHING, **{option: value})).pixels

    assert not torch.equal(varied, before)
    assert torch.equal(given, before)


def test_nothing_is_mirrored_by_default():
    frames = draw_frames(draws(256), WHOLE_IMAGE, BY_DEFAULT)

    assert (frames[:, 0, 0] > 0).all()
    assert (frames[:, 1, 1] > 0).all()


@pytest.mark.parametrize(
    ("flip", "across", "along"), [("horizontal", 0.5, 0), ("vertical", 0, 0.5), ("both", 0.5, 0.5)]
)
def test_half_of_the_images_are_mirrored(flip, across, along):
    frames = draw_frames(draws(2000), OBJECTS, AugmentationOptions(flip=flip))

    assert float((frames[:, 0, 0] < 0).float().mean()) == pytest.approx(across, abs=0.05 if across else 0)
    assert float((frames[:, 1, 1] < 0).float().mean()) == pytest.approx(along, abs=0.05 if along else 0)


def test_a_mirrored_image_is_exactly_that():
    options = dataclasses.replace(NOTHING, flip="horizontal")
    given = pictures(16)

    varied = vary(given, draws(16), WHOLE_IMAGE, options)

    mirrored = varied.frames[:, 0, 0] < 0
    torch.testing.assert_close(varied.pixels[mirrored], given[mirrored].flip(3).float(), atol=1e-3, rtol=0)
    torch.testing.assert_close(varied.pixels[~mirrored], given[~mirrored].float(), atol=1e-3, rtol=0)


def test_a_crop_lies_in_the_picture_and_keeps_its_share():
    frames = draw_frames(draws(500), WHOLE_IMAGE, dataclasses.replace(NOTHING, crop=0.25))

    scale = frames[:, [0, 1], [0, 1]]
    assert (scale + frames[:, :, 2].abs() <= 1 + 1e-5).all()
    shares = scale.prod(1)
    assert 0.2 < shares.min() < 0.35
    assert 0.9 < shares.max() <= 1
    assert (frames[:, [0, 1], [1, 0]] == 0).all()


def test_what_turns_nothing_turns_nothing():
    options = AugmentationOptions(crop=0.5, flip="both", rand_augment=3)

    frames = vary(pictures(64), draws(64), OBJECTS, options).frames

    assert (frames[:, [0, 1], [1, 0]] == 0).all()


def test_light_and_contrast_change_about_the_mean():
    given = pictures().float() * 0.5 + 60
    changed = given.clone()

    relight(changed, draws(), dataclasses.replace(WHOLE_IMAGE, light=0.0))

    torch.testing.assert_close(changed.mean((1, 2, 3)), given.mean((1, 2, 3)), rtol=1e-3, atol=0)
    ratios = changed.std((1, 2, 3)) / given.std((1, 2, 3))
    assert 0.8 <= ratios.min() < 0.95
    assert 1.05 < ratios.max() <= 1.2


def test_rectangles_have_their_area_where_none_is_cut_off():
    areas = torch.full((500,), 0.04)
    found = rectangles(draws(500), areas)

    sides = found[:, 2:] - found[:, :2]
    whole = (found.abs() < 1).all(1)
    assert whole.sum() > 100
    torch.testing.assert_close((sides.prod(1) / 4)[whole], areas[whole], rtol=1e-3, atol=0)
    assert (found.abs() <= 1).all()


def test_a_rectangle_covers_the_pixels_whose_middle_is_in_it():
    boxes = torch.tensor([[-1.0, -1.0, 0.0, 0.5], [0.2, 0.2, 0.2, 0.2]])

    inside = covered(boxes, 8)

    assert inside[0, 0].nonzero().amax(0).tolist() == [5, 3]
    assert inside[0].sum() == 24
    assert not inside[1].any()


def test_only_a_share_of_the_images_is_painted_over():
    given = torch.full((400, 3, 16, 16), 300.0)

    painted = paint_over(given, draws(400), 0.25)

    touched = (given != 300).flatten(1).any(1)
    assert 60 < touched.sum() < 140
    assert torch.equal(touched, covered(painted, 16).flatten(1).any(1))


def operation(name, amount, images=2):
    nothing = torch.zeros(images)
    amounts = dict.fromkeys((*MOVES, *COLOURS), nothing)
    return Operations({**amounts, name: torch.full((images,), amount)}, images)


def test_operations_that_were_not_drawn_change_nothing():
    given = pictures(2).float()

    assert torch.equal(colours_of(given.clone(), operation("nothing", 0.3)), given)
    torch.testing.assert_close(frames_of(operation("nothing", 0.3)), torch.eye(2, 3).expand(2, 2, 3))


@pytest.mark.parametrize("name", COLOURS[1:])
@pytest.mark.parametrize("amount", [0.3, -0.3])
def test_operations_do_what_torchvision_does(name, amount):
    given = torch.randint(30, 200, (2, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(0)).to(
        torch.uint8
    )
    expected = {
        "brightness": lambda: functional.adjust_brightness(given, 1 + 0.9 * amount),
        "colour": lambda: functional.adjust_saturation(given, 1 + 0.9 * amount),
        "contrast": lambda: functional.adjust_contrast(given, 1 + 0.9 * amount),
        "sharpness": lambda: functional.adjust_sharpness(given, 1 + 0.9 * amount),
        "posterize": lambda: functional.posterize(given, 8 - round(8 * abs(amount))),
        "solarize": lambda: functional.solarize(given, 255 * (1 - abs(amount))),
        "range": lambda: functional.autocontrast(given),
        "equalize": lambda: functional.equalize(given),
    }[name]()

    changed = colours_of(given.float(), operation(name, amount))

    # torchvision leaves the outermost pixels out when it sharpens, and rounds down.
    assert (changed - expected.float())[:, :, 1:-1, 1:-1].abs().max() <= 1.5
    assert (changed - given).abs().max() >= 3


def test_each_image_draws_so_many_operations_of_about_the_strength_of_the_field():
    drawn = draw_operations(draws(2000), 2, bends=True)

    shares = {name: float((amount != 0).float().mean()) for name, amount in drawn.amounts.items()}
    assert set(shares) == {*MOVES, *COLOURS}
    assert all(share == pytest.approx(2 / 14, abs=0.03) for share in shares.values())
    strength = torch.stack(list(drawn.amounts.values())).abs()
    assert float(strength[strength > 0].mean()) == pytest.approx(0.3, abs=0.04)


def test_operations_move_as_far_as_they_say():
    turned = frames_of(operation("turn", 0.5, 1))[0]
    moved = frames_of(operation("move across", 0.5, 1))[0]

    assert torch.rad2deg(torch.atan2(turned[1, 0], turned[0, 0])).item() == pytest.approx(15)
    assert moved[0, 2].item() == pytest.approx(0.45)
    assert frames_of(operation("shear along", 0.5, 1))[0, 1, 0].item() == pytest.approx(0.15)


def test_sampling_takes_the_pictures_type_to_floats():
    given = pictures(2)

    assert torch.equal(sampled(given, None, "border"), given.float())
