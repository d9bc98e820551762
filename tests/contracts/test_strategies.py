"""What every selection strategy promises."""

from __future__ import annotations

import numpy
import pytest

from goldloop.labeling.strategies import strategies
from goldloop.labeling.strategies.base import Pool
from goldloop.records import Item, Prediction, content_key

NAMES = strategies.names()


def _strategy(kind: str):
    more = {"parts": {"uncertainty": 2, "diversity": 1, "random": 1}} if kind == "mix" else {}
    return strategies.create({"kind": kind, **more})


def _items(count: int) -> list[Item]:
    keys = [content_key(str(number).encode()) for number in range(count)]
    return [
        Item(key=key, modality="text", uri=key, group=key, source="s", text="t", media_type="text/plain")
        for key in keys
    ]


def _said(target, confidence, scores) -> Prediction:
    return Prediction(target=target, confidence=confidence, scores=scores)


def _predictions(items):
    found = []
    for item in items:
        share = int(item.key[:4], 16) / 65536
        found.append(_said("a" if share > 0.5 else "b", max(share, 1 - share), {"a": share, "b": 1 - share}))
    return found


def _points(items):
    return numpy.array(
        [[int(item.key[place : place + 4], 16) / 65536 for place in (0, 4, 8)] for item in items],
        dtype=numpy.float32,
    ).reshape(-1, 3)


def _pool(count: int, wanted: int = 10, **known) -> Pool:
    items = _items(count + 5)
    return Pool(items[:count], wanted, items[count:], **known)


KNOWN = {"predictions": _predictions, "points": _points}


def test_there_are_strategies():
    assert len(NAMES) >= 7


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("count", [0, 1, 2, 60])
@pytest.mark.parametrize("known", [{}, KNOWN], ids=["nothing known", "all known"])
def test_every_item_comes_once(kind, count, known):
    pool = _pool(count, **known)
    order = _strategy(kind).order(pool)
    assert sorted(item.key for item in order) == sorted(item.key for item in pool.items)


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("wanted", [1, 7, 1000])
def test_the_same_pool_gives_the_same_order_and_any_number_may_be_wanted(kind, wanted):
    one, other = (_strategy(kind).order(_pool(40, wanted, **KNOWN)) for _ in range(2))
    assert one == other
    assert len(one) == 40


@pytest.mark.parametrize("kind", NAMES)
def test_what_is_not_known_leaves_chance(kind):
    pool = _pool(40)
    assert _strategy(kind).order(pool) == list(pool.items)


@pytest.mark.parametrize("kind", NAMES)
def test_items_that_are_all_alike_are_no_fault(kind):
    pool = _pool(
        30,
        predictions=lambda items: [_said("a", 1.0, {"a": 1.0, "b": 0.0}) for _ in items],
        points=lambda items: numpy.zeros((len(items), 4), dtype=numpy.float32),
    )
    assert len(_strategy(kind).order(pool)) == 30
