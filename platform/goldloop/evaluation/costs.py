"""What a model costs to ask: time alone and in batches, memory, disk; on which hardware.

Times are of `Predictor`, the path that production takes; the network is warm.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from goldloop.process_memory import peak_memory

_WARM = 3
_ALONE = 50


class Costs(BaseModel):
    """What was measured.

    Attributes:
        latency_p50, latency_p99: seconds for one item that is asked alone.
        items_per_second: of items in batches.
        memory: bytes that the process had at most (on a GPU, the device), what else it did included.
        size: bytes of the model's files.
        hardware: what it was measured on; figures of other hardware are not to be compared.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    latency_p50: float
    latency_p99: float
    items_per_second: float
    memory: int
    size: int
    hardware: str


def measured(
    predict: Callable[[Sequence[bytes | str]], Any],
    contents: Sequence[bytes | str],
    items_per_second: float,
    folder: Path,
) -> Costs:
    """Ask a model for some items, each alone.

    Args:
        predict: answers a list of contents.
        contents: at least one; no more than fifty are asked.
        items_per_second: measured before, of items in batches.
        folder: the model's.
    """
    import numpy

    asked = list(contents)[:_ALONE]
    for content in asked[:_WARM]:
        predict([content])
    seconds = []
    for content in asked:
        began = time.perf_counter()
        predict([content])
        seconds.append(time.perf_counter() - began)
    p50, p99 = numpy.percentile(seconds, [50, 99]).tolist()
    return Costs(
        latency_p50=p50,
        latency_p99=p99,
        items_per_second=items_per_second,
        memory=_memory(),
        size=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
        hardware=hardware(),
    )


def hardware() -> str:
    """The device that models are asked on here, in a word."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{platform.machine()} CPU, {os.cpu_count()} cores, {torch.get_num_threads()} threads"


def _memory() -> int:
    import torch

    return int(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else peak_memory()
