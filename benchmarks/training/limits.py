"""What this device can do at most, measured: matrix products and copies."""

from __future__ import annotations

from typing import Any

import torch

from goldloop.training.ceiling import copy_rate, product_rate

_SECONDS = 1.0


def limits() -> dict[str, Any]:
    """FLOP per second of a square product in float32 and bfloat16, and bytes per second of a copy."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return {
        "device": device.type,
        "fp32": product_rate(device, torch.float32, _SECONDS),
        "bf16": product_rate(device, torch.bfloat16, _SECONDS),
        "copy": copy_rate(device, _SECONDS),
    }
