"""In which batches the examples of an epoch are seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy
import torch
from numpy.typing import NDArray

_POOL = 50
_WIDTHS = 64


def shuffled(
    count: int, batch_size: int, seed: int, epoch: int, tokens: NDArray[Any] | None = None
) -> list[list[int]]:
    """Batches of one epoch: each of `count` positions once, the same for the same arguments.

    Batches differ in size by one at most and none is larger than `batch_size`, so the last one is no
    noisy rest. With `tokens`, texts of like length are put together: sorted within pools of batches, and
    the order of batches shuffled.
    """
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    order = torch.randperm(count, generator=generator).numpy()
    if tokens is None:
        return [part.tolist() for part in parts_of(order, batch_size)]
    batches = []
    for pool in parts_of(order, batch_size * _POOL):
        batches += parts_of(pool[numpy.argsort(tokens[pool], kind="stable")], batch_size)
    return [batches[number].tolist() for number in torch.randperm(len(batches), generator=generator).tolist()]


def dealt(count: int, batch_size: int, seed: int, epoch: int, tokens: NDArray[Any]) -> list[list[int]]:
    """Batches of one epoch with nearly as many tokens in each: for packed texts, which need no like length.

    As `shuffled` otherwise. Texts are sorted by length, and as many as there are batches are dealt out at a
    time, one to each: by turns at random, and so that the batch with the fewest tokens gets the longest.
    Parts of a batch that stand together have nearly as many tokens too.
    """
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    order = torch.randperm(count, generator=generator).numpy()
    # The sort is stable: texts of one length stay in random order.
    order = order[numpy.argsort(-tokens[order], kind="stable")]
    hands = -(-count // batch_size)
    batches: list[list[int]] = [[] for _ in range(hands)]
    sums = numpy.zeros(hands, dtype=numpy.int64)
    for turn, start in enumerate(range(0, count, max(hands, 1))):
        cards = order[start : start + hands]
        takers = torch.randperm(hands, generator=generator).numpy()
        if turn % 2:
            takers = takers[numpy.argsort(sums[takers], kind="stable")]
        for card, taker in zip(cards.tolist(), takers.tolist(), strict=False):
            batches[taker].append(card)
        sums[takers[: len(cards)]] += tokens[cards]
    shuffle = torch.randperm(hands, generator=generator).tolist()
    return [[batches[number][place] for place in _apart(len(batches[number]))] for number in shuffle]


def packed_shape(
    epochs: Iterable[Sequence[Sequence[int]]],
    tokens: NDArray[Any],
    parts: int = 1,
    segments: NDArray[Any] | None = None,
) -> tuple[int, int]:
    """Tokens, a multiple of 64, and segments of the largest part of any batch: for `Model.packed_shape`.

    Args:
        epochs: the batches of each epoch.
        tokens: of each text as the network reads it, special tokens included.
        parts: how many parts each batch is split into.
        segments: how many each text is; None: one.
    """
    widest = most = 0
    for batch in (batch for batches in epochs for batch in batches):
        for part in numpy.array_split(numpy.asarray(batch, dtype=numpy.int64), parts):
            widest = max(widest, int(tokens[part].sum()))
            most = max(most, len(part) if segments is None else int(segments[part].sum()))
    return -(-widest // _WIDTHS) * _WIDTHS, most


def _apart(count: int) -> list[int]:
    """The numbers below `count` in an order in which neighbors are far apart (van der Corput's)."""
    bits = max(count - 1, 1).bit_length()
    reversed_ = (int(f"{number:0{bits}b}"[::-1], 2) for number in range(2**bits))
    return [number for number in reversed_ if number < count]


def parts_of(order: NDArray[Any], size: int) -> list[NDArray[Any]]:
    """As few parts as fit in `size`, as even as can be."""
    return numpy.array_split(order, -(-len(order) // size)) if len(order) else []
