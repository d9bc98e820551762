"""Boxes between people, files and networks."""

from __future__ import annotations

import json

import pytest
import torch

from goldloop.errors import AnnotationError
from goldloop.tasks import tasks
from goldloop.tasks._detectors import confidence_of


def task_of(**fields):
    return tasks.create({"kind": "object-detection", "classes": ["cell", "dust"], **fields})


@pytest.fixture
def item():
    return task_of().examples()[0].item


def box(x=10.0, y=8.0, width=20.0, height=10.0, rotation=0.0, label="cell"):
    return {"label": label, "x": x, "y": y, "width": width, "height": height, "rotation": rotation}


def test_no_box_is_an_answer(item):
    assert task_of().decode([], item) == []
    assert task_of().encode([], item) == []


def test_order_does_not_matter(item):
    task = task_of()
    boxes = [box(30.0, label="dust"), box(), box(5.0)]

    assert task.decode(list(reversed(task.encode(boxes, item))), item) == task.parse(boxes, item)
    assert [found["x"] for found in task.parse(boxes, item)] == [5.0, 10.0, 30.0]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"original_width": 999}, "another `original_width`"),
        ({"image_rotation": 90}, "another `image_rotation`"),
        ({"value": {"x": "left"}}, "`x` is no number"),
        ({"value": {"x": float("nan")}}, "`x` is no number"),
        ({"value": {"rectanglelabels": ["cell", "dust"]}}, "exactly one class"),
        ({"value": {"rectanglelabels": ["cel"]}}, "Did you mean 'cell'"),
        ({"value": {"width": 300.0}}, "sticks out"),
        ({"value": {"height": 0.0}}, "nothing inside"),
    ],
)
def test_a_region_that_means_nothing_is_named(item, changes, problem):
    task = task_of()
    (region,) = task.encode([box()], item)
    value = {**region["value"], **changes.pop("value", {})}

    with pytest.raises(AnnotationError, match=problem) as caught:
        task.decode([{**region, **changes, "value": value}], item)

    assert item.key in str(caught.value)
    assert region["id"] in str(caught.value)


def test_annotators_see_what_the_model_is_sure_of(item):
    task = task_of(confidence=0.6)
    found = [{**box(), "score": 0.7}, {**box(30.0), "score": 0.5}]

    (region,) = task.encode(found, item)

    assert region["score"] == 0.7
    assert task.decode([region], item) == [box()]
    assert task.agreement(found, [box()]) == pytest.approx(1)
    assert task.describe(found) == "1 cell"
    assert confidence_of([0.7, 0.9, 0.2], 0.6) == pytest.approx(0.8)
    assert confidence_of([0.2], 0.6) == pytest.approx(0.8)
    assert confidence_of([], 0.6) == 1.0


def test_boxes_may_be_turned_only_where_the_recipe_says_so():
    assert 'canRotate="true"' in task_of(rotated=True).label_config()
    assert 'canRotate="false"' in task_of().label_config()


def test_turned_boxes_of_several_people_become_the_middle_one(item):
    task = task_of(rotated=True)
    answers = [[box(20.0, 20.0, 20.0, 8.0, angle)] for angle in (10.0, 12.0, 14.0)]

    assert task.consensus(answers, "majority") == answers[1]


def test_upright_boxes_of_several_people_become_their_mean(item):
    answers = [[box(10.0)], [box(12.0)]]

    assert task_of().consensus(answers, "majority") == [box(11.0)]


@pytest.mark.parametrize(
    "checkpoint",
    [
        {"model_type": "torchvision-detector", "architecture": "retinanet", "channels": 32},
        {"model_type": "torchvision-detector", "architecture": "faster-rcnn", "channels": 32},
        {
            "model_type": "detr", "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "num_queries": 8,
            "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "backbone_config": {
                "model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1],
                "layer_type": "basic", "out_features": ["stage2"],
            },
        },
        {
            "model_type": "yolos", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 32, "image_size": [96, 96], "patch_size": 16, "num_detection_tokens": 8,
        },
    ],
    ids=lambda checkpoint: checkpoint.get("architecture", checkpoint["model_type"]),
)  # fmt: skip
def test_other_networks_learn_and_answer(checkpoint):
    torch.manual_seed(0)
    task = task_of()
    examples = task.examples()
    model = task.model({"from-config": checkpoint}, settings={"image_size": 96})
    rows = [
        {"key": each.item.key, "image": each.content, **task.to_row(each.target)} for each in examples[:4]
    ]
    batch = task.normalize(task.batch(task.prepare(model, rows), model), model)

    task.loss(model.network(**task.training_inputs(batch)), batch).backward()

    assert any(parameter.grad is not None for parameter in model.network.parameters())
    model.network.eval()
    with torch.no_grad():
        predictions = task.predict(model, task.outputs(model, batch))
    assert len(predictions) == 4
    for prediction, example in zip(predictions, examples, strict=False):
        json.dumps(prediction.target)
        task.decode(task.encode(prediction.target, example.item), example.item)


def test_boxes_move_with_their_pictures():
    task = task_of(mirror=True)
    example = task.examples()[1]
    model = task.example_model()
    row = {"key": "k", "image": example.content, **task.to_row(example.target)}
    batch = task.batch(task.prepare(model, [row] * 16), model)

    varied = task.augment(batch, model, torch.Generator().manual_seed(3))

    compared = 0
    for pixels, target in zip(varied.inputs["pixel_values"], varied.targets, strict=True):
        background = pixels[:, 0, 0].view(3, 1, 1)
        for left, top, right, bottom in target["boxes"].round().int().tolist():
            if min(left, top) > 4 and max(right, bottom) < 92 and right - left > 8:
                inside = pixels[:, top + 3 : bottom - 3, left + 3 : right - 3]
                assert (inside - background).abs().sum(0).gt(60).float().mean() > 0.6
                compared += 1
    assert compared >= 5
