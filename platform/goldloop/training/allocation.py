"""On a CPU, memory of large tensors is kept from one step to the next.

glibc gives a block of more than some megabytes back to the system as soon as it is freed. The next step asks
for the same again, and each of its pages is mapped and zeroed anew, which takes longer than many an operation
on it: the gradient of a vocabulary, the activations of the first layers of a convolutional network.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Of malloc.h: how much free memory at the end of the heap is given back, how many blocks are mapped alone.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_ALL = 2**31 - 1
_USUAL_TRIM_THRESHOLD, _USUAL_MMAP_MAX = 2**26, 2**16


@contextmanager
def large_blocks_kept() -> Iterator[bool]:
    """Within, freed memory is kept for what is allocated next; afterwards it is given back.

    Yields:
        whether it is: only glibc does so.
    """
    libc = _glibc()
    if libc is None:
        yield False
        return
    libc.mallopt(_TRIM_THRESHOLD, _ALL)
    libc.mallopt(_MMAP_MAX, 0)
    try:
        yield True
    finally:
        libc.mallopt(_TRIM_THRESHOLD, _USUAL_TRIM_THRESHOLD)
        libc.mallopt(_MMAP_MAX, _USUAL_MMAP_MAX)
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") and hasattr(libc, "malloc_trim") else None
