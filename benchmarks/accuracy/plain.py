"""The reference: a short PyTorch loop, with none of what makes goldloop's engine fast.

Every example in one shuffled order per epoch, padded batches made anew from prepared rows in memory, AdamW,
cosine with warm-up, clipping. No packing, no compact vocabulary, no average of the weights, no caches.
"""

from __future__ import annotations

import math
from typing import Any

import datasets
import torch

from goldloop.inference import answer
from goldloop.tasks.base import Model, Task
from goldloop.training.config import TrainingConfig


def train(task: Task[Any], model: Model, config: TrainingConfig, rows: datasets.Dataset) -> None:
    """Train the network in place."""
    prepared = prepare(task, model, rows)
    generator = torch.Generator().manual_seed(config.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    varied = torch.Generator(device).manual_seed(config.seed)
    network = model.network.to(device)
    optimizer = torch.optim.AdamW(_groups(network, config.weight_decay), lr=float(config.learning_rate))
    per_epoch = -(-len(prepared) // config.batch_size)
    total = per_epoch * config.epochs
    for step in range(total):
        if step % per_epoch == 0:
            order = torch.randperm(len(prepared), generator=generator).tensor_split(per_epoch)
        for group in optimizer.param_groups:
            group["lr"] = float(config.learning_rate) * _share(step, total, config.warmup)
        network.train()
        batch = task.batch([prepared[place] for place in order[step % per_epoch].tolist()], model).to(device)
        if config.augment:
            batch = task.augment(batch, model, varied)
        batch = task.normalize(batch, model)
        loss = task.loss(network(**task.training_inputs(batch)), batch)
        optimizer.zero_grad()
        loss.backward()
        if config.max_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(network.parameters(), config.max_grad_norm)
        optimizer.step()


def score(task: Task[Any], model: Model, rows: datasets.Dataset, batch_size: int) -> dict[str, float]:
    """The task's figures on a split, in plain order."""
    prepared = prepare(task, model, rows)
    model.network.eval()
    device = next(model.network.parameters()).device
    found: list[Any] = []
    for start in range(0, len(prepared), batch_size):
        batch = task.batch(prepared[start : start + batch_size], model)
        found += [prediction.target for prediction in answer(task, model, batch, device)]
    return task.score(found, [task.from_row(row) for row in rows])


def prepare(task: Task[Any], model: Model, rows: datasets.Dataset) -> list[dict[str, Any]]:
    """Rows ready to be batched, in memory."""
    contents = [{**row, **({"image": row["image"]["bytes"]} if "image" in row else {})} for row in rows]
    return task.prepare(model, contents)


def _groups(network: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return [
        {"params": [each for each in trained if each.ndim >= 2], "weight_decay": weight_decay},
        {"params": [each for each in trained if each.ndim < 2], "weight_decay": 0.0},
    ]


def _share(step: int, total: int, warmup: float) -> float:
    rise = round(warmup * total)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(total - rise, 1)))
