"""Which items are worth an annotator's time first."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from goldloop.labeling.config import Selection
from goldloop.records import Item

Confidences = Callable[[Sequence[Item]], Sequence[float]]
"""The champion's confidence in [0, 1] for each item, in order."""


def ordered(items: Sequence[Item], selection: Selection, confidences: Confidences | None) -> list[Item]:
    """Items, the most useful first.

    Args:
        items: those that no annotator has been sent yet.
        selection: the recipe's wish.
        confidences: what the champion thinks; None while there is no champion, which makes every
            strategy random.
    """
    shuffled = sorted(items, key=lambda item: _draw(selection.seed, item.key))
    if selection.strategy == "random" or confidences is None:
        return shuffled
    known = confidences(shuffled)
    return [item for _, item in sorted(zip(known, shuffled, strict=True), key=lambda pair: pair[0])]


def _draw(seed: int, key: str) -> bytes:
    """A place in a random order that depends on seed and content alone, not on what else there is."""
    return hashlib.sha256(f"selection:{seed}:{key}".encode()).digest()
