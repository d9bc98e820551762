"""What is freed on a CPU is used again; seen by the pages that the system has to map."""

from __future__ import annotations

import resource
import sys

import pytest
import torch

from goldloop.training.allocation import large_blocks_kept

BLOCK = 2**26


def mapped(times: int) -> int:
    """Pages mapped while a block is allocated, written and freed so many times."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.empty(BLOCK, dtype=torch.uint8).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc can be told")
def test_a_large_block_is_mapped_once_and_not_at_each_step():
    with large_blocks_kept() as kept:
        if not kept:
            pytest.skip("another C library allocates memory here")
        mapped(24)
        again = mapped(8)
    each_time = mapped(8)

    assert again < each_time / 4


def test_afterwards_memory_is_given_back():
    with large_blocks_kept() as kept:
        mapped(1)
    if kept:
        assert mapped(2) > 0
