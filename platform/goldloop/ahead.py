"""Work done some steps before it is asked for: hides the latency of others, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar, cast

S = TypeVar("S")
T = TypeVar("T")

THREADS = 8
AHEAD = 32
"""Results that may wait to be asked for: of images, so many are held in memory."""
ASKED = 500
"""Entries that the catalog is asked about at once."""


def ahead(
    work: Callable[[S], T], entries: Iterable[S], threads: int = THREADS, depth: int = AHEAD
) -> Iterator[T]:
    """`work` of each entry, in their order, by several threads; at most `depth` are begun or done ahead."""
    remaining = iter(entries)
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[T]] = deque(pool.submit(work, entry) for entry in islice(remaining, depth))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(work, entry) for entry in islice(remaining, 1))


def drawn_ahead(entries: Iterable[T]) -> Iterator[T]:
    """The same entries; while the caller uses one, a thread draws the next."""
    remaining, end = iter(entries), object()
    with ThreadPoolExecutor(1) as pool:
        coming: Future[T | object] = pool.submit(next, remaining, end)
        while (entry := coming.result()) is not end:
            coming = pool.submit(next, remaining, end)
            yield cast("T", entry)


def chunks(entries: Iterable[S], size: int = ASKED) -> Iterator[tuple[S, ...]]:
    """Entries in groups of at most `size`."""
    remaining = iter(entries)
    while chunk := tuple(islice(remaining, size)):
        yield chunk
