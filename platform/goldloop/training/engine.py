"""The training loop: a generator of steps. Logging, evaluating, saving and stopping belong to the caller.

One step is one effective batch of `batch_size` examples, whatever the number of processes and of parts that
it is split into: each part's mean loss is weighted by its share of the examples, so the gradient is that of
the whole batch. Nothing in a step waits for the device: losses stay on it until the caller reads them.
"""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy
import torch

from goldloop.errors import TrainingError
from goldloop.tasks.base import Batch, Model, Task
from goldloop.training.config import TrainingConfig
from goldloop.training.data import PreparedSplit

if TYPE_CHECKING:
    from accelerate import Accelerator

T = TypeVar("T")

_DEPTH = 2


@dataclass(frozen=True, slots=True)
class Step:
    """What one optimizer step did.

    Attributes:
        number: steps done so far, this one included.
        epoch: which epoch it belongs to, from 1.
        loss: a scalar on the device, not read yet: this process's share of the batch's mean loss; the
            shares of all processes add up to it.
        finite: a boolean scalar on the device: the loss, and the gradient where it was clipped, are numbers.
        keys: content keys of the whole effective batch, over all processes.
        learning_rate: what the step was taken with.
        examples: in the effective batch, over all processes.
        local_examples, tokens, padded_tokens: what this process worked on.
        wait: seconds that this process waited for its data.
    """

    number: int
    epoch: int
    loss: torch.Tensor
    finite: torch.Tensor
    keys: tuple[str, ...]
    learning_rate: float
    examples: int
    local_examples: int
    tokens: int
    padded_tokens: int
    wait: float


