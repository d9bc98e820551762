"""COCO's figures by images: the same as over all images at once."""

from __future__ import annotations

import contextlib
import io
import random

import numpy
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from goldloop.tasks._coco_metrics import summarize, tally
from goldloop.tasks._geometry import box_overlaps

CLASSES = ("a", "b", "c")


def random_boxes(chance, count, *, scored):
    boxes = []
    for _ in range(count):
        box = {
            "label": chance.choice(CLASSES[:2]), "x": chance.uniform(0, 60), "y": chance.uniform(0, 60),
            "width": chance.uniform(10, 40), "height": chance.uniform(10, 40), "rotation": 0.0,
        }  # fmt: skip
        boxes.append({**box, "score": chance.random()} if scored else box)
    return boxes


def plain_coco(pairs):
    """The same by COCOeval over everything at once."""
    truth, found = [], []
    for image, (predicted, expected) in enumerate(pairs):
        for boxes, entries in ((expected, truth), (predicted, found)):
            for box in boxes:
                entry = {
                    "id": len(entries) + 1, "image_id": image, "iscrowd": 0,
                    "category_id": CLASSES.index(box["label"]),
                    "bbox": [box[name] for name in ("x", "y", "width", "height")],
                    "area": box["width"] * box["height"], "score": box.get("score"),
                }  # fmt: skip
                entries.append(entry)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {}, "images": [{"id": number} for number in range(len(pairs))],
            "categories": [{"id": number} for number in range(3)], "annotations": truth,
        }  # fmt: skip
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


@pytest.mark.parametrize("seed", range(4))
def test_figures_are_those_of_plain_coco(seed):
    chance = random.Random(seed)
    pairs = [
        (
            random_boxes(chance, chance.randrange(12), scored=True),
            random_boxes(chance, chance.randrange(6), scored=False),
        )
        for _ in range(12)
    ]
    # Some predictions hit.
    for predicted, expected in pairs:
        predicted += [{**box, "x": box["x"] + 2, "score": chance.random()} for box in expected]

    figures = summarize([tally(predicted, expected, CLASSES, box_overlaps) for predicted, expected in pairs])

    stats = plain_coco(pairs)
    assert figures["map"] == pytest.approx(stats[0])
    assert figures["map_50"] == pytest.approx(stats[1])
    assert figures["map_75"] == pytest.approx(stats[2])
    assert figures["mar_100"] == pytest.approx(stats[8])


def test_an_image_counted_twice_is_two_images():
    chance = random.Random(7)
    one = (random_boxes(chance, 5, scored=True), random_boxes(chance, 4, scored=False))
    two = ([{**box, "score": 0.5} for box in one[1]], one[1])
    tallies = [tally(*pair, CLASSES, box_overlaps) for pair in (one, two)]

    twice = summarize([tallies[0], tallies[1], tallies[1]])

    assert twice == summarize([tally(*pair, CLASSES, box_overlaps) for pair in (one, two, two)])


def test_where_nothing_is_there_only_silence_is_right():
    silent = tally([], [], CLASSES, box_overlaps)
    wrong = tally(random_boxes(random.Random(1), 2, scored=True), [], CLASSES, box_overlaps)

    assert set(summarize([silent, silent]).values()) == {1.0}
    assert set(summarize([silent, wrong]).values()) == {0.0}


def test_turned_boxes_are_matched_as_they_lie():
    turned = {"label": "a", "x": 50.0, "y": 10.0, "width": 60.0, "height": 4.0, "rotation": 45.0}
    upright = {**turned, "rotation": 0.0, "score": 1.0}

    assert summarize([tally([turned], [turned], CLASSES, box_overlaps)])["map"] == pytest.approx(1)
    assert summarize([tally([upright], [turned], CLASSES, box_overlaps)])["map"] == 0
    assert numpy.isfinite(box_overlaps([turned], [turned])).all()
