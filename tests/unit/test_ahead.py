"""Work done before it is asked for: in order, no further ahead than told, failing where it failed."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from goldloop.ahead import ahead, drawn_ahead


def test_results_come_in_the_order_of_their_entries():
    turn = [threading.Event() for _ in range(4)]
    turn[3].set()

    def last_first(number: int) -> int:
        assert turn[number].wait(30)
        if number:
            turn[number - 1].set()
        return number

    assert list(ahead(last_first, range(4), threads=4)) == [0, 1, 2, 3]


def test_entries_are_drawn_one_ahead_and_no_further():
    drawn: list[int] = []
    second = threading.Event()

    def entries() -> Iterator[int]:
        for number in range(5):
            drawn.append(number)
            if number == 1:
                second.set()
            yield number

    found = drawn_ahead(entries())
    assert next(found) == 0
    assert second.wait(30)
    assert drawn == [0, 1]
    assert list(found) == [1, 2, 3, 4]
    assert list(drawn_ahead(())) == []


def test_what_drawing_raises_comes_after_the_entries_before_it():
    def entries() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    found = drawn_ahead(entries())
    assert next(found) == 1
    with pytest.raises(ValueError, match="no more"):
        next(found)
