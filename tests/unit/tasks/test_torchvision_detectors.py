"""torchvision's detectors as networks of transformers."""

from __future__ import annotations

import pytest
import torch
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForObjectDetection

from goldloop.errors import ModelError
from goldloop.tasks import tasks
from goldloop.tasks._torchvision_detectors import Detector, DetectorConfig, register

SIDE = 64
ARCHITECTURES = ("fcos", "retinanet", "faster-rcnn", "mask-rcnn", "keypoint-rcnn")
NAMES = ["head", "tail"]


def network_of(architecture, **fields):
    torch.manual_seed(0)
    config = DetectorConfig(
        architecture=architecture, channels=32, image_size=SIDE, keypoints=NAMES, num_labels=3, **fields
    )
    return Detector(config)


@pytest.fixture
def pixels():
    return torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def label_of(*boxes):
    """Boxes left, top, right, bottom in pixels as a network's labels, with masks and points."""
    corners = torch.tensor(boxes, dtype=torch.float32).view(-1, 4)
    middle, size = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
    masks = torch.zeros(len(boxes), SIDE, SIDE, dtype=torch.uint8)
    points = torch.zeros(len(boxes), len(NAMES), 3)
    for number, (left, top, right, bottom) in enumerate(boxes):
        masks[number, top:bottom, left:right] = 1
        points[number] = torch.tensor([[left + 2, top + 2, 2], [right - 2, bottom - 2, 1]])
    return {
        "class_labels": torch.arange(len(boxes)) % 3, "boxes": torch.cat([middle, size], 1) / SIDE,
        "masks": masks, "keypoints": points,
    }  # fmt: skip


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_weight_learns_and_pictures_without_objects_count_too(architecture, pixels):
    network = network_of(architecture).train()

    loss = network(pixels, [label_of((4, 4, 40, 44), (20, 8, 60, 50)), label_of()]).loss
    loss.backward()

    assert loss.shape == ()
    assert torch.isfinite(loss)
    without = {name for name, weight in network.named_parameters() if weight.grad is None}
    assert not without
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert norms
    assert all(norm.training and norm.weight.requires_grad for norm in norms)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_batch_without_any_object_has_a_loss(architecture, pixels):
    network = network_of(architecture).train()

    loss = network(pixels, [label_of(), label_of()]).loss
    loss.backward()

    assert torch.isfinite(loss)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_box_without_an_area_can_be_learned_from(architecture, pixels):
    network = network_of(architecture).train()

    loss = network(pixels, [label_of((4, 4, 4, 44), (20, 8, 60, 50)), label_of((4, 4, 4, 4))]).loss
    loss.backward()

    assert torch.isfinite(loss)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_saved_network_says_the_same(architecture, pixels, tmp_path):
    register()
    network = network_of(architecture).eval()
    before = network(pixels).detections
    network.save_pretrained(tmp_path)

    loaded = AutoModelForObjectDetection.from_pretrained(tmp_path).eval()

    assert AutoConfig.from_pretrained(tmp_path).keypoints == NAMES
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert set(file.keys()) == set(network.state_dict())
    for one, other in zip(before, loaded(pixels).detections, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_answers_are_in_pixels_of_the_square_with_ids_of_the_task(architecture, pixels):
    network = network_of(architecture).eval()

    with torch.no_grad():
        answers = network(pixels).detections

    for answer in answers:
        count = len(answer["boxes"])
        assert answer["labels"].shape == answer["scores"].shape == (count,)
        assert ((answer["labels"] >= 0) & (answer["labels"] < 3)).all()
        assert ((answer["boxes"] >= 0) & (answer["boxes"] <= SIDE)).all()
        if architecture == "mask-rcnn":
            assert answer["masks"].shape == (count, 1, 28, 28)
        if architecture == "keypoint-rcnn":
            assert answer["keypoints"].shape == (count, len(NAMES), 3)


def test_asking_leaves_the_network_in_its_mode(pixels):
    network = network_of("mask-rcnn").train()

    network(pixels)
    assert all(module.training for module in network.modules())
    network.eval()
    network(pixels, [label_of((4, 4, 40, 44)), label_of()])
    assert not any(module.training for module in network.modules())


def test_pixels_reach_the_backbone_as_they_are(pixels):
    network = network_of("faster-rcnn").eval()
    seen = []
    network.detector.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))

    network(pixels)

    assert torch.equal(seen[0], pixels)


@pytest.mark.parametrize("backbone", ["mobilenet_v3_large", "resnet34"])
def test_other_backbones_have_features_of_the_same_strides(backbone, pixels):
    network = network_of("fcos", backbone=backbone).eval()

    sizes = [tuple(feature.shape[-2:]) for feature in network.detector.backbone(pixels).values()]

    assert sizes == [(8, 8), (4, 4), (2, 2), (1, 1)]


@pytest.mark.parametrize("field", [{"architecture": "yolo"}, {"backbone": "resnet19"}])
def test_an_unknown_part_is_named(field):
    task = tasks.create({"kind": "object-detection", "classes": ["a"]})
    checkpoint = {"from-config": {"model_type": "torchvision-detector", **field}}

    with pytest.raises(ModelError, match=next(iter(field.values()))):
        task.model(checkpoint)


@pytest.mark.parametrize("kind", ["instance-segmentation", "keypoints"])
def test_a_detector_of_another_task_is_refused(kind):
    task = tasks.create(tasks.get(kind).example_config())

    with pytest.raises(ModelError, match="does not find what the task asks for"):
        task.model({"from-config": {"model_type": "torchvision-detector", "architecture": "fcos"}})
