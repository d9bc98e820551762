"""Batches are varied with their answers, for every kind of task about images."""

from __future__ import annotations

import pytest
import torch

from goldloop.tasks import tasks
from goldloop.tasks._augmentation import AugmentationOptions
from goldloop.tasks._varied_batches import augment_classes, augment_images, augment_maps, augment_objects
from goldloop.tasks.base import Batch, LossOptions

SIDE = 80
ALL = {
    "geometry": True, "colour": True, "crop": 0.5, "flip": "both", "rand_augment": 2,
    "erase": 0.5, "mixup": 0.5, "cutmix": 0.5, "mosaic": 1.0,
}  # fmt: skip
KINDS = [kind for kind in tasks.names() if tasks.get(kind).augmentations]


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def batch_of(targets, images=None):
    count = images or len(targets)
    pixels = torch.randint(0, 256, (count, 3, SIDE, SIDE), generator=generator(), dtype=torch.uint8)
    return Batch({"pixel_values": pixels}, targets, tuple(map(str, range(count))))


def objects(*boxes):
    labels = torch.zeros(len(boxes), dtype=torch.int64)
    return {"boxes": torch.tensor(boxes).float().view(-1, 4), "class_labels": labels}


def test_there_are_kinds_to_vary():
    assert {"image-classification", "object-detection", "semantic-segmentation", "keypoints"} <= set(KINDS)
    assert not tasks.get("text-classification").augmentations


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_task_does_all_that_it_says_and_still_has_a_loss(kind):
    torch.manual_seed(0)
    task = tasks.create(tasks.get(kind).example_config())
    model = task.example_model()
    rows = [
        {"key": example.item.key, "image": example.content, **task.to_row(example.target)}
        for example in task.examples()
    ]
    batch = task.batch(task.prepare(model, rows), model)
    options = AugmentationOptions(**{name: ALL[name] for name in task.augmentations})

    varied = task.augment(batch, model, generator(), options)
    again = task.augment(batch, model, generator(), options)

    assert varied.inputs["pixel_values"].shape == batch.inputs["pixel_values"].shape
    assert torch.equal(varied.inputs["pixel_values"], again.inputs["pixel_values"])
    assert varied.keys == batch.keys
    varied = task.normalize(varied, model)
    model.network.train()
    loss = task.loss(model.network(**task.training_inputs(varied)), varied)
    loss.backward()
    assert loss.isfinite()


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_read_back_from_the_device(kind):
    torch.manual_seed(0)
    task = tasks.create(tasks.get(kind).example_config())
    model = task.example_model()
    rows = [
        {"key": example.item.key, "image": example.content, **task.to_row(example.target)}
        for example in task.examples()
    ]
    batch = task.batch(task.prepare(model, rows), model)
    options = AugmentationOptions(**{name: ALL[name] for name in task.augmentations})

    # On the meta device there are no values: whatever read one back would fail.
    away = task.augment(batch.map(lambda tensor: tensor.to("meta")), model, generator(), options)

    assert away.inputs["pixel_values"].device.type == "meta"
    assert away.inputs["pixel_values"].shape == batch.inputs["pixel_values"].shape


def test_images_with_an_answer_of_another_kind_keep_it():
    batch = batch_of({"labels": torch.arange(4)}, 4)

    varied = augment_images(batch, generator(), None)

    assert varied.targets is batch.targets
    assert not torch.equal(varied.inputs["pixel_values"], batch.inputs["pixel_values"].float())


@pytest.mark.parametrize("options", [None, AugmentationOptions(crop=0.5)])
def test_classes_stay_as_they_are_without_mixing(options):
    batch = batch_of(torch.tensor([0, 2, 1]))

    assert torch.equal(augment_classes(batch, generator(), options, 3).targets, batch.targets)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixed_classes_share_the_truth_as_their_pixels_do(kind):
    batch = batch_of(torch.tensor([0, 1, 2, 1]))
    white = Batch({"pixel_values": torch.zeros_like(batch.inputs["pixel_values"])}, batch.targets, batch.keys)
    white.inputs["pixel_values"][0] = 255
    options = AugmentationOptions(geometry=False, colour=False, **{kind: 1.0})

    varied = augment_classes(white, generator(), options, 3)

    truth = varied.targets
    torch.testing.assert_close(truth.sum(1), torch.ones(4))
    of_first = varied.inputs["pixel_values"].mean((1, 2, 3)) / 255
    torch.testing.assert_close(of_first[:2], truth[:2, 0], atol=1e-3, rtol=0)
    assert 0 < float(truth[1, 0]) < 1


