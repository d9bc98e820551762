"""A few steps of a run in a place of their own, to see what they take: memory, time, room on the disk."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

import numpy
import psutil
import torch

from goldloop.inference import save_model
from goldloop.tasks.base import Model, Task
from goldloop.training.config import FALLBACK, TrainingConfig
from goldloop.training.data import PreparedSplit, undecoded
from goldloop.training.events import Evaluated, Event, StepLogged
from goldloop.training.freezing import Freezing
from goldloop.training.run import train

if TYPE_CHECKING:
    import datasets

BATCHES = 20
"""How many batches of the training split a sample should have."""

_STEPS = 300
_BETWEEN_EVALUATIONS = 5
_BETWEEN_LOOKS = 0.002


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a few steps took; seconds and bytes.

    Attributes:
        device: what computed.
        parameters, trained: of the network, and those of them that learn.
        weights, gradients, optimizer: bytes of these.
        base: resident in memory before there was a network; 0 on a GPU.
        peak: held at most, `base` included.
        start: to load libraries and the model, to the first step; data prepared already.
        preparation: to prepare one item.
        step, step_low, step_high: of one step: the mean, and what it was in quick and in slow moments (the
            lower quartile and the 95th percentile over a few steps at a time).
        evaluation: to score one item of the validation split.
        saving: for how long a step stands still for a checkpoint.
        end: to write the model.
        cache: bytes of one prepared item.
        last, best: bytes of a checkpoint, and of the best weights.
        model: bytes of the model folder.
    """

    device: str
    parameters: int
    trained: int
    weights: int
    gradients: int
    optimizer: int
    base: int
    peak: int
    start: float
    preparation: float
    step: float
    step_low: float
    step_high: float
    evaluation: float
    saving: float
    end: float
    cache: float
    last: int
    best: int
    model: int


