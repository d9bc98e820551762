"""The plain arm: a PyTorch loop as somebody writes it who knows what he does, and nothing else.

Texts are sorted by length within pools of fifty batches and padded to the longest, on a GPU to a multiple of
eight; images come from torchvision's `ImageFolder` through a `DataLoader` with workers.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from job import LAST_STEPS, SAVE_EVERY, Job, as_loaded, end_loss, first_loss, held_out_accuracy, stalls
from learning import Learning
from window import Window

_POOL = 50
_MULTIPLE = 8


class _Buckets(torch.utils.data.Sampler[list[int]]):
    """Batches of texts of like length, in random order."""

    def __init__(self, lengths: list[int], batch_size: int, seed: int) -> None:
        self._lengths = torch.tensor(lengths)
        self._batch_size = batch_size
        self._generator = torch.Generator().manual_seed(seed)

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.randperm(len(self._lengths), generator=self._generator)
        batches: list[torch.Tensor] = []
        for pool in order.split(self._batch_size * _POOL):
            batches += pool[self._lengths[pool].argsort(stable=True)].split(self._batch_size)
        for place in torch.randperm(len(batches), generator=self._generator).tolist():
            yield batches[place].tolist()

    def __len__(self) -> int:
        return -(-len(self._lengths) // self._batch_size)


def loader_of(job: Job, processor: Any) -> torch.utils.data.DataLoader[Any]:
    """Batches of an epoch; a new order each time."""
    workers = job.options.get("workers", 0 if job.is_text else min(8, os.cpu_count() or 1))
    kept: dict[str, Any] = {"num_workers": workers, "persistent_workers": workers > 0}
    pinned = job.device.type == "cuda"
    if job.is_text:
        found = processor(job.rows["text"][:], truncation=True)["input_ids"]
        rows = list(zip(found, job.rows["label"][:], strict=True))
        sampler = _Buckets([len(ids) for ids in found], job.case.batch_size, job.case.seed)
        collate = partial(_padded, padding=processor.pad_token_id)
        return torch.utils.data.DataLoader(
            rows,
            batch_sampler=sampler,
            collate_fn=collate,
            pin_memory=pinned,
            **kept,  # type: ignore[arg-type]
        )
    return torch.utils.data.DataLoader(
        image_folder(job, processor), batch_size=job.case.batch_size, shuffle=True, pin_memory=pinned, **kept
    )


def image_folder(job: Job, processor: Any) -> torch.utils.data.Subset[Any]:
    """The `ImageFolder` of torchvision over the rows' files."""
    from torchvision.datasets import ImageFolder

    paths = job.rows["path"][:]
    whole = ImageFolder(str(Path(paths[0]).parents[1]), transform=pixels_of(processor))
    places = {path: place for place, (path, _) in enumerate(whole.samples)}
    return torch.utils.data.Subset(whole, [places[path] for path in paths])


def pixels_of(processor: Any) -> Any:
    """An image as the network wants it, by torchvision: what every arm but goldloop's does to each image."""
    from torchvision.transforms import v2

    side = (processor.size["height"], processor.size["width"])
    return v2.Compose(
        [
            v2.ToImage(),
            v2.Resize(side, antialias=True),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(processor.image_mean, processor.image_std),
        ]
    )


def _padded(rows: list[tuple[list[int], int]], padding: int) -> dict[str, torch.Tensor]:
    multiple = _MULTIPLE if torch.cuda.is_available() else 1
    width = -(-max(len(ids) for ids, _ in rows) // multiple) * multiple
    ids = torch.full((len(rows), width), padding)
    mask = torch.zeros((len(rows), width), dtype=torch.int64)
    for number, (found, _) in enumerate(rows):
        ids[number, : len(found)] = torch.tensor(found)
        mask[number, : len(found)] = 1
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([label for _, label in rows])}


