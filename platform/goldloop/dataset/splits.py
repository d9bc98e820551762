"""The splits of a version, in their order."""

from __future__ import annotations

from typing import Literal

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")

PROTECTED: dict[str, int] = {split: place for place, split in enumerate(SPLITS)}
"""The higher, the more it must be kept from the others: what a test item is like must not be trained on."""