def rehearse(
    task: Task[Any],
    config: TrainingConfig,
    splits: Mapping[str, datasets.Dataset],
    folder: Path,
    seconds: float,
) -> Rehearsal:
    """Train a few steps on a sample of a version, by the code that trains, and tell what they took.

    Args:
        task: with the classes of the version.
        config: of the run.
        splits: samples of `train` and, if there is one, `validation`.
        folder: where all that is written lies; for the caller to remove.
        seconds: how long to go on, ten steps at least.

    Raises:
        TrainingError: nothing to train on, or settings that do not train.
        ModelError: the checkpoint does not fit.
    """
    rows, held_out = splits["train"], splits.get("validation")
    started = time.perf_counter()
    model = _model(task, config, rows)
    building = time.perf_counter() - started
    parameters = list(model.network.parameters())
    counted = sum(parameter.numel() for parameter in parameters)
    per_epoch = -(-len(rows) // config.batch_size)
    Freezing(model.network, config.freeze, per_epoch)
    learn = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    weights = sum(parameter.numel() * parameter.element_size() for parameter in parameters)
    started = time.perf_counter()
    for split in splits.values():
        if len(split):
            PreparedSplit.prepare(task, model, split, folder / "cache")
    preparation = time.perf_counter() - started
    items = sum(map(len, splits.values()))
    cache = _bytes(folder / "cache")
    started = time.perf_counter()
    save_model(folder / "model", task, model, {})
    end = time.perf_counter() - started
    del model, parameters
    gc.collect()
    hearing = _Hearing(folder / "run", len(rows) / per_epoch, seconds)
    changes = {
        "epochs": -(-_STEPS // per_epoch),
        "evaluate_every": _BETWEEN_EVALUATIONS,
        "early_stopping": None,
        # Looking for it would be all that is done in the time there is.
        "learning_rate": FALLBACK if config.learning_rate == "auto" else config.learning_rate,
    }
    rehearsed = config.model_copy(update=changes)
    with _memory() as memory, suppress(_Enough):
        train(task, rehearsed, splits, folder / "run", folder / "cache", {}, hearing)
    hearing.look()
    # The first steps allocate and compile.
    steps = hearing.step_seconds[1:] or hearing.step_seconds
    on_gpu = torch.cuda.is_available()
    return Rehearsal(
        device=torch.cuda.get_device_name() if on_gpu else f"CPU, {torch.get_num_threads()} threads",
        parameters=counted,
        trained=learn,
        weights=weights,
        gradients=learn * 4,
        optimizer=hearing.optimizer,
        base=0 if on_gpu else memory.base,
        peak=torch.cuda.max_memory_allocated() if on_gpu else memory.peak,
        # The second time, in the run, every library is loaded already.
        start=building + hearing.start,
        preparation=preparation / items,
        step=fmean(steps),
        step_low=float(numpy.percentile(steps, 25)),
        step_high=float(numpy.percentile(steps, 95)),
        evaluation=median(hearing.evaluations) / len(held_out) if held_out and hearing.evaluations else 0.0,
        saving=median(hearing.savings) if hearing.savings else 0.0,
        end=end,
        cache=cache / items,
        last=hearing.last,
        best=hearing.best or weights,
        model=_bytes(folder / "model"),
    )


class _Enough(BaseException):
    """Enough steps were seen."""


class _Hearing:
    """Takes the time of what a run tells, and looks at what it keeps on the disk."""

    def __init__(self, folder: Path, batch: float, patience: float) -> None:
        self._folder = folder
        self._batch = batch
        self._patience = patience
        self._begun = self._heard = time.perf_counter()
        self.start = 0.0
        self.step_seconds: list[float] = []
        self.evaluations: list[float] = []
        self.savings: list[float] = []
        self.optimizer = 0
        self.last = self.best = 0
        self._done = 0
        self._evaluated = False

    def __call__(self, event: Event) -> None:
        if not isinstance(event, StepLogged | Evaluated):
            return
        now = time.perf_counter()
        passed = now - self._heard
        if isinstance(event, Evaluated):
            self.evaluations.append(passed)
            self._evaluated = True
        else:
            steps = event.step - self._done
            seconds = self._batch / event.samples_per_second
            self.step_seconds.append(seconds)
            rest = max(passed - steps * seconds, 0.0)
            if not self._done:
                self.start = max(now - self._begun - steps * seconds, 0.0)
            elif self._evaluated:
                self.savings.append(rest)
            self._done, self._evaluated = event.step, False
        self.look()
        self._heard = time.perf_counter()
        enough = len(self.step_seconds) > 1 and now - self._begun - self.start > self._patience
        if enough:
            raise _Enough

    def look(self) -> None:
        """What the last checkpoint holds, once there is one; it may be replaced while one looks."""
        checkpoints = self._folder / "checkpoints"
        with suppress(OSError):
            for folder in sorted(checkpoints.glob("best-*")):
                self.best = _bytes(folder) or self.best
            for folder in sorted(checkpoints.glob("step-*")):
                self.optimizer = (folder / "optimizer.safetensors").stat().st_size
                self.last = _bytes(folder)


def _model(task: Task[Any], config: TrainingConfig, rows: datasets.Dataset) -> Model:
    texts = task.training_texts(undecoded(task, rows))
    return task.model(config.checkpoint_argument(), texts=texts, settings=config.model_settings())


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@dataclass(slots=True)
class _Memory:
    """Resident bytes of this process: before, and at most since."""

    base: int
    peak: int
    done: threading.Event = field(default_factory=threading.Event)


@contextmanager
def _memory() -> Iterator[_Memory]:
    """Look at the process's memory again and again, from a thread."""
    process = psutil.Process()
    seen = process.memory_info().rss
    memory = _Memory(seen, seen)

    def look() -> None:
        while not memory.done.wait(_BETWEEN_LOOKS):
            memory.peak = max(memory.peak, process.memory_info().rss)

    thread = threading.Thread(target=look, name="memory", daemon=True)
    thread.start()
    try:
        yield memory
    finally:
        memory.done.set()
        thread.join()
