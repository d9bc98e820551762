"""The Trainer's arms: as its documentation has one write it, and with its options set as well as they go.

The documentation's way: a tokenising `map` and `DataCollatorWithPadding`; for images `datasets` with
`with_transform` and torchvision's v2. Only what all arms share is set: batch size, epochs, learning rate,
decay, seed; and nothing is saved, but on the layer that measures it, or reported while it is timed.
"""

from __future__ import annotations

import os
import time
from collections import deque
from typing import Any

import torch
import transformers
from job import LAST_STEPS, SAVE_EVERY, Job, as_loaded, end_loss, first_loss, held_out_accuracy, stalls
from learning import Learning
from window import Window
from with_plain import count, drained, pixels_of

TUNED: dict[str, Any] = {
    "bf16": torch.cuda.is_available(),
    "torch_compile": torch.cuda.is_available(),
    "optim": "adamw_torch_fused",
    "logging_nan_inf_filter": False,
    "logging_strategy": "no",
    "disable_tqdm": True,
}
"""What is set in the tuned arm, before the options of the case."""

_SAVING: dict[str, Any] = {"save_strategy": "steps", "save_steps": SAVE_EVERY, "save_total_limit": 1}


class _Timed(transformers.Trainer):
    """The Trainer, its steps counted and its waits for data timed; nothing that it does is changed."""

    window: Window
    learning: Learning
    _wait = 0.0
    repeats_first_batch = False

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.saving: list[float] = []
        self.losses: deque[torch.Tensor] = deque(maxlen=LAST_STEPS)

    def _save_checkpoint(self, *arguments: Any, **named: Any) -> None:
        began = time.perf_counter()
        super()._save_checkpoint(*arguments, **named)
        self.saving.append(time.perf_counter() - began)

    def get_batch_samples(self, iterator: Any, *arguments: Any, **named: Any) -> Any:
        began = time.perf_counter()
        found = super().get_batch_samples(iterator, *arguments, **named)
        self._wait = time.perf_counter() - began
        return found

    def training_step(self, model: Any, inputs: Any, *arguments: Any, **named: Any) -> Any:
        self._inputs = inputs
        loss = super().training_step(model, inputs, *arguments, **named)
        self.losses.append(loss)
        return loss

    def get_train_dataloader(self) -> Any:
        loader = super().get_train_dataloader()
        return _Repeated(loader, self.args.device) if self.repeats_first_batch else loader


class _Repeated:
    """A loader that gives its first batch, which lies on the device, again and again."""

    def __init__(self, loader: Any, device: torch.device) -> None:
        self._batch = {name: value.to(device) for name, value in next(iter(loader)).items()}
        self._count = len(loader)
        self.dataset = loader.dataset
        self.batch_sampler = None

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Any:
        return iter([self._batch] * self._count)


class _Clock(transformers.TrainerCallback):
    def __init__(self, trainer: _Timed) -> None:
        self._trainer = trainer

    def on_train_begin(self, *arguments: Any, **named: Any) -> None:
        self._trainer.window.begin()

    def on_step_end(self, *arguments: Any, **named: Any) -> None:
        count(self._trainer.window, self._trainer._inputs, self._trainer._wait)
        self._trainer.learning.step()

    def on_train_end(self, *arguments: Any, **named: Any) -> None:
        self._trainer.window.end()


def trainer_of(job: Job, network: Any, processor: Any) -> _Timed:
    """A Trainer as the arm has it."""
    tuned = job.arm == "trainer-tuned"
    options = {**(_tuned(job) if tuned else {}), **job.options}
    arguments = transformers.TrainingArguments(
        output_dir=str(job.work),
        per_device_train_batch_size=job.case.batch_size,
        num_train_epochs=job.size.epochs,
        learning_rate=job.case.learning_rate,
        weight_decay=job.case.weight_decay,
        seed=job.case.seed,
        report_to="none",
        **(_SAVING if job.layer == "checkpoint" else {"save_strategy": "no"}),
        **({} if job.is_text else {"remove_unused_columns": False}),
        **options,
    )
    rows, collator = (_texts if job.is_text else _images)(job, processor, tuned)
    trainer = _Timed(
        model=network, args=arguments, train_dataset=rows, data_collator=collator, processing_class=processor
    )
    trainer.repeats_first_batch = job.layer == "compute"
    return trainer


def _tuned(job: Job) -> dict[str, Any]:
    workers = 0 if job.is_text and not torch.cuda.is_available() else min(8, os.cpu_count() or 1)
    kept = {"dataloader_persistent_workers": True} if workers else {}
    return {**TUNED, "dataloader_num_workers": workers, **kept}


def _texts(job: Job, processor: Any, tuned: bool) -> tuple[Any, Any]:
    rows = job.rows.map(
        lambda found: processor(found["text"], truncation=True), batched=True, remove_columns=["text", "key"]
    )
    # Tensor cores like multiples of eight; on a CPU they are only more padding.
    multiple = {"pad_to_multiple_of": 8} if tuned and torch.cuda.is_available() else {}
    return rows, transformers.DataCollatorWithPadding(processor, **multiple)


def _images(job: Job, processor: Any, tuned: bool) -> tuple[Any, Any]:
    transform = pixels_of(processor)

    def pixels(found: dict[str, list[Any]]) -> dict[str, Any]:
        images = [transform(image.convert("RGB")) for image in found["image"]]
        return {"pixel_values": images, "labels": found["label"]}

    return job.rows.with_transform(pixels), transformers.default_data_collator


def drain(job: Job, window: Window) -> dict[str, Any]:
    """Read the Trainer's own loader alone."""
    network, processor = as_loaded(job)
    return drained(trainer_of(job, network, processor).get_train_dataloader(), window)


def train(job: Job, window: Window) -> dict[str, Any]:
    """Train, and score on what was held out."""
    network, processor = as_loaded(job)
    before = first_loss(job, network, processor)
    trainer = trainer_of(job, network, processor)
    trainer.window = window
    trainer.learning = Learning(job, network, processor, window)
    trainer.add_callback(_Clock(trainer))
    trainer.train()
    return {
        "precision": "bf16" if trainer.args.bf16 else "fp32",
        "first_loss": before,
        "end_loss": end_loss(trainer.losses),
        "accuracy": held_out_accuracy(job, network, processor) if job.is_scored else None,
        **trainer.learning.found(),
        **stalls(job, trainer.saving),
    }