def make_accelerator(config: TrainingConfig) -> Accelerator:
    """Where and in which precision to compute; `accelerate launch` has its say by the environment.

    Raises:
        TrainingError: the machine cannot compute in this precision.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    precision: str = config.precision
    if precision == "auto":
        bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        precision = "bf16" if bf16 else "no"
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not torch.cuda.is_available():
        # Without it each of several processes on CPUs would train alone, and write over the others.
        os.environ.setdefault("ACCELERATE_USE_CPU", "true")
    # A second run in this process may want another precision than the first.
    AcceleratorState._reset_state()
    try:
        accelerator = Accelerator(mixed_precision=precision)
    except ValueError as error:
        raise _no_precision(precision, str(error)) from error
    # On a CPU Accelerate leaves fp16 out without a word.
    if precision == "fp16" and accelerator.scaler is None:
        raise _no_precision(precision, f"a {accelerator.device.type} has no fp16")
    return accelerator


def _no_precision(precision: str, reason: str) -> TrainingError:
    return TrainingError(
        f"the machine cannot compute in this precision: {reason}",
        where="training.precision",
        found=precision,
        remedy="Use `precision: auto`",
    )


class Engine:
    """Network, optimizer and position of one run.

    Args:
        task: gives batches their loss.
        model: what is trained, in place.
        config: how.
        data: the training split.
        accelerator: where.
    """

    def __init__(
        self,
        task: Task[Any],
        model: Model,
        config: TrainingConfig,
        data: PreparedSplit,
        accelerator: Accelerator,
    ) -> None:
        self.task = task
        self.model = model
        self.config = config
        self.data = data
        self.accelerator = accelerator
        self.done = 0
        self.steps_per_epoch = len(data.epoch(config.batch_size, config.seed, 0))
        self.total = self.steps_per_epoch * config.epochs
        self.network, self.optimizer = accelerator.prepare(model.network, make_optimizer(model, config))
        self.generator = torch.Generator(device=accelerator.device)
        self.generator.manual_seed(config.seed * 1_000 + accelerator.process_index)

    def steps(self) -> Generator[Step, None, None]:
        """The steps from where the run stands to its end.

        `done` is raised before a step is yielded: what is saved between two steps goes on with the next.
        Closing the generator ends its threads.
        """
        batches = prefetched(self._batches_ahead())
        try:
            while self.done < self.total:
                start = time.perf_counter()
                parts = next(batches)
                yield self._step(parts, time.perf_counter() - start)
        finally:
            batches.close()

    def _step(self, parts: list[_Part], wait: float) -> Step:
        rate = learning_rate_at(self.done, self.total, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        loss = self._backward(parts)
        finite = torch.isfinite(loss)
        if self.config.max_grad_norm is not None:
            norm = self.accelerator.clip_grad_norm_(self.network.parameters(), self.config.max_grad_norm)
            if norm is not None and self.accelerator.scaler is None:
                finite = finite & torch.isfinite(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        epoch = self.done // self.steps_per_epoch + 1
        self.done += 1
        return Step(
            number=self.done,
            epoch=epoch,
            loss=loss,
            finite=finite,
            keys=parts[0].step_keys,
            learning_rate=rate,
            examples=len(parts[0].step_keys),
            local_examples=sum(part.examples for part in parts),
            tokens=sum(part.batch.tokens for part in parts if part.examples),
            padded_tokens=sum(part.batch.padded_tokens for part in parts if part.examples),
            wait=wait,
        )

    def _backward(self, parts: list[_Part]) -> torch.Tensor:
        """Gradients of the effective batch's mean loss; returns this process's share of that loss."""
        device = self.accelerator.device
        processes = self.accelerator.num_processes
        total = torch.zeros((), device=device)
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            with nullcontext() if last else self.accelerator.no_sync(self.network):
                batch = part.batch.to(device)
                if self.config.augment:
                    batch = self.task.augment(batch, self.model, self.generator)
                batch = self.task.normalize(batch, self.model)
                outputs = self.network(**self.task.training_inputs(batch))
                loss = self.task.loss(outputs, batch, self.config.label_smoothing)
                share = loss * (part.examples / len(part.step_keys))
                # Gradients are averaged over processes; here they are to be added up.
                self.accelerator.backward(share * processes)
                total = total + share.detach()
        return total

    def _batches_ahead(self) -> Iterator[Callable[[], list[_Part]]]:
        """What is to be gathered for each step from the next one on."""
        first, skipped = divmod(self.done, self.steps_per_epoch)
        for epoch in range(first, self.config.epochs):
            for positions in self.data.epoch(self.config.batch_size, self.config.seed, epoch)[skipped:]:
                yield lambda positions=positions: self._gather(positions)  # type: ignore[misc]
            skipped = 0

    def _gather(self, positions: list[int]) -> list[_Part]:
        """The parts of one effective batch that this process works on."""
        processes, rank = self.accelerator.num_processes, self.accelerator.process_index
        keys = tuple(self.data.keys[position] for position in positions)
        slices = numpy.array_split(numpy.asarray(positions), self.config.gradient_accumulation * processes)
        parts = []
        for start in range(0, len(slices), processes):
            if not len(slices[start]):
                break
            own = slices[start + rank].tolist()
            # A process without an example still takes part in the exchange of gradients, with no weight.
            batch = self.data.batch(own or positions[:1])
            parts.append(_Part(_pinned(batch, self.accelerator.device), len(own), keys))
        return parts


@dataclass(frozen=True, slots=True)
class _Part:
    """What one forward pass works on; `examples` is 0 for a stand-in."""

    batch: Batch
    examples: int
    step_keys: tuple[str, ...]


def _pinned(batch: Batch, device: torch.device) -> Batch:
    if device.type != "cuda":
        return batch
    return batch.map(lambda tensor: tensor.pin_memory())


def prefetched(work: Iterable[Callable[[], T]]) -> Generator[T, None, None]:
    """Results of some work in order, the next two made in a thread while the caller uses one."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
    waiting: deque[Future[T]] = deque()
    try:
        for job in work:
            waiting.append(pool.submit(job))
            if len(waiting) > _DEPTH:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def make_optimizer(model: Model, config: TrainingConfig) -> torch.optim.Optimizer:
    """AdamW, fused; weights decay, biases and the scales of norms (one dimension) do not."""
    trained = [parameter for parameter in model.network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def learning_rate_at(done: int, total: int, config: TrainingConfig) -> float:
    """The learning rate of the step after `done` of `total`: a rise from 0, then the schedule."""
    warmup = round(config.warmup * total)
    if done < warmup:
        return config.learning_rate * (done + 1) / warmup
    share = (done - warmup) / max(total - warmup, 1)
    if config.schedule == "cosine":
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * share))
    if config.schedule == "linear":
        return config.learning_rate * (1 - share)
    return config.learning_rate
