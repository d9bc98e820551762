"""Splits that never move: an item's split is a function of its group alone.

The group's SHA-256, seeded, is a number in [0, 1); test takes the lowest share, validation the next, train
the rest. So an item stays where it is as data grow, on any machine, and all of a group is together.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from goldloop.dataset.config import Split

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


def split_of(group: str, split: Split) -> SplitName:
    """The split of a group: the share of groups in each tends to what the recipe asks for."""
    # Named, so that no other draw over the same keys (which items are sent out first) goes along with it.
    digest = hashlib.sha256(f"split:{split.seed}:{group}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < split.test:
        return "test"
    if place < split.test + split.validation:
        return "validation"
    return "train"
