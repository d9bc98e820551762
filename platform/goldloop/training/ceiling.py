"""What a device computes at most, measured on it: matrix products of a run's precision, and copies.

No datasheet is asked: a machine that is shared, throttled or has few cores reaches less than one says.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

import torch

PRECISIONS = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""How Accelerate calls a mixed precision -> in which numbers products are computed."""

_SECONDS = 0.2
_LONG_ENOUGH = 0.02
_SIDES = (512, 1024, 2048, 4096, 8192)
_COPIED = {"cuda": 1 << 30, "cpu": 1 << 27}


@cache
def ceiling(device: torch.device, precision: str) -> float:
    """Floating-point operations per second of matrix products at a precision; measured once in a process.

    Args:
        device: a GPU with its number, or the CPU.
        precision: a name of `PRECISIONS`.
    """
    return product_rate(device, PRECISIONS[precision])


def product_rate(device: torch.device, dtype: torch.dtype, seconds: float = _SECONDS) -> float:
    """Floating-point operations per second of square matrix products, as large as keep the device busy.

    Args:
        device: what computes.
        dtype: of the factors and of the product.
        seconds: how long to try for the best.
    """
    found = 0.0
    # Its own, as a run's random numbers must not depend on how large a product the machine was tried with.
    random = torch.Generator(device=device).manual_seed(0)
    for side in _SIDES:
        try:
            left, right = (
                torch.randn(side, side, device=device, generator=random).to(dtype) for _ in range(2)
            )
            out = torch.empty_like(left)
        except torch.OutOfMemoryError:
            break
        took = _best(lambda: torch.mm(left, right, out=out), device, 0.0)  # noqa: B023
        if took < _LONG_ENOUGH and side < _SIDES[-1]:
            continue
        took = min(took, _best(lambda: torch.mm(left, right, out=out), device, seconds))  # noqa: B023
        found = 2 * side**3 / took
        break
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return found


def copy_rate(device: torch.device, seconds: float = _SECONDS) -> float:
    """Bytes per second that a copy within the device's memory reads and writes."""
    random = torch.Generator(device=device).manual_seed(0)
    source = torch.empty(_COPIED[device.type], dtype=torch.uint8, device=device).random_(generator=random)
    target = torch.empty_like(source)
    return 2 * source.numel() / _best(lambda: target.copy_(source), device, seconds)


def _best(work: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Seconds that some work takes at its fastest, of two tries at least after a first one."""
    work()
    best, tries, began = float("inf"), 0, time.perf_counter()
    while tries < 2 or time.perf_counter() - began < seconds:
        _wait(device)
        start = time.perf_counter()
        work()
        _wait(device)
        best = min(best, time.perf_counter() - start)
        tries += 1
    return best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
