"""Images made of several, and what is then true of them."""

from __future__ import annotations

import pytest
import torch

from goldloop.tasks._augmentation import Draws
from goldloop.tasks._mixing import cut_in, mixed, mosaic, shares_of

SIDE = 64


def draws(images=8, seed=0):
    return Draws(torch.Generator().manual_seed(seed), images, torch.device("cpu"))


def shades(images=8):
    """Each picture of one shade: 10, 20, 30, ..."""
    return torch.arange(1, images + 1).view(-1, 1, 1, 1).expand(-1, 3, SIDE, SIDE) * 10.0


def test_class_ids_become_shares():
    assert shares_of(torch.tensor([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]
    several = torch.tensor([[0.0, 1, 1]])
    assert torch.equal(shares_of(several, 3), several)


def test_mixup_lays_the_picture_before_over_another_as_far_as_it_says():
    given = shades(200)

    pixels, own = mixed(given, draws(200), 1.0, 0.0)

    expected = own.view(-1, 1, 1, 1) * given + (1 - own).view(-1, 1, 1, 1) * given.roll(1, 0)
    torch.testing.assert_close(pixels, expected)
    assert (own >= 0.5).all()
    assert (own <= 1).all()
    assert 0.7 < own.mean() < 0.9


def test_cutmix_shows_as_much_of_the_picture_before_as_it_says():
    given = shades(200)

    pixels, own = mixed(given, draws(200), 0.0, 1.0)

    torch.testing.assert_close((pixels == given).float().mean((1, 2, 3)), own)
    assert ((pixels == given) | (pixels == given.roll(1, 0))).all()
    assert own.min() < 0.3
    assert own.max() > 0.9


def test_of_both_a_batch_gets_one_or_none():
    kinds = {"mixup": 0, "cutmix": 0, "none": 0}
    given = shades(4)
    for seed in range(400):
        pixels, own = mixed(given, draws(4, seed), 0.3, 0.4)
        kept = pixels == given
        if kept.all():
            kinds["none"] += 1
        elif (kept | (pixels == given.roll(1, 0))).all():
            kinds["cutmix"] += 1
        else:
            kinds["mixup"] += 1
        assert (own <= 1).all()

    assert kinds["mixup"] / 400 == pytest.approx(0.3, abs=0.08)
    assert kinds["cutmix"] / 400 == pytest.approx(0.4, abs=0.08)


def test_shares_above_1_are_in_proportion():
    changed = [
        not torch.equal(mixed(shades(2), draws(2, seed), 1.0, 1.0)[0], shades(2)) for seed in range(50)
    ]

    assert sum(changed) >= 45


def test_what_is_cut_in_is_one_rectangle_or_nothing():
    inside, share = cut_in(draws(50), 1.0, SIDE)
    nothing, none = cut_in(draws(50), 0.0, SIDE)

    for mask, area in zip(inside[:, 0], share, strict=True):
        rows, columns = mask.nonzero(as_tuple=True)
        if len(rows):
            height, width = rows.max() - rows.min() + 1, columns.max() - columns.min() + 1
            assert int(height * width) == len(rows)
        assert float(area) == pytest.approx(len(rows) / SIDE**2)
    assert not nothing.any()
    assert not none.any()


def four(images=6):
    """Pictures with a bright object in the middle, another shade and class for each."""
    pixels = torch.zeros(images, 3, SIDE, SIDE)
    targets = []
    for number in range(images):
        pixels[number, :, 16:48, 16:48] = 100 + 20 * number
        mask = (pixels[number, :1] > 0).to(torch.uint8)
        targets.append(
            {
                "boxes": torch.tensor([[16.0, 16, 48, 48]]),
                "class_labels": torch.tensor([number]),
                "masks": mask,
                "keypoints": torch.tensor([[[32.0, 32, 2]]]),
            }
        )
    return pixels, targets


def test_a_mosaic_has_the_objects_of_four_pictures_where_they_are_seen():
    pixels, targets = four()

    made, found = mosaic(pixels, targets, draws(6), 1.0)

    compared = 0
    for number, (picture, objects) in enumerate(zip(made, found, strict=True)):
        assert objects["class_labels"].tolist() == [(number - step) % 6 for step in range(4)]
        for box, label, mask, point in zip(
            objects["boxes"],
            objects["class_labels"],
            objects["masks"].bool(),
            objects["keypoints"],
            strict=True,
        ):
            if not mask.any():
                assert (box == 0).all()
                assert (point[:, 2] == 0).all()
                continue
            compared += 1
            shade = picture[0] - (100 + 20 * float(label))
            rows, columns = mask.nonzero(as_tuple=True)
            assert (shade[mask].abs() < 1).float().mean() > 0.85
            around = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert box.tolist() == pytest.approx([float(side) for side in around], abs=1)
            if point[0, 2]:
                assert abs(shade[int(point[0, 1]), int(point[0, 0])]) < 1
    assert compared >= 16


def test_no_mosaic_leaves_pictures_and_objects_alone():
    pixels, targets = four()

    made, found = mosaic(pixels, targets, draws(6), 0.0)

    assert torch.equal(made, pixels)
    for objects, own in zip(found, targets, strict=True):
        torch.testing.assert_close(objects["boxes"][:1], own["boxes"])
        assert torch.equal(objects["masks"][:1], own["masks"])
        assert (objects["boxes"][1:] == 0).all()
        assert not objects["masks"][1:].any()


@pytest.mark.parametrize("images", [1, 2, 3])
def test_a_mosaic_of_few_pictures_repeats_them(images):
    pixels, targets = four(images)

    made, found = mosaic(pixels, targets, draws(images), 1.0)

    assert made.shape == pixels.shape
    assert [len(objects["boxes"]) for objects in found] == [4] * images
    assert mosaic(pixels, None, draws(images), 1.0)[1] is None
