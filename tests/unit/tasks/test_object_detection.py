"""Boxes between people, files and networks."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy
import pytest
import torch
from PIL import Image, ImageDraw

from goldloop.errors import AnnotationError
from goldloop.tasks import tasks
from goldloop.tasks._detectors import _found, confidence_of
from goldloop.tasks._geometry import corners, enclosing


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
        ({"original_height": 999}, "another `original_height`"),
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


def test_a_region_drawn_on_a_turned_view_is_where_it_was_drawn():
    # What Label Studio 1.23.2 sent of pixels 100 to 180, 20 to 60, drawn in its editor on a turned view.
    item = replace(task_of().examples()[0].item, width=400, height=200)
    region = {
        "id": "1cGtcCyl9Y", "from_name": "box", "to_name": "image", "type": "rectanglelabels",
        "original_width": 400, "original_height": 200, "image_rotation": 90, "origin": "manual",
        "value": {
            "x": 25.154130702836003, "y": 10.357583230579518, "width": 19.728729963008636,
            "height": 19.482120838471026, "rotation": 0, "rectanglelabels": ["cell"],
        },
    }  # fmt: skip

    assert task_of().decode([region], item) == [box(100.617, 20.715, 78.915, 38.964)]


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


RT_DETR = {
    "model_type": "rt_detr_v2", "d_model": 32, "encoder_layers": 1, "decoder_layers": 2, "num_queries": 8,
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32,
    "encoder_hidden_dim": 32, "encoder_in_channels": [16, 16, 16], "decoder_in_channels": [32, 32, 32],
    "feat_strides": [4, 8, 16], "num_denoising": 4,
    "backbone_config": {
        "model_type": "rt_detr_resnet", "embedding_size": 8, "hidden_sizes": [8, 16, 16, 16],
        "depths": [1, 1, 1, 1], "layer_type": "basic", "out_features": ["stage2", "stage3", "stage4"],
    },
}  # fmt: skip


def test_a_fresh_detector_sees_320_pixels_unless_something_else_is_said():
    sizes = [
        task_of().model({"from-config": RT_DETR}, settings=chosen).settings["image_size"]
        for chosen in (None, {"image_size": 64})
    ]

    assert sizes == [320, 64]


@pytest.mark.parametrize("classes", [["dust", "cell"], ["cell", "dust", "fibre"]])
def test_a_detector_of_other_classes_keeps_all_but_their_scores(classes, tmp_path):
    torch.manual_seed(0)
    trained = task_of().model({"from-config": RT_DETR}, settings={"image_size": 64})
    trained.network.save_pretrained(tmp_path)
    trained.processor.save_pretrained(tmp_path)

    model = task_of(classes=classes).model(tmp_path)

    before, after = trained.network.state_dict(), model.network.state_dict()
    fresh = {name for name, tensor in before.items() if not same_tensors(tensor, after[name])}
    assert after["model.decoder.bbox_embed.0.layers.0.weight"].equal(
        before["model.decoder.bbox_embed.0.layers.0.weight"]
    )
    assert "model.enc_score_head.weight" in fresh
    assert all(any(part in name for part in ("class_embed", "score_head")) for name in fresh)
    assert model.settings["image_size"] == 64


def same_tensors(one, other):
    return one.shape == other.shape and torch.equal(one, other)


TURNS = {
    1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
}  # fmt: skip


@pytest.fixture(scope="module")
def large():
    return task_of().model({"from-config": RT_DETR}, settings={"image_size": 600})


@pytest.mark.parametrize("rotation", [0.0, 30.0])
@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize(("width", "height"), [(600, 400), (400, 600)])
def test_the_network_sees_what_was_drawn_and_its_answer_lies_there(
    large, orientation, rotation, width, height
):
    task = task_of(rotated=True)
    drawn = box(150.0, 40.0, 220.0, 160.0, rotation)
    turn = TURNS[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    seen = painted((width, height), drawn)
    (seen if turn is None else seen.transpose(turn)).save(buffer, format="PNG", exif=exif)
    upright = replace(task.examples()[0].item, width=width, height=height)
    target = task.decode(task.encode([drawn], upright), upright)

    (prepared,) = task.prepare(large, [{"image": buffer.getvalue(), **task.to_row(target)}])

    red = prepared["pixel_values"][1].numpy() < 64
    left, top = prepared["frame"][2:4]
    square = {**target[0], "x": target[0]["x"] + left, "y": target[0]["y"] + top}
    marked = numpy.asarray(painted(red.shape, square))[..., 1] < 64
    assert (red & marked).sum() / (red | marked).sum() >= 0.99
    assert prepared["boxes"][0] == pytest.approx(enclosing(square))
    answer = {
        "boxes": torch.tensor(prepared["boxes"]), "scores": torch.ones(1),
        "labels": torch.zeros(1, dtype=torch.long),
    }  # fmt: skip
    (prediction,) = task.predict(large, [_found(answer, prepared["frame"])])
    (found,) = prediction.target
    assert enclosing(found) == pytest.approx(enclosing(drawn), abs=0.01)


def painted(size, place):
    """A white picture with a red box."""
    picture = Image.new("RGB", size, "white")
    ImageDraw.Draw(picture).polygon([tuple(point) for point in corners(place).tolist()], fill="red")
    return picture


def test_of_a_turned_box_that_sticks_out_networks_learn_what_is_in_the_image(item):
    task, model = task_of(rotated=True), task_of().example_model()
    target = task.parse([box(5.0, 2.0, 40.0, 20.0, 45.0)], item)
    row = {"key": "k", "image": task.examples()[0].content, **task.to_row(target)}

    (prepared,) = task.prepare(model, [row])

    assert target[0]["rotation"] == 45
    assert enclosing(target[0])[0] < 0
    assert prepared["boxes"].min() >= 0
    assert prepared["boxes"].max() <= 64


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
