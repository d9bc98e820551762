"""Slices that no circumstance names: planted ones are found and named, and nothing is where nothing is."""

from __future__ import annotations

import hashlib
import random

import numpy
import pytest

from goldloop.errors import ModelError
from goldloop.evaluation.clusters import CIRCUMSTANCE, Seen, regions
from goldloop.evaluation.judged import Judged
from goldloop.evaluation.page import page
from goldloop.evaluation.report import evaluate
from goldloop.evaluation.slices import slices_of
from goldloop.records import Prediction
from goldloop.tasks import tasks

TOPICS = ("card arrive delivery", "loan rate interest", "refund money shop", "login password phone")


def _items(
    seed: int, error_rates: list[float], count: int = 800
) -> tuple[list[str], list[bool], numpy.ndarray]:
    """Texts of some topics, whether the answer is right, and points near their topic's own."""
    chance = random.Random(seed)
    centres = numpy.random.default_rng(99).normal(size=(len(TOPICS), 12))
    noise = numpy.random.default_rng(seed)
    texts, right, points = [], [], []
    for number in range(count):
        topic = number % len(TOPICS)
        words = chance.sample([*TOPICS[topic].split(), "please", "today", "account"], 4)
        texts.append(f"{' '.join(words)} number {number}")
        right.append(chance.random() >= error_rates[topic])
        points.append(centres[topic] + 0.7 * noise.normal(size=12))
    return texts, right, numpy.array(points)


def _judged(texts: list[str], right: list[bool]) -> list[Judged]:
    return [
        Judged(
            key=hashlib.sha256(text.encode()).hexdigest(),
            expected="a",
            predicted="a" if good else "b",
            confidence=0.8,
            agreement=float(good),
        )
        for text, good in zip(texts, right, strict=True)
    ]


def _found(seed: int, error_rates: list[float]):
    texts, right, points = _items(seed, error_rates)
    judged = _judged(texts, right)
    seen = Seen(lambda contents: numpy.stack([points[texts.index(text)] for text in contents]))
    for start in range(0, len(texts), 250):
        part = slice(start, start + 250)
        seen.take([item.key for item in judged[part]], texts[part])
    inside = regions(seen, judged)
    told = [
        item.model_copy(update={"circumstances": {CIRCUMSTANCE: inside[item.key]}})
        if item.key in inside
        else item
        for item in judged
    ]
    return (
        [each for each in slices_of(told) if each.is_weak],
        inside,
        dict(zip((item.key for item in judged), texts, strict=True)),
    )


def test_a_planted_topic_is_found_and_named_by_its_words():
    weak, inside, texts = _found(0, [0.03, 0.03, 0.35, 0.03])
    assert weak
    worst = weak[0]
    assert worst.circumstance == CIRCUMSTANCE
    assert set(worst.value.split(", ")) == {"refund", "money", "shop"}
    assert worst.agreement.value < 0.8 < worst.rest
    members = [key for key, name in inside.items() if name == worst.value]
    about = [any(word in texts[key] for word in ("refund", "money", "shop")) for key in members]
    assert sum(about) / len(about) > 0.9
    # Only the half that did not show it belongs to it.
    assert worst.items == len(members) < 200 * 0.75
    # Several groups of the same mistakes are one slice.
    assert len(weak) == 1


def test_errors_by_lot_have_nothing_in_common_more_often_than_stated():
    alarms = sum(bool(_found(seed, [0.12] * 4)[0]) for seed in range(1, 41))
    # At 5% each, more than six of forty happen less than once in two hundred times.
    assert alarms <= 6


def test_images_are_named_by_the_mistake_that_is_made():
    texts, right, points = _items(0, [0.03, 0.03, 0.35, 0.03])
    judged = _judged(texts, right)
    place = {text.encode(): point for text, point in zip(texts, points, strict=True)}
    seen = Seen(lambda contents: numpy.stack([place[content] for content in contents]))
    seen.take([item.key for item in judged], list(place))
    assert set(regions(seen, judged).values()) == {"a taken for b"}


def test_a_network_whose_body_gives_no_point_is_judged_without():
    def none(_contents):
        raise ModelError("nothing that could be an embedding")

    seen = Seen(none)
    seen.take(["k"], ["text"])
    assert regions(seen, []) == {}


def test_few_mistakes_and_no_points_show_nothing():
    assert _found(0, [0.0, 0.0, 0.01, 0.0])[1] == {}
    assert regions(Seen(None), []) == {}
    seen = Seen(None)
    seen.take(["k"], ["text"])
    assert seen.keys == []


@pytest.mark.parametrize("kind", ["text-classification", "image-classification"])
def test_a_models_own_body_places_the_items_of_its_report(kind: str):
    import torch

    from goldloop.quality.embeddings import points_of

    task = tasks.create(tasks.get(kind).example_config())
    model = task.example_model()
    model.network.eval()
    contents = [example.content or example.item.text for example in task.examples()]
    points = points_of(task, model, contents, torch.device("cpu"))
    assert points.shape[0] == len(contents)
    assert numpy.isfinite(points).all()
    # Alone and together, a content is at the same place.
    assert points_of(task, model, contents[1:2], torch.device("cpu"))[0] == pytest.approx(points[1], abs=1e-5)


def test_a_report_tells_of_the_slice():
    texts, right, points = _items(0, [0.03, 0.03, 0.35, 0.03])
    place = {text: (point, good) for text, point, good in zip(texts, points, right, strict=True)}
    task = tasks.create({"kind": "text-classification", "classes": ["a", "b"]})
    rows = [
        {"key": hashlib.sha256(text.encode()).hexdigest(), "text": text, "label": 0, "shown_models": []}
        for text in texts
    ]
    report = evaluate(
        task,
        rows,
        lambda asked: [Prediction(target="a" if place[text][1] else "b", confidence=0.8) for text in asked],
        name="notes",
        model="notes/1",
        version="notes@1",
        split="test",
        place=lambda asked: numpy.stack([place[text][0] for text in asked]),
    )
    assert [each.circumstance for each in report.weak()][:1] == [CIRCUMSTANCE]
    assert "refund" in report.weak()[0].name
    shown = page(report, content={row["key"]: row["text"] for row in rows}.get)
    told = shown.partition("Mistakes that are alike")[2].partition("right as often")[0]
    assert told.count('<article class="mistake">') == 6 * len(report.weak())
    assert all(word in told for word in ("refund", "money", "shop"))
