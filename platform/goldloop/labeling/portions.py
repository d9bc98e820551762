"""Requests that a server takes: not too many entries in one, nor too many bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

MOST_BYTES = 16_000_000
"""Of one request, unless a single entry is larger; a server refuses bodies of a few hundred megabytes."""


def portions(entries: Iterable[T], size: Callable[[T], int], most: int = MOST_BYTES) -> Iterator[list[T]]:
    """Entries in order, in portions of at most so many bytes; an entry larger than that comes alone."""
    portion: list[T] = []
    taken = 0
    for entry in entries:
        added = size(entry)
        if portion and taken + added > most:
            yield portion
            portion, taken = [], 0
        portion.append(entry)
        taken += added
    if portion:
        yield portion
