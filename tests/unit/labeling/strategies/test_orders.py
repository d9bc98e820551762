"""What each strategy puts first."""

from __future__ import annotations

import math
from collections import Counter

import numpy
import pytest

from goldloop.labeling.strategies import strategies
from goldloop.labeling.strategies.base import Pool
from goldloop.labeling.strategies.diversity import k_center, unit
from goldloop.labeling.strategies.entropy import entropy
from goldloop.labeling.strategies.margin import margin
from goldloop.records import Item, Prediction


def _items(count: int) -> list[Item]:
    return [
        Item(key=f"{number:064x}", modality="text", uri="u", group="g", source="s", text="t", media_type="t")
        for number in range(count)
    ]


def _said(target, confidence, scores=None) -> Prediction:
    return Prediction(target=target, confidence=confidence, scores=scores or {})


def _order(kind, items, **known) -> list[int]:
    section = kind if isinstance(kind, dict) else {"kind": kind}
    wanted = known.pop("wanted", 10)
    order = strategies.create(section).order(Pool(items, wanted, **known))
    return [int(item.key, 16) for item in order]


def _say(*scores):
    names = "abc"

    def predictions(items):
        return [
            _said(names[row.index(max(row))], max(row), dict(zip(names, row, strict=False)))
            for row in (scores[int(item.key, 16)] for item in items)
        ]

    return predictions


SURE, TORN, LOST = (0.9, 0.05, 0.05), (0.5, 0.49, 0.01), (0.45, 0.28, 0.27)


def test_confidence_margin_and_entropy_each_have_their_own_idea_of_doubt():
    items, predictions = _items(3), _say(SURE, TORN, LOST)
    assert _order("uncertainty", items, predictions=predictions) == [2, 1, 0]
    assert _order("margin", items, predictions=predictions) == [1, 2, 0]
    assert _order("entropy", items, predictions=predictions) == [2, 1, 0]


def test_margin_and_entropy_are_what_they_come_to_by_hand():
    assert margin(_said("a", 0.5, {"a": 0.5, "b": 0.3, "c": 0.2})) == pytest.approx(0.2)
    assert entropy(_said("a", 0.5, {"a": 0.5, "b": 0.5})) == pytest.approx(math.log(2))
    assert entropy(_said("a", 1.0, {"a": 1.0, "b": 0.0})) == 0
    # Of a set of classes each is a question of its own.
    assert entropy(_said(["a"], 0.5, {"a": 0.5, "b": 0.5})) == pytest.approx(2 * math.log(2))
    # Without probabilities, confidence is all there is.
    assert margin(_said([], 0.7)) == 0.7
    assert entropy(_said([], 0.5)) == pytest.approx(math.log(2))


def _blobs(counts, seed=0):
    """Points about far corners, and which corner each is of."""
    chance = numpy.random.default_rng(seed)
    corners = numpy.eye(len(counts), 8) * 10
    rows = [
        corners[place] + chance.normal(0, 0.1, 8) for place, count in enumerate(counts) for _ in range(count)
    ]
    return numpy.array(rows, dtype=numpy.float32), [
        place for place, count in enumerate(counts) for _ in range(count)
    ]


def test_diverse_items_are_of_every_kind_before_any_kind_comes_twice():
    points, kinds = _blobs([40, 30, 5, 1])
    order = _order(
        "diversity", _items(76), points=lambda items: points[[int(item.key, 16) for item in items]], wanted=8
    )
    assert sorted(kinds[place] for place in order[:4]) == [0, 1, 2, 3]


def test_diverse_items_are_unlike_what_annotators_have_already():
    points, kinds = _blobs([20, 20, 20])
    items = _items(60)
    taken = [item for item in items if kinds[int(item.key, 16)] == 1][:3]
    left = [item for item in items if item not in taken]
    order = _order(
        "diversity",
        left,
        taken=taken,
        points=lambda asked: points[[int(item.key, 16) for item in asked]],
        wanted=2,
    )
    assert sorted(kinds[place] for place in order[:2]) == [0, 2]


def test_k_center_covers_no_worse_than_twice_the_best():
    """Gonzalez (1985): the farthest-first radius is at most twice the optimal one."""
    points, _ = _blobs([30, 30, 30])
    chosen = k_center(points, None, 3)
    radius = max(min(float(numpy.linalg.norm(point - points[place])) for place in chosen) for point in points)
    best = max(
        float(
            numpy.linalg.norm(points[start : start + 30] - points[start : start + 30].mean(0), axis=1).max()
        )
        for start in (0, 30, 60)
    )
    assert radius <= 2 * 2 * best
    assert len(set(k_center(points, None, 90))) == 90


def test_points_of_no_length_stay_where_they_are():
    assert unit(numpy.array([[0.0, 0.0], [3.0, 4.0]])).tolist() == [[0, 0], [0.6, 0.8]]


def test_a_cold_start_takes_what_is_typical_of_each_kind_the_largest_first():
    points, kinds = _blobs([50, 30, 20])
    order = _order(
        {"kind": "cluster", "clusters": 3},
        _items(100),
        points=lambda items: points[[int(item.key, 16) for item in items]],
        wanted=6,
    )
    assert [kinds[place] for place in order[:6]] == [0, 1, 2, 0, 1, 2]
    middle = points[:50].mean(0)
    away = numpy.linalg.norm(unit(points[:50]) - unit(middle[None]), axis=1)
    assert away[order[0]] <= numpy.quantile(away, 0.25)


def test_a_mix_gives_each_strategy_its_share():
    items = _items(100)
    # Confidence rises with the number, so that each order is known: uncertainty from 0 on, random as it is.
    shuffled = items[::-1]

    def predictions(asked):
        return [_said("a", int(item.key, 16) / 100) for item in asked]

    order = _order(
        {"kind": "mix", "parts": {"uncertainty": 3, "random": 1}}, shuffled, predictions=predictions
    )
    first = Counter("uncertain" if place < 50 else "random" for place in order[:40])
    assert first == {"uncertain": 30, "random": 10}
    assert sorted(order) == list(range(100))
