"""How long work tells of itself; the command line shows bars or lines, the Python API is silent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]
"""Call with how many more are done."""

Show = Callable[[int, Sequence[str]], None]
"""Call with how many are done by now, and what was measured last: a few words for each figure."""


class Progress(Protocol):
    """Where work reports to."""

    def say(self, text: str) -> None:
        """One line about what happens."""

    def track(self, what: str, total: int | None = None) -> AbstractContextManager[Advance]:
        """Show how far some work is; `total` is None where the end cannot be known."""

    def watch(self, what: str, total: int) -> AbstractContextManager[Show]:
        """Show how far some work is, how long it will take, and the figures that it measures of itself."""


class Silent:
    """Says nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    @contextmanager
    def track(self, what: str, total: int | None = None) -> Iterator[Advance]:
        """Nothing."""
        yield lambda done: None

    @contextmanager
    def watch(self, what: str, total: int) -> Iterator[Show]:
        """Nothing."""
        yield lambda done, figures: None
