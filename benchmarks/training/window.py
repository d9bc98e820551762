"""The timed part of a run: the same clock for every arm.

The device is waited for at the edges alone. Step times are of the host on a CPU, and between CUDA events,
which are read at the end, on a GPU. There a step of the warm-up is watched for waits too.
"""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from typing import Any

import numpy
import torch

from goldloop.process_memory import peak_memory
from goldloop.training.syncs import Syncs, counted


class Window:
    """Counts and times steps; the first ones are told apart as warm-up.

    Args:
        device: what computes.
        warmup: steps that do not count; None: those before `warmed`.
    """

    def __init__(self, device: torch.device, warmup: int | None) -> None:
        self._cuda = device.type == "cuda"
        self._device = device
        self._warmup = sys.maxsize if warmup is None else warmup
        self._open: Any = None
        self._spans: list[tuple[Any, Any]] = []
        self._edges: list[float] = []
        self._processor: list[float] = []
        self._pauses = [0.0, 0.0]
        self._paused_at = (0.0, 0.0)
        self._waits: list[float] = []
        self._examples: list[int] = []
        self._tokens: list[Any] = []
        self._padded: list[int] = []
        self._graphs = 0
        self._syncs: Syncs | None = None
        self._watching = ExitStack()
        self._began = time.perf_counter()
        self._setup = 0.0

    def begin(self) -> None:
        """The first step starts now; what came before was setting up."""
        self._setup = time.perf_counter() - self._began
        self._began = time.perf_counter()
        self._start_counting()
        self._open = self._mark()

    def step(self, examples: int, tokens: Any = 0, padded: int = 0, wait: float = 0.0) -> None:
        """A step has ended.

        Args:
            examples: in its batch.
            tokens: real ones: a number, or a tensor that is read at the end.
            padded: tokens with padding.
            wait: seconds that it waited for its batch.
        """
        self._watching.close()
        self._examples.append(examples)
        self._tokens.append(tokens)
        self._padded.append(padded)
        self._waits.append(wait)
        end = self._mark()
        self._spans.append((self._open, end))
        self._open = end
        self._start_counting()
        if self._cuda and len(self._examples) == self._warmup - 1:
            self._syncs = Syncs()
            self._watching.enter_context(counted(self._syncs, self._device))

    def pause(self) -> None:
        """From here on time does not count, until `resume`."""
        self._wait()
        self._paused_at = time.perf_counter(), time.process_time()

    def resume(self) -> None:
        """From here on it counts again."""
        since = self._paused_at
        self._pauses[0] += time.perf_counter() - since[0]
        self._pauses[1] += time.process_time() - since[1]
        self._open = self._mark()

    @property
    def seconds(self) -> float:
        """Since the first step began, pauses left out; while paused."""
        return self._paused_at[0] - self._began - self._pauses[0]

    def warmed(self) -> None:
        """The steps so far were the warm-up."""
        self._warmup = len(self._examples)
        self._edge()

    def end(self) -> None:
        """The last step is done."""
        self._watching.close()
        self._edge()

    def summary(self) -> dict[str, Any]:
        """The figures, warm-up left out; JSON values."""
        steps = len(self._examples)
        if steps <= self._warmup:
            raise RuntimeError(f"{steps} steps, of which {self._warmup} are warm-up, leave nothing to time")
        seconds = self._edges[1] - self._edges[0]
        times = self._step_times()
        tokens = [int(count) for count in self._tokens]
        counted_steps = slice(self._warmup, None)
        examples, real = sum(self._examples[counted_steps]), sum(tokens[counted_steps])
        padded = sum(self._padded[counted_steps])
        return {
            "seconds": seconds,
            "processor_seconds": self._processor[1] - self._processor[0],
            "steps": steps - self._warmup,
            "examples": examples,
            "examples_in_all": sum(self._examples),
            "samples_per_second": examples / seconds,
            "tokens_per_second": real / seconds if padded else None,
            "padded_tokens_per_second": padded / seconds if padded else None,
            "useful_token_share": real / padded if padded else None,
            "step_p50": float(numpy.percentile(times[counted_steps], 50)),
            "step_p95": float(numpy.percentile(times[counted_steps], 95)),
            "data_wait_share": min(sum(self._waits[counted_steps]) / seconds, 1.0),
            "setup_seconds": self._setup,
            "warmup_steps": self._warmup,
            "warmup_seconds": float(sum(times[: self._warmup])),
            "graphs": compiled_graphs(),
            "recompiles_after_warmup": compiled_graphs() - self._graphs,
            "compile_seconds": compile_seconds(),
            "syncs_per_step": None if self._syncs is None else self._syncs.total(),
            **_memory(self._cuda),
        }

    def _start_counting(self) -> None:
        if len(self._examples) == self._warmup:
            self._edge()
            self._graphs = compiled_graphs()

    def _mark(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        event: Any = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _wait(self) -> None:
        if self._cuda:
            torch.cuda.synchronize()

    def _edge(self) -> None:
        self._wait()
        self._edges.append(time.perf_counter() - self._pauses[0])
        self._processor.append(time.process_time() - self._pauses[1])

    def _step_times(self) -> list[float]:
        if self._cuda:
            return [start.elapsed_time(end) / 1000 for start, end in self._spans]
        return [end - start for start, end in self._spans]


def compiled_graphs() -> int:
    """Graphs that torch.compile has made in this process."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    return int(dynamo.counters["stats"]["unique_graphs"]) if dynamo is not None else 0


def compile_seconds() -> float:
    """Seconds that torch.compile took in this process."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    if dynamo is None:
        return 0.0
    return float(sum(dynamo.compilation_time_metrics.get("_compile.compile_inner", [0.0])))


def _memory(cuda: bool) -> dict[str, int]:
    if cuda:
        return {
            "peak_memory": torch.cuda.max_memory_allocated(),
            "peak_reserved": torch.cuda.max_memory_reserved(),
        }
    return {"peak_memory": peak_memory()}
