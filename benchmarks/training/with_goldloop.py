"""goldloop's arm: `training.run.train`, which is what `goldloop train` calls, on the same rows.

Its steps are counted where the engine yields them; nothing that it does is changed, except that on the
compute layer the first batch is given again and again.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from job import LAST_STEPS, Job, end_loss, first_loss, stalls
from learning import Learning
from starting import task_of
from window import Window

from goldloop.inference import Predictor
from goldloop.training import run
from goldloop.training.checkpoint import Checkpoints, Standing
from goldloop.training.config import TrainingConfig
from goldloop.training.data import PreparedSplit
from goldloop.training.engine import Engine, Step
from goldloop.training.prefetch import gather_threads, prefetched

_NEVER = 10**9


def config_of(job: Job) -> TrainingConfig:
    """The recipe's `training:`; nothing is evaluated while it is timed, as in the other arms."""
    shared: dict[str, Any] = {
        "checkpoint": str(job.start),
        "epochs": job.size.epochs,
        "batch_size": job.case.batch_size,
        "learning_rate": job.case.learning_rate,
        "weight_decay": job.case.weight_decay,
        "seed": job.case.seed,
        "schedule": "linear",
        "warmup": 0.0,
        "evaluate_every": _NEVER,
    }
    return TrainingConfig.model_validate({**shared, **job.options})


def train(job: Job, window: Window) -> dict[str, Any]:
    """Train, and score on what was held out by the path that answers in production."""
    task = task_of(job.rows)
    start = Predictor.load(job.start, "cpu").model
    before = first_loss(job, start.network, _processor(job, start))
    watched = _watched(job, start.processor, window)
    saving: list[float] = []
    if job.layer == "compute":
        PreparedSplit.batch = _first_batch(PreparedSplit.batch)  # type: ignore[method-assign]
    run.Engine = watched  # type: ignore[attr-defined]
    run.Checkpoints = _timed(saving)  # type: ignore[attr-defined]
    done = run.train(
        task,
        config_of(job),
        {"train": job.rows},
        job.work / "run",
        job.work / "cache",
        {},
        lambda event: None,
        checkpoint_seconds=0.0 if job.layer == "checkpoint" else _NEVER,
    )
    speed = done.throughput
    return {
        "precision": watched.precision,
        "first_loss": before,
        "end_loss": end_loss(watched.losses),
        "accuracy": _accuracy(job, done) if job.is_scored else None,
        "compile_seconds": 0.0 if speed is None else speed.compile_seconds or 0.0,
        "syncs_per_step": None if speed is None else speed.syncs_per_step,
        **watched.learning,
        **stalls(job, saving),
    }


def _timed(saving: list[float]) -> Any:
    class Timed(Checkpoints):
        """The checkpoints, and for how long the steps stand still for each."""

        def save(self, standing: Standing, lines: Path) -> None:
            began = time.perf_counter()
            super().save(standing, lines)
            saving.append(time.perf_counter() - began)

    return Timed


def _watched(job: Job, processor: Any, window: Window) -> Any:
    class Watched(Engine):
        """The engine, its steps counted."""

        precision = ""
        learning: ClassVar[dict[str, Any]] = {}
        losses: ClassVar[deque[torch.Tensor]] = deque(maxlen=LAST_STEPS)

        def steps(self) -> Generator[Step, None, None]:
            type(self).precision = {"no": "fp32"}.get(
                self.accelerator.mixed_precision, self.accelerator.mixed_precision
            )
            network = self.accelerator.unwrap_model(self.network)
            learning = Learning(job, network, processor, window)
            window.begin()
            for step in super().steps():
                yield step
                type(self).losses.append(step.loss)
                window.step(step.local_examples, step.tokens, step.padded_tokens, step.wait)
                learning.step()
            window.end()
            type(self).learning.update(learning.found())

    return Watched


def _first_batch(gather: Any) -> Any:
    made: dict[int, Any] = {}

    def batch(self: PreparedSplit, positions: Any) -> Any:
        if len(positions) not in made:
            found = gather(self, positions)
            cuda = torch.cuda.is_available()
            made[len(positions)] = found.map(lambda tensor: tensor.pin_memory()) if cuda else found
        return made[len(positions)]

    return batch


def drain(job: Job, window: Window) -> dict[str, Any]:
    """Read the prepared split alone, as the engine reads it."""
    task = task_of(job.rows)
    model = Predictor.load(job.start, "cpu").model
    split = PreparedSplit.prepare(task, model, job.rows, job.work.parent / "cache")
    window.begin()
    for epoch in range(2):
        places = split.epoch(job.case.batch_size, job.case.seed, epoch)
        gathers = (partial(split.batch, positions) for positions in places)
        for batch in prefetched(gathers, gather_threads(split.task.modality)):
            window.step(len(batch.keys), batch.tokens, batch.padded_tokens)
        if not epoch:
            window.warmed()
    window.end()
    return {"batch_dtype": str(next(iter(batch.inputs.values())).dtype).removeprefix("torch.")}


def _processor(job: Job, model: Any) -> Any:
    if job.is_text:
        return model.processor
    from transformers import AutoImageProcessor

    return AutoImageProcessor.from_pretrained(job.start, local_files_only=True)


def _accuracy(job: Job, done: run.Run) -> float | None:
    rows = job.splits.get("held-out")
    if rows is None:
        return None
    predictor = Predictor.load(done.model)
    contents = rows["text"][:] if job.is_text else [_bytes(path) for path in rows["path"][:]]
    answers = [prediction.target for prediction in predictor.predict(contents)]
    expected = [predictor.task.classes[label] for label in rows["label"][:]]
    return sum(a == b for a, b in zip(answers, expected, strict=True)) / len(rows)


def _bytes(path: str) -> bytes:
    return Path(path).read_bytes()
