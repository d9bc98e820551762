"""What detectors learn from varied pictures."""

from __future__ import annotations

import pytest
import torch

from goldloop.tasks._detectors import varied
from goldloop.tasks.base import Batch

SIDE = 80


def batch_of(targets):
    pixels = torch.zeros((len(targets), 3, SIDE, SIDE), dtype=torch.uint8)
    return Batch({"pixel_values": pixels}, targets, tuple(map(str, range(len(targets)))))


def boxes_and_labels(*boxes):
    labels = torch.zeros(len(boxes), dtype=torch.int64)
    return {"boxes": torch.tensor(boxes).view(-1, 4), "class_labels": labels}


@pytest.mark.parametrize("mirror", [False, True])
def test_a_mask_that_fills_its_box_fills_it_in_the_varied_picture(mirror):
    masks = torch.zeros((1, SIDE, SIDE), dtype=torch.uint8)
    masks[0, 20:50, 30:60] = 1
    batch = batch_of([{**boxes_and_labels([30.0, 20.0, 60.0, 50.0]), "masks": masks}] * 24)

    found = varied(batch, torch.Generator().manual_seed(1), mirror=mirror)

    compared = 0
    for target in found.targets:
        for box, mask in zip(target["boxes"].tolist(), target["masks"], strict=True):
            rows, columns = mask.nonzero(as_tuple=True)
            sides = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert [float(side) for side in sides] == pytest.approx(box, abs=1)
            compared += 1
    assert compared >= 16
    assert masks.sum() == 900


def test_points_that_left_the_picture_are_not_learned():
    points = torch.tensor([[[1.0, 40.0, 2.0], [79.0, 40.0, 1.0], [40.0, 40.0, 2.0], [0.0, 0.0, 0.0]]])
    batch = batch_of([{**boxes_and_labels([0.0, 10.0, 80.0, 70.0]), "keypoints": points}] * 24)

    found = varied(batch, torch.Generator().manual_seed(1), mirror=False)

    moved = torch.cat([target["keypoints"] for target in found.targets])
    outside = ((moved[..., :2] < 0) | (moved[..., :2] > SIDE)).any(-1)
    assert outside[:, :2].any()
    assert not outside[:, :2].all()
    assert (moved[outside][:, 2] == 0).all()
    labelled = moved[:, :3]
    assert (labelled[~outside[:, :3]][:, 2] > 0).all()
    # A point that nobody labelled stays so, wherever the corner of the picture went.
    assert (moved[:, 3, 2] == 0).all()


@pytest.mark.parametrize("shape", [{"masks": (0, SIDE, SIDE)}, {"keypoints": (0, 3, 3)}])
def test_a_picture_without_objects_stays_one(shape):
    ((name, size),) = shape.items()
    nothing = {
        "boxes": torch.zeros((0, 4)), "class_labels": torch.zeros(0, dtype=torch.int64),
        name: torch.zeros(size),
    }  # fmt: skip

    found = varied(batch_of([nothing]), torch.Generator().manual_seed(1), mirror=True, partners=(1, 0, 2))

    assert found.targets[0]["boxes"].shape == (0, 4)
    assert found.targets[0][name].shape == size
