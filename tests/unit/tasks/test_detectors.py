"""What detectors learn."""

from __future__ import annotations

import torch

from goldloop.tasks._detectors import training_labels
from goldloop.tasks.base import Batch

SIDE = 80


def batch_of(*targets):
    pixels = torch.zeros((len(targets), 3, SIDE, SIDE), dtype=torch.uint8)
    return Batch({"pixel_values": pixels}, list(targets), tuple(map(str, range(len(targets)))))


def objects(*boxes):
    points = torch.arange(len(boxes)).view(-1, 1, 1).expand(-1, 2, 3).float()
    return {
        "boxes": torch.tensor(boxes).float().view(-1, 4),
        "class_labels": torch.arange(len(boxes)),
        "keypoints": points,
    }


def test_boxes_are_learned_as_middle_and_size_in_shares_of_the_side():
    (labels,) = training_labels(batch_of(objects([8, 0, 40, 80])))

    torch.testing.assert_close(labels["boxes"], torch.tensor([[0.3, 0.5, 0.4, 1.0]]))


def test_objects_that_have_left_the_picture_are_not_learned():
    nothing = [0, 0, 0, 0]
    batch = batch_of(
        objects(nothing, [8, 0, 40, 80], nothing), objects(), objects([0, 0, 8, 8]), objects(nothing)
    )

    labels = training_labels(batch)

    assert [len(label["boxes"]) for label in labels] == [1, 0, 1, 0]
    assert labels[0]["class_labels"].tolist() == [1]
    assert labels[0]["keypoints"].unique().tolist() == [1]
    assert labels[3]["keypoints"].shape == (0, 2, 3)
    assert len(batch.targets[0]["boxes"]) == 3
