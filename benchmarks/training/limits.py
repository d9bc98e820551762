"""What this device can do at most, measured: matrix products and copies."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

_SECONDS = 1.0


def limits() -> dict[str, Any]:
    """FLOP per second of a square product in float32 and bfloat16, and bytes per second of a copy."""
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    side = 8192 if cuda else 2048
    found: dict[str, Any] = {"side": side, "device": device.type}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        left = torch.randn(side, side, device=device).to(dtype)
        right = torch.randn(side, side, device=device).to(dtype)
        out = torch.empty_like(left)
        found[name] = 2 * side**3 / _best(lambda a=left, b=right, o=out: torch.mm(a, b, out=o), cuda)
    source = torch.empty((1 << 30 if cuda else 1 << 27), dtype=torch.uint8, device=device).random_()
    target = torch.empty_like(source)
    # A copy reads every byte and writes it.
    found["copy"] = 2 * source.numel() / _best(lambda: target.copy_(source), cuda)
    return found


def _best(work: Callable[[], Any], cuda: bool) -> float:
    """Seconds that the work takes at its fastest."""
    for _ in range(2):
        work()
    best, began = float("inf"), time.perf_counter()
    while time.perf_counter() - began < _SECONDS:
        if cuda:
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if cuda:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best
