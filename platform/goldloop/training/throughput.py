"""How fast training goes, and how near to what the device can do: timed step by step, without a wait for it.

On a CPU a step ends when the host has done it. On a GPU the host runs ahead, so each step's end is a CUDA
event in the stream, read once it has passed. Evaluation and checkpoints lie between `pause` and the next
`resume` and do not count; the first steps (allocation, autotuning) are told apart as warm-up.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import torch

from goldloop.process_memory import peak_memory
from goldloop.training.cost import Cost

_WARMUP_SHARE = 10
_MOST_WARMUP = 5
_KEPT_EVENTS = 256

Totals = Callable[[Sequence[float]], Sequence[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """How fast a run went, warm-up left out.

    Over all processes, except for steps, memory, compiling and waits, which are this one's.

    Attributes:
        samples_per_second: examples trained on.
        tokens_per_second: real tokens; None for images, as the next two.
        padded_tokens_per_second: tokens with padding.
        useful_token_share: real tokens of all, in [0, 1].
        step_p50, step_p95: seconds per step, median and 95th percentile.
        data_wait_share: share of the time that the step waited for its data, in [0, 1].
        model_flops_per_second: floating-point operations that the examples need, forward and backward,
            without padding and what is computed twice; None where they were not counted, as the next two.
        ceiling_flops_per_second: of matrix products in the run's precision, measured on these devices.
        model_flops_utilization: the share that the former has of the latter.
        peak_memory_bytes: most that this process held: allocated on the GPU, else resident in memory.
        peak_reserved_bytes: most that PyTorch took of the GPU's memory; None on a CPU.
        steps, samples: how many were timed, warm-up left out.
        seconds: how long they took.
        warmup_steps, warmup_seconds: what was left out.
        compile_seconds: for which the run stood still to be compiled; None where it was not, as the next.
        recompiles: how often more had to be compiled later; 0 if all is well.
        syncs_per_step: how often the host waited for the device within a step, see `syncs.py`; None where
            that was not looked at.
    """

    samples_per_second: float
    tokens_per_second: float | None
    padded_tokens_per_second: float | None
    useful_token_share: float | None
    step_p50: float
    step_p95: float
    data_wait_share: float
    model_flops_per_second: float | None = None
    ceiling_flops_per_second: float | None = None
    model_flops_utilization: float | None = None
    peak_memory_bytes: int
    peak_reserved_bytes: int | None = None
    steps: int
    samples: int
    seconds: float
    warmup_steps: int
    warmup_seconds: float
    compile_seconds: float | None = None
    recompiles: int | None = None
    syncs_per_step: float | None = None


class Meter:
    """Times the steps of one process.

    Args:
        device: what computes.
        clock: seconds, for a device that the host does not run ahead of.
        cost: of the examples; None: it is not known.
        ceiling: floating-point operations per second that the device reaches; needed with `cost`.
    """

    def __init__(
        self,
        device: torch.device,
        clock: Callable[[], float] = time.perf_counter,
        cost: Cost | None = None,
        ceiling: float = 0.0,
    ) -> None:
        self._cuda = device.type == "cuda"
        self._device = device
        self._clock = clock
        self._last: Any = None
        self._spans: deque[tuple[Any, Any]] = deque()
        self._seconds: list[float] = []
        self._counts: list[tuple[int, int, int, float]] = []
        self._told = 0
        self._cost = cost
        self._ceiling = ceiling
        if self._cuda:
            torch.cuda.reset_peak_memory_stats(device)

    def resume(self) -> None:
        """From here on time counts."""
        self._last = self._mark()

    def pause(self) -> None:
        """From here on time does not count, until `resume`."""
        self._last = None

    def step(self, examples: int, tokens: int, padded_tokens: int, wait: float) -> None:
        """A step has ended.

        Args:
            examples: how many this process worked on.
            tokens: real ones of its texts.
            padded_tokens: with padding.
            wait: seconds for which it waited for its data.
        """
        mark = self._mark()
        if self._last is None:
            raise RuntimeError("a step was timed before resume()")
        self._spans.append((self._last, mark))
        self._last = mark
        self._counts.append((examples, tokens, padded_tokens, wait))
        self._settle(_KEPT_EVENTS)

    def summary(self, totals: Totals = lambda values: values) -> Throughput | None:
        """The figures so far; None where no step was timed.

        Args:
            totals: sums figures over processes.
        """
        if self._cuda:
            torch.cuda.synchronize(self._device)
        self._settle(0)
        if not self._seconds:
            return None
        warmup = min(_MOST_WARMUP, len(self._seconds) // _WARMUP_SHARE)
        return self._figures(warmup, warmup, totals)

    def recent(self, processes: int = 1) -> Throughput | None:
        """The figures of the steps since the last call, without a wait; None where no step has ended since.

        Args:
            processes: that share the work alike; how much they do is taken to be as much as this one does.
        """
        self._settle(0)
        first, self._told = self._told, len(self._seconds)
        if first == len(self._seconds):
            return None
        return self._figures(first, 0, lambda values: [value * processes for value in values])

    def _figures(self, first: int, warmup: int, totals: Totals) -> Throughput:
        """Of the steps from one on; `warmup` of those before it are told of as such."""
        last = len(self._seconds)
        timed = self._seconds[first:]
        seconds = max(sum(timed), sys.float_info.min)
        counts = numpy.asarray(self._counts[first:last], dtype=numpy.float64)
        wait = float(counts[:, 3].sum())
        samples, tokens, padded, most = totals([*counts[:, :3].sum(axis=0).tolist(), self._ceiling])
        flops = None if self._cost is None else self._cost.of(samples, tokens) / seconds
        return Throughput(
            samples_per_second=samples / seconds,
            tokens_per_second=tokens / seconds if padded else None,
            padded_tokens_per_second=padded / seconds if padded else None,
            useful_token_share=tokens / padded if padded else None,
            step_p50=float(numpy.percentile(timed, 50)),
            step_p95=float(numpy.percentile(timed, 95)),
            data_wait_share=min(wait / seconds, 1.0),
            model_flops_per_second=flops,
            ceiling_flops_per_second=most if flops is not None and most else None,
            model_flops_utilization=flops / most if flops is not None and most else None,
            peak_memory_bytes=self._peak_memory(),
            peak_reserved_bytes=torch.cuda.max_memory_reserved(self._device) if self._cuda else None,
            steps=len(timed),
            samples=round(samples),
            seconds=seconds,
            warmup_steps=warmup,
            warmup_seconds=sum(self._seconds[:warmup]),
        )

    def _mark(self) -> Any:
        if not self._cuda:
            return self._clock()
        cuda: Any = torch.cuda
        event = cuda.Event(enable_timing=True)
        event.record()
        return event

    def _settle(self, keep: int) -> None:
        """Turn the oldest marks into seconds; those kept back may not have passed on the device yet."""
        while len(self._spans) > keep:
            start, end = self._spans[0]
            if self._cuda and not end.query():
                return
            self._spans.popleft()
            self._seconds.append(start.elapsed_time(end) / 1000 if self._cuda else end - start)

    def _peak_memory(self) -> int:
        return torch.cuda.max_memory_allocated(self._device) if self._cuda else peak_memory()