def _named(batch: Any) -> dict[str, torch.Tensor]:
    """A batch as keyword arguments of the network."""
    if isinstance(batch, dict):
        return batch
    pixels, labels = batch
    return {"pixel_values": pixels, "labels": labels}


def drain(job: Job, window: Window) -> dict[str, Any]:
    """Read the loader alone; the warm-up is its first epoch."""
    from transformers import AutoImageProcessor, AutoTokenizer

    processor: Any = AutoTokenizer if job.is_text else AutoImageProcessor
    loader = loader_of(job, processor.from_pretrained(job.start, local_files_only=True))
    return drained(loader, window, _named)


def drained(loader: Any, window: Window, named: Any = lambda batch: batch) -> dict[str, Any]:
    """Two epochs of a loader, of which the second counts."""
    window.begin()
    for epoch in range(2):
        for batch in loader:
            inputs = named(batch)
            count(window, inputs)
        if not epoch:
            window.warmed()
    window.end()
    dtype = str(next(value for name, value in inputs.items() if name != "labels").dtype).removeprefix(
        "torch."
    )
    return {"batch_dtype": dtype}


def count(window: Window, inputs: dict[str, torch.Tensor], wait: float = 0.0) -> None:
    """Tell the window of one batch; on a GPU its tokens are counted there and read at the end."""
    mask = inputs.get("attention_mask")
    tokens = 0 if mask is None else mask.sum()
    window.step(len(inputs["labels"]), tokens, 0 if mask is None else mask.numel(), wait)


def train(job: Job, window: Window) -> dict[str, Any]:
    """Train, and score on what was held out."""
    network, processor = as_loaded(job)
    before = first_loss(job, network, processor)
    torch.manual_seed(job.case.seed)
    device = job.device
    network.to(device)
    if job.options.get("channels_last"):
        network.to(memory_format=torch.channels_last)
    step_of = torch.compile(network) if job.options.get("compile") else network
    loader = loader_of(job, processor)
    optimizer = torch.optim.AdamW(
        _groups(network, job.case.weight_decay), lr=job.case.learning_rate, fused=True
    )
    total = len(loader) * job.size.epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: 1 - done / total)
    low = bool(job.options.get("bf16", device.type == "cuda"))
    batches = _batches(job, loader, device)
    network.train()
    learning, saving = Learning(job, network, processor, window), []
    losses: deque[torch.Tensor] = deque(maxlen=LAST_STEPS)
    window.begin()
    for step in range(1, total + 1):
        began = time.perf_counter()
        inputs = next(batches)
        wait = time.perf_counter() - began
        with torch.autocast(device.type, torch.bfloat16) if low else nullcontext():
            loss = step_of(**inputs).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
        count(window, inputs, wait)
        losses.append(loss.detach())
        learning.step()
        if job.layer == "checkpoint" and step % SAVE_EVERY == 0:
            began = time.perf_counter()
            state = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(state, job.work / "checkpoint.pt")
            saving.append(time.perf_counter() - began)
    window.end()
    return {
        "precision": "bf16" if low else "fp32",
        "first_loss": before,
        "end_loss": end_loss(losses),
        "accuracy": held_out_accuracy(job, network, processor) if job.is_scored else None,
        **learning.found(),
        **stalls(job, saving),
    }


def _batches(job: Job, loader: Any, device: torch.device) -> Iterator[dict[str, torch.Tensor]]:
    """Batches on the device without end; for the compute layer always the first one."""
    cached = None
    while True:
        for batch in loader:
            if cached is None or job.layer != "compute":
                named = _named(batch)
                cached = {name: value.to(device, non_blocking=True) for name, value in named.items()}
            yield cached


def _groups(network: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    parameters = list(network.parameters())
    return [
        {"params": [each for each in parameters if each.ndim >= 2], "weight_decay": weight_decay},
        {"params": [each for each in parameters if each.ndim < 2], "weight_decay": 0.0},
    ]