def test_mixed_truth_is_learned_and_smoothed():
    task = tasks.create({"kind": "image-classification", "classes": ["a", "b", "c"]})
    options = AugmentationOptions(mixup=1.0)
    batch = augment_classes(batch_of(torch.tensor([0, 1, 2, 0])), generator(), options, 3)
    logits = torch.zeros(4, 3, requires_grad=True)

    class Outputs:
        pass

    Outputs.logits = logits
    loss = task.loss(Outputs, batch, LossOptions(0.1, (1.0, 2.0, 1.0), 1.5))
    loss.backward()

    assert loss > 0
    assert logits.grad.isfinite().all()


def test_several_classes_are_mixed_too():
    batch = batch_of(torch.tensor([[1.0, 1, 0], [0, 0, 0]]))

    varied = augment_classes(batch, generator(), AugmentationOptions(mixup=1.0), 3)

    assert (varied.targets[:, :2] > 0).any()
    assert (varied.targets <= 1).all()
    assert (varied.targets[:, 2] == 0).all()


@pytest.mark.parametrize("mirror", [False, True])
def test_a_mask_that_fills_its_box_fills_it_in_the_varied_picture(mirror):
    masks = torch.zeros((1, SIDE, SIDE), dtype=torch.uint8)
    masks[0, 20:50, 30:60] = 1
    batch = batch_of([{**objects([30.0, 20.0, 60.0, 50.0]), "masks": masks}] * 24)

    found = augment_objects(batch, generator(), None, mirror=mirror)

    compared = 0
    for target in found.targets:
        for box, mask in zip(target["boxes"].tolist(), target["masks"], strict=True):
            rows, columns = mask.nonzero(as_tuple=True)
            if not len(rows):
                assert box == [0] * 4
                continue
            sides = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert [float(side) for side in sides] == pytest.approx(box, abs=1)
            compared += 1
    assert compared >= 16
    assert masks.sum() == 900


def test_points_that_left_the_picture_are_not_learned():
    points = torch.tensor([[[1.0, 40.0, 2.0], [79.0, 40.0, 1.0], [40.0, 40.0, 2.0], [0.0, 0.0, 0.0]]])
    batch = batch_of([{**objects([0.0, 10.0, 80.0, 70.0]), "keypoints": points}] * 24)

    found = augment_objects(batch, generator(), None, mirror=False)

    moved = torch.cat([target["keypoints"] for target in found.targets])
    outside = ((moved[..., :2] < 0) | (moved[..., :2] > SIDE)).any(-1)
    assert outside[:, :2].any()
    assert not outside[:, :2].all()
    assert (moved[outside][:, 2] == 0).all()
    labelled = moved[:, :3]
    assert (labelled[~outside[:, :3]][:, 2] > 0).all()
    # A point that nobody labelled stays so, wherever the corner of the picture went.
    assert (moved[:, 3, 2] == 0).all()


@pytest.mark.parametrize(("flip", "mirror", "axes"), [
    (None, False, (False, False)), (None, True, (True, False)), ("vertical", False, (False, True)),
    ("vertical", True, (True, True)), ("horizontal", True, (True, False)),
])  # fmt: skip
def test_a_task_that_mirrors_does_so_whatever_the_options_say(flip, mirror, axes):
    points = torch.tensor([[[10.0, 10.0, 2.0], [70.0, 70.0, 2.0]]])
    batch = batch_of([{**objects([5.0, 5.0, 75.0, 75.0]), "keypoints": points}] * 32)
    options = AugmentationOptions(geometry=False, flip=flip)

    found = augment_objects(batch, generator(), options, mirror=mirror)

    places = torch.cat([target["keypoints"][:, 0, :2] for target in found.targets])
    assert tuple(bool((places[:, axis] > 40).any()) for axis in (0, 1)) == axes


def test_painted_pixels_and_pixels_of_others_teach_what_they_show():
    maps = torch.arange(4, dtype=torch.uint8).view(-1, 1, 1).expand(-1, SIDE, SIDE)
    pixels = (maps * 50).unsqueeze(1).expand(-1, 3, -1, -1)
    batch = Batch({"pixel_values": pixels}, {"map": maps}, ("a", "b", "c", "d"))
    options = AugmentationOptions(geometry=False, colour=False, erase=1.0, cutmix=1.0)

    varied = augment_maps(batch, generator(), options, mirror=False)

    shown, truth = varied.inputs["pixel_values"][:, 0], varied.targets["map"]
    known = truth != 255
    assert 0 < (~known).sum() < 4 * SIDE**2 * 0.5
    assert torch.equal(shown[known], 50.0 * truth[known])
    assert any(len(own[own != 255].unique()) == 2 for own in truth)
    assert torch.equal(batch.targets["map"], maps)
