"""How long work tells of itself; the command line shows bars or lines, the Python API is silent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]
"""Call with how many more are done."""


class Progress(Protocol):
    """Where work reports to."""

    def say(self, text: str) -> None:
        """One line about what happens."""

    def track(self, what: str, total: int | None = None) -> AbstractContextManager[Advance]:
        """Show how far some work is; `total` is None where the end cannot be known."""


class Silent:
    """Says nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    @contextmanager
    def track(self, what: str, total: int | None = None) -> Iterator[Advance]:
        """Nothing."""
        yield lambda done: None
