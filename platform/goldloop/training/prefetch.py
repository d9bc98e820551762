"""Results of some work, in order, made in threads while the caller uses those before.

Gathering a batch copies bytes and lets other threads run meanwhile, so threads do what worker processes
would, without their start and without sending batches from one process to another.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

_MOST_THREADS = 4


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gather_threads(modality: str) -> int:
    """How many threads gather batches: an image batch is megabytes, a text batch a few kilobytes.

    A fast tokenizer, which batches of texts may ask, must not be used by two threads at once.
    """
    return 1 if modality == "text" else max(1, min(_MOST_THREADS, cores() // 2))


def prefetched(work: Iterable[Callable[[], T]], threads: int = 1) -> Generator[T, None, None]:
    """Results of some work in order, the next `threads` + 1 made while the caller uses one.

    An exception comes where its result would have come. Closing the generator drops what was not begun and
    waits for what was.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="prefetch")
    waiting: deque[Future[T]] = deque()
    try:
        for job in work:
            waiting.append(pool.submit(job))
            if len(waiting) > threads + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
