"""In which batches the examples of an epoch are seen."""

from __future__ import annotations

from typing import Any

import numpy
import torch
from numpy.typing import NDArray

_POOL = 50


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


def parts_of(order: NDArray[Any], size: int) -> list[NDArray[Any]]:
    """As few parts as fit in `size`, as even as can be."""
    return numpy.array_split(order, -(-len(order) // size)) if len(order) else []
