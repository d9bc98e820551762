"""Work beside the steps: one piece at a time, in a thread; what it raises is raised where one looks next."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Background:
    """Does one piece of work after another.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._running: Future[None] | None = None

    def start(self, work: Callable[[], None]) -> None:
        """Begin a piece of work, once the one before is done.

        Raises:
            Exception: what the one before raised.
        """
        self.wait()
        self._running = self._pool.submit(work)

    def check(self) -> None:
        """Raise what work has raised; waits for nothing."""
        if self._running is not None and self._running.done():
            self.wait()

    def wait(self) -> None:
        """Wait until all work is done.

        Raises:
            Exception: what it raised.
        """
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def close(self) -> None:
        """Wait until all work is done, and take no more; for when something else is raised already."""
        self._pool.shutdown()
