"""Takes the profile of a run while it trains: it computes what it would have computed, to the bit.

The first steps are left alone (allocation, compiling). The next ones are timed part by part, with little
more than two readings of a clock for each. Those after them are traced by `torch.profiler`, which slows
them down: the trace tells which operations cost what, and when a GPU stands idle, but no shares are taken
from it.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from goldloop.training.profile import PARTS, TRACE_FILE, Operator, Profile

if TYPE_CHECKING:
    from goldloop.training.engine import Engine, Step

Mark = Callable[[str], AbstractContextManager[None]]

_UNMARKED: AbstractContextManager[None] = nullcontext()
_WARMUP = 10
_TIMED = 40
_TRACED = 5
_OPERATORS = 8


def unmarked(part: str) -> AbstractContextManager[None]:
    """What an engine marks its parts with while nobody looks."""
    return _UNMARKED


def traced(part: str) -> AbstractContextManager[None]:
    """Marks that are seen in a trace."""
    return torch.profiler.record_function(f"goldloop/{part}")


@dataclass(frozen=True, slots=True)
class Plan:
    """How many steps are left alone, timed and traced."""

    warmup: int
    timed: int
    traced: int

    @classmethod
    def of(cls, steps: int) -> Plan | None:
        """For a run that has so many steps left; None where they are too few."""
        whole = _WARMUP + _TIMED + _TRACED
        if steps >= whole:
            return cls(_WARMUP, _TIMED, _TRACED)
        if steps < 3:
            return None
        traces = max(steps * _TRACED // whole, 1)
        warmup = max(steps * _WARMUP // whole, 1)
        return cls(warmup, steps - warmup - traces, traces)


class Timer:
    """Seconds by part of a step; where the host runs ahead of a GPU, by the clock of its stream.

    Marks may lie within one another: each is counted without those inside it. `gather` is marked by
    another thread.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._open: list[list[tuple[Any, Any]]] = []
        self._spans: list[tuple[str, tuple[Any, Any], list[tuple[Any, Any]]]] = []
        self._gathered: list[float] = []

    @contextmanager
    def mark(self, part: str) -> Iterator[None]:
        """Time what is done within."""
        if part == "gather":
            began = time.perf_counter()
            yield
            self._gathered.append(time.perf_counter() - began)
            return
        inner: list[tuple[Any, Any]] = []
        outer = self._open[-1] if self._open else None
        self._open.append(inner)
        start = self._now()
        try:
            yield
        finally:
            span = (start, self._now())
            self._open.pop()
            if outer is not None:
                outer.append(span)
            self._spans.append((part, span, inner))

    def seconds(self) -> dict[str, float]:
        """Part -> seconds so far; waits for the device."""
        if self._cuda:
            torch.cuda.synchronize()
        found: dict[str, float] = defaultdict(float)
        for part, span, inner in self._spans:
            found[part] += max(self._length(span) - sum(map(self._length, inner)), 0.0)
        return dict(found)

    def gather_seconds(self) -> float:
        """Mean time that a batch took to gather."""
        return sum(self._gathered) / len(self._gathered) if self._gathered else 0.0

    def _now(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        cuda: Any = torch.cuda
        event = cuda.Event(enable_timing=True)
        event.record()
        return event

    def _length(self, span: tuple[Any, Any]) -> float:
        start, end = span
        return float(start.elapsed_time(end) / 1000 if self._cuda else end - start)


class Profiler:
    """Profiles one session of a run.

    Args:
        folder: of the run; the profile and its trace are written there.
        say: hears what came of it.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._say = say

    def watch(self, engine: Engine) -> Generator[Step, None, None]:
        """The engine's steps, some of which are looked at; closing it closes them."""
        steps = engine.steps()
        plan = Plan.of(engine.total - engine.done)
        try:
            if plan is None:
                self._say("too few steps are left to profile any")
            else:
                yield from islice(steps, plan.warmup)
                yield from self._look(engine, steps, plan)
            yield from steps
        finally:
            engine.mark = unmarked
            steps.close()

    def _look(
        self, engine: Engine, steps: Generator[Step, None, None], plan: Plan
    ) -> Generator[Step, None, None]:
        first = engine.done + 1
        timer = Timer(engine.accelerator.device)
        engine.mark = timer.mark
        seen: list[Step] = []
        with timer.mark("whole"):
            for step in islice(steps, plan.timed):
                seen.append(step)
                with timer.mark("between"):
                    yield step
        engine.mark = traced
        with _recorded(engine.accelerator.device) as recorded:
            for step in islice(steps, plan.traced):
                with traced("between"):
                    yield step
        engine.mark = unmarked
        if not seen:
            return
        profile = _profile(engine, timer, first, seen, recorded, plan.traced)
        if engine.accelerator.is_main_process:
            recorded.export_chrome_trace(str(self._folder / TRACE_FILE))
            profile.write(self._folder)
        found = profile.bottleneck()
        self._say(f"profile: {found.finding}")


def _recorded(device: torch.device) -> torch.profiler.profile:
    # Else the tracer writes to the terminal that it starts and ends, and that it finds no GPU.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    return torch.profiler.profile(activities=activities, acc_events=True)


def _profile(
    engine: Engine, timer: Timer, first: int, seen: list[Step], recorded: Any, traced_steps: int
) -> Profile:
    device = engine.accelerator.device
    seconds = timer.seconds()
    # What the marks do not cover lies in none of them: it is left over in the one around all.
    parts = {part: seconds.get(part, 0.0) / len(seen) for part in PARTS}
    parts["other"] += seconds["whole"] / len(seen)
    padded = sum(step.padded_tokens for step in seen)
    return Profile(
        first_step=first,
        steps=len(seen),
        seconds=sum(parts.values()),
        parts=parts,
        gather_seconds=timer.gather_seconds(),
        device=device.type,
        device_busy=_busy(recorded) if device.type == "cuda" else None,
        precision=engine.accelerator.mixed_precision,
        compiled=engine.compilation.scope is not None,
        useful_token_share=sum(step.tokens for step in seen) / padded if padded else None,
        operators=_operators(recorded, device, traced_steps),
    )


def _operators(recorded: Any, device: torch.device, steps: int) -> tuple[Operator, ...]:
    field = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    averages = [one for one in recorded.key_averages() if not _encloses(one, device)]
    averages.sort(key=lambda one: getattr(one, field), reverse=True)
    return tuple(
        Operator(one.key, one.count / steps, getattr(one, field) / 1e6 / steps)
        for one in averages[:_OPERATORS]
        if getattr(one, field) > 0
    )


def _encloses(average: Any, device: torch.device) -> bool:
    """Whether this only marks what others do: on a GPU such a mark's own time is theirs."""
    return average.key.startswith("goldloop/") or (device.type == "cuda" and bool(average.is_user_annotation))


def _busy(recorded: Any) -> float | None:
    """Share of the time between the first kernel and the last in which one ran."""
    on_device = [
        (event.time_range.start, event.time_range.end)
        for event in recorded.events()
        if event.device_type == torch._C._autograd.DeviceType.CUDA and not event.is_user_annotation
    ]
    return covered_share(on_device)


def covered_share(spans: list[tuple[float, float]]) -> float | None:
    """Of the time from the first start to the last end, the share in [0, 1] that lies in any of the spans."""
    if not spans:
        return None
    spans = sorted(spans)
    begin, reached = spans[0][0], spans[0][0]
    covered = 0.0
    for start, end in spans:
        if end > reached:
            covered += end - max(start, reached)
            reached = end
    return covered / (reached - begin) if reached > begin else None
