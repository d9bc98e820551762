"""Which items are worth an annotator's time first, by the recipe's strategy."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from goldloop.labeling.config import Selection
from goldloop.labeling.strategies import strategies
from goldloop.labeling.strategies.base import Points, Pool, Predictions
from goldloop.records import Item

_DIGEST = hashlib.sha256().digest_size
_LOOKED_FOR = 1000


def ordered(
    items: Sequence[Item],
    selection: Selection,
    predictions: Predictions | None = None,
    points: Points | None = None,
    *,
    taken: Sequence[Item] = (),
    wanted: int | None = None,
) -> list[Item]:
    """Items, the most useful first.

    Args:
        items: those that no annotator has been sent yet.
        selection: the recipe's wish.
        predictions: what the champion says; None while there is no champion, which makes strategies that ask
            it random.
        points: where items lie; None where that is not known, which makes strategies that ask it random.
        taken: items that annotators have already.
        wanted: how many are sent now; by default all, of which the first thousand are looked for with care.
    """
    shuffled = sorted(items, key=lambda item: _draw(selection.seed, item.key))
    pool = Pool(shuffled, _LOOKED_FOR if wanted is None else wanted, taken, predictions, points)
    return strategies.create(selection.strategy).order(pool)


def at_random(keys: Iterable[str], seed: int) -> list[str]:
    """Keys of items in an order that depends on seed and content alone."""
    drawn = sorted(_draw(seed, key) + bytes.fromhex(key) for key in keys)
    return [each[_DIGEST:].hex() for each in drawn]


def _draw(seed: int, key: str) -> bytes:
    """A place in a random order that depends on seed and content alone, not on what else there is."""
    return hashlib.sha256(f"selection:{seed}:{key}".encode()).digest()
