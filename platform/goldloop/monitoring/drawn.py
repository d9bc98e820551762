"""Which items are held against each other: of each group one, by chance and by content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from goldloop.records import Item


def drawn(items: Iterable[Item], most: int, seed: int) -> list[Item]:
    """One item of each group, at most so many: items of a group are alike, and count as one."""
    chosen: dict[str, Item] = {}
    for item in sorted(items, key=lambda item: _draw(seed, item.key)):
        chosen.setdefault(item.group, item)
        if len(chosen) == most:
            break
    return list(chosen.values())


def held_out(items: Mapping[str, Item], splits: Mapping[str, str | None], most: int, seed: int) -> list[Item]:
    """Items of a version that its model has not learned from, and that stand for all that the version knew.

    Args:
        items: by key, those whose content is at hand.
        splits: key -> split, of every item that the version knew; None for one without a label.
        most: so many are drawn.
        seed: of the draw.
    """
    known = {key: split for key, split in splits.items() if key in items}
    labelled = sum(split is not None for split in known.values())
    test = drawn((items[key] for key, split in known.items() if split == "test"), len(known), seed)
    left = drawn((items[key] for key, split in known.items() if split is None), len(known), seed)
    share = labelled / max(len(known), 1)
    # The test split stands for all labelled items, so it is as much of the whole as they are.
    whole = min(
        float(most),
        len(test) / share if share > 0 else float(most),
        len(left) / (1 - share) if share < 1 else float(most),
    )
    count = round(whole * share)
    return [*test[:count], *left[: max(int(whole) - count, 0)]]


def _draw(seed: int, key: str) -> bytes:
    return hashlib.sha256(f"drift:{seed}:{key}".encode()).digest()
