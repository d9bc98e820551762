from __future__ import annotations

import numpy
import pytest

from goldloop.evaluation.judged import Judged
from goldloop.evaluation.slices import FEWEST, slices_of


def judged(agreement, **circumstances) -> list[Judged]:
    """An item for each agreement, with the circumstances that stand in its place."""
    return [
        Judged(
            key=f"{number:05}",
            expected="a",
            predicted="a" if right else "b",
            confidence=0.8,
            agreement=float(right),
            circumstances={name: values[number] for name, values in circumstances.items()},
        )
        for number, right in enumerate(agreement)
    ]


def by_name(items):
    return {each.name: each for each in slices_of(items)}


def test_items_with_one_value_are_a_slice_and_numbers_are_quarters():
    items = judged([1] * 80, source=["a", "b"] * 40, length=list(range(80)))
    found = by_name(items)
    assert set(found) == {
        "source 'a'",
        "source 'b'",
        "length 0 to 20",
        "length 21 to 40",
        "length 41 to 60",
        "length 61 to 79",
    }
    for each in found.values():
        assert sum(map(each.holds, items)) == each.items


def test_every_item_with_a_number_is_in_one_range():
    numbers = [0] * 50 + [1] * 30 + list(range(2, 42))
    items = judged([1] * len(numbers), length=numbers)
    ranges = slices_of(items)
    assert [sum(each.holds(item) for each in ranges) for item in items] == [1] * len(items)


def test_few_items_and_all_items_are_no_slice():
    items = judged([1] * 40, source=["a"] * 40, camera=["x"] * (FEWEST - 1) + ["y"] * (41 - FEWEST))
    assert set(by_name(items)) == {"camera 'y'"}


def test_a_moment_counts_by_its_month():
    days = [f"2026-{month:02}-{day:02}T10:00:00" for month in (1, 2) for day in range(1, 21)]
    assert set(by_name(judged([1] * 40, taken=days))) == {"taken '2026-01'", "taken '2026-02'"}


def test_a_slice_in_which_the_model_fails_is_first_and_hardly_chance():
    right = numpy.random.default_rng(0).random(400) < 0.95
    camera = numpy.array(["old", "new"]).repeat([40, 360])
    right[:40] = numpy.arange(40) % 2 == 0
    weakest, *others = slices_of(judged(right, camera=camera.tolist(), length=list(range(400))))
    assert weakest.name == "camera 'old'"
    assert weakest.is_weak
    assert weakest.agreement.value == 0.5
    assert weakest.agreement.low < 0.5 < weakest.agreement.high
    assert weakest.rest == pytest.approx(right[40:].mean())
    assert all(not each.is_weak for each in others if each.circumstance == "camera")


def test_where_errors_fall_by_lot_a_slice_is_called_weak_no_more_often_than_stated():
    weak = 0
    for seed in range(60):
        generator = numpy.random.default_rng(seed)
        right = generator.random(300) < 0.9
        sources = generator.choice(list("abcdefgh"), 300).tolist()
        items = judged(right, source=sources, length=generator.integers(0, 500, 300).tolist())
        weak += any(each.is_weak for each in slices_of(items))
    # Of 60 at 5% each, more than 7 are seen once in a thousand times.
    assert weak <= 8


def test_the_same_items_have_the_same_slices():
    items = judged(numpy.random.default_rng(1).random(100) < 0.8, length=list(range(100)))
    assert slices_of(items) == slices_of(items)


def test_without_circumstances_there_are_no_slices():
    assert slices_of(judged([1] * 50)) == ()


def test_what_is_true_or_false_is_no_number():
    found = by_name(judged([1] * 40, night=[True, False] * 20))
    assert set(found) == {"night 'True'", "night 'False'"}
