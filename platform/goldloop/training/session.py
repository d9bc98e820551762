"""From one step to the next: reading losses, scoring, saving, stopping early."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from goldloop.errors import Diverged
from goldloop.training.allocation import large_blocks_kept
from goldloop.training.break_even import CompilePlan
from goldloop.training.ceiling import ceiling
from goldloop.training.checkpoint import Checkpoints, Standing
from goldloop.training.cost import training_cost
from goldloop.training.engine import Engine, Step
from goldloop.training.events import Evaluated, Event, Note, StepLogged
from goldloop.training.profiler import Profiler
from goldloop.training.schedules import warmup_steps
from goldloop.training.throughput import Meter, Throughput, Totals
from goldloop.training.validation import Validation

T = TypeVar("T")

LOG_EVERY = 10
"""Steps between two readings of the loss; the only ones at which the host waits for the device."""

_NAMED_KEYS = 8


class Session:
    """One process's share of a run, from where it stands.

    Args:
        engine: trains; stands where the last checkpoint left it.
        checkpoints: where to save.
        standing: what the last checkpoint says beside its tensors.
        validation: what to score on, if there is anything.
        metrics_file: one line per reading of the loss and per evaluation.
        tell: hears every event.
        started: when this session began, by `time.perf_counter`.
        plan: when the network is compiled.
        profiler: looks at some of the steps, if they are to be profiled.
    """

    def __init__(
        self,
        engine: Engine,
        checkpoints: Checkpoints,
        standing: Standing,
        validation: Validation | None,
        metrics_file: Path,
        tell: Callable[[Event], None],
        started: float,
        plan: CompilePlan,
        profiler: Profiler | None = None,
    ) -> None:
        self.engine = engine
        self.checkpoints = checkpoints
        self.standing = standing
        self.validation = validation
        self._meter = _meter(engine)
        self._lines = _Lines(metrics_file, standing.logged, engine.accelerator.is_main_process)
        self._tell = tell
        self._before = standing.seconds
        self._started = started
        self._pending: list[Step] = []
        self._parts = engine.accumulation
        self._read_at = 0.0
        self._plan = plan
        self._profiler = profiler
        self._spent = dict.fromkeys(("compile", "evaluation", "checkpoints"), 0.0)
        self._spent["preparation"] = time.perf_counter() - started

    @property
    def seconds(self) -> float:
        """Spent so far, over all sessions of the run."""
        return self._before + time.perf_counter() - self._started

    def spent(self) -> dict[str, float]:
        """Seconds of this session in which no step was done, by what they were spent on, and as a `whole`."""
        return {**self._spent, "whole": time.perf_counter() - self._started}

    def throughput(self, totals: Totals) -> Throughput | None:
        """How fast the session went; None where it had no step left.

        Args:
            totals: sums figures over processes.
        """
        return self._with_mechanisms(self._meter.summary(totals))

    def _with_mechanisms(self, speed: Throughput | None) -> Throughput | None:
        """With what the engine counts beside the clock."""
        if speed is None:
            return None
        compilation, syncs = self.engine.compilation, self.engine.syncs
        return replace(
            speed,
            compile_seconds=compilation.seconds,
            recompiles=compilation.recompiles,
            syncs_per_step=None if syncs is None else float(syncs.total()),
        )

    def _stopped_early(self) -> bool:
        stopping = self.engine.config.early_stopping
        return stopping is not None and self.standing.waited >= stopping.patience

    def go(self, checkpoint_seconds: float) -> None:
        """Train to the end, or until early stopping.

        Args:
            checkpoint_seconds: at most so long between two checkpoints, up to the next reading of the loss.

        Raises:
            TrainingError: a loss that is no number, which names the items; or a checkpoint that cannot be
                written.
        """
        if self._stopped_early():
            return
        with self._spending("compile"):
            self._plan.begin()
        on_cpu = self.engine.accelerator.device.type == "cpu"
        with closing(self.checkpoints), large_blocks_kept() if on_cpu else nullcontext():
            self._go(checkpoint_seconds)
            with self._spending("checkpoints"):
                self.checkpoints.settle()

    def _go(self, checkpoint_seconds: float) -> None:
        saved = self._read_at = time.perf_counter()
        self._meter.resume()
        watched = self.engine.steps() if self._profiler is None else self._profiler.watch(self.engine)
        with closing(watched) as steps:
            for step in steps:
                self.checkpoints.check()
                self._tell_of_parts()
                self._meter.step(step.local_examples, step.tokens, step.padded_tokens, step.wait)
                self._pending.append(step)
                pause = self._pauses_at(step.number)
                if not pause and step.number % LOG_EVERY:
                    continue
                speed = self._read_losses()
                self._consider_compiling(speed, step)
                late = self._agreed(time.perf_counter() - saved >= checkpoint_seconds)
                if pause or late:
                    self._meter.pause()
                    if pause and self.validation is not None:
                        with self._spending("evaluation"):
                            self._evaluate(self.validation, step)
                    with self._spending("checkpoints"):
                        self._save(step)
                    saved = self._read_at = time.perf_counter()
                    self._meter.resume()
                if self._stopped_early():
                    break

    def _tell_of_parts(self) -> None:
        parts = self.engine.accumulation
        if parts != self._parts:
            self._parts = parts
            self._tell(Note(f"memory did not suffice: each batch is worked on in {parts} parts from now on"))

    def _consider_compiling(self, speed: Throughput | None, step: Step) -> None:
        """Does it pay by now? All processes must do the same at the same step."""
        if not self._plan.advises:
            return
        left = self.engine.total - step.number
        advice = self._agreed("stay" if speed is None else self._plan.advice(speed.step_p50, left))
        self._meter.pause()
        with self._spending("compile"):
            said = self._plan.follow(advice)
        if said is not None:
            self._tell(Note(said))
        self._read_at = time.perf_counter()
        self._meter.resume()

    @contextmanager
    def _spending(self, what: str) -> Iterator[None]:
        began = time.perf_counter()
        with self.engine.mark(what):
            yield
        self._spent[what] += time.perf_counter() - began

    def _pauses_at(self, number: int) -> bool:
        every = self.engine.config.evaluate_every or self.engine.steps_per_epoch
        return number % every == 0 or number == self.engine.total

    def _read_losses(self) -> Throughput | None:
        """Read what the device has found since the last time: here alone the host waits for it."""
        steps, self._pending = self._pending, []
        found = torch.stack(
            [
                torch.stack([step.loss.float() for step in steps]),
                torch.stack([~step.finite for step in steps]).float(),
            ]
        )
        losses, wrong = self.engine.accelerator.reduce(found, reduction="sum").tolist()
        now = time.perf_counter()
        for step, is_wrong in zip(steps, wrong, strict=True):
            if is_wrong:
                raise _not_finite(step)
        examples = sum(step.examples for step in steps)
        last = steps[-1]
        event = StepLogged(
            step=last.number,
            total=self.engine.total,
            epoch=last.epoch,
            loss=sum(loss * step.examples for loss, step in zip(losses, steps, strict=True)) / examples,
            learning_rate=last.learning_rate,
            samples_per_second=examples / max(now - self._read_at, 1e-9),
            speed=self._with_mechanisms(self._meter.recent(self.engine.accelerator.num_processes)),
        )
        self._read_at = now
        self._lines.add(asdict(event))
        self._tell(event)
        return event.speed

    def _evaluate(self, validation: Validation, step: Step) -> None:
        with self.engine.scored_weights():
            metrics = validation.score(self.engine)
        value = metrics[self.engine.task.metric]
        standing, stopping = self.standing, self.engine.config.early_stopping
        best = standing.best_step is None or value > standing.best[self.engine.task.metric]
        if best:
            standing.best_step, standing.best = step.number, metrics
            standing.temperature = validation.temperature
        rise = stopping.minimum_rise if stopping is not None else 0.0
        if standing.reference is None or value > standing.reference + rise:
            standing.reference, standing.waited = value, 0
        elif step.number > warmup_steps(self.engine.total, self.engine.config):
            standing.waited += 1
        event = Evaluated(step=step.number, epoch=step.epoch, metrics=metrics, best=best)
        self._lines.add(asdict(event))
        self._tell(event)
        if self._stopped_early():
            self._tell(Note(f"stopped early: no rise in {standing.waited} evaluations"))

    def _save(self, step: Step) -> None:
        self.standing.done = step.number
        self.standing.seconds = self.seconds
        self.standing.logged = self._lines.written
        self.checkpoints.save(self.standing, self._lines.path)

    def _agreed(self, wish: T) -> T:
        """The main process's answer: all must do the same at the same step."""
        if self.engine.accelerator.num_processes == 1:
            return wish
        from accelerate.utils import broadcast_object_list

        answer: T = broadcast_object_list([wish])[0]
        return answer


class _Lines:
    """The metrics file; lines of steps that a killed session did after its last checkpoint are dropped."""

    def __init__(self, path: Path, kept: int, writes: bool) -> None:
        self.path = path
        self._writes = writes
        if writes:
            with path.open("ab") as file:
                file.truncate(kept)

    def add(self, line: Mapping[str, Any]) -> None:
        if self._writes:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    @property
    def written(self) -> int:
        """Bytes so far, on the disk or on their way there."""
        return self.path.stat().st_size if self._writes else 0


def _meter(engine: Engine) -> Meter:
    device = engine.accelerator.device
    most = ceiling(device, engine.accelerator.mixed_precision)
    return Meter(device, cost=training_cost(engine), ceiling=most)


def _not_finite(step: Step) -> Diverged:
    named = ", ".join(step.keys[:_NAMED_KEYS])
    more = len(step.keys) - _NAMED_KEYS
    return Diverged(
        "the loss or its gradient is no number any more",
        where=f"step {step.number}",
        found=f"items {named}" + (f" and {more} more" if more > 0 else ""),
        remedy="Look at these items; lower `learning_rate`, or train with `precision: no`",
    )
