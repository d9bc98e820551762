"""The training loop: a generator of steps. Logging, evaluating, saving and stopping belong to the caller.

One step is one effective batch of `batch_size` examples, whatever the number of processes and of parts that
it is split into: each part's mean loss is weighted by its share of what the loss is a mean over (examples,
or tokens), so the gradient is that of the whole batch. Nothing in a step waits for the device: losses stay
on it until the caller reads them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy
import torch

from goldloop.errors import TrainingError
from goldloop.tasks._augmentation import AugmentationOptions
from goldloop.tasks.base import Batch, LossOptions, Model, Task
from goldloop.training.config import TrainingConfig
from goldloop.training.data import PreparedSplit
from goldloop.training.optimizers import make_optimizer
from goldloop.training.prefetch import gather_threads, prefetched
from goldloop.training.profiler import Mark, unmarked
from goldloop.training.schedules import learning_rate_share
from goldloop.training.syncs import Syncs, counted

if TYPE_CHECKING:
    from accelerate import Accelerator

_WATCHED = 2
"""The step of a session, from 0, whose waits for the device are counted: nothing is set up in it any more."""


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
        precision = "bf16" if _multiplies_bf16() else "no"
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


def _multiplies_bf16() -> bool:
    """Whether the device has instructions for products in bf16, and does not imitate them."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    found: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16") or found.get("bf16"))


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
        class_weights: how much each class counts in the loss, by id; None: all alike.
    """

    def __init__(
        self,
        task: Task[Any],
        model: Model,
        config: TrainingConfig,
        data: PreparedSplit,
        accelerator: Accelerator,
        class_weights: tuple[float, ...] | None = None,
    ) -> None:
        self.task = task
        self.model = model
        self.config = config
        self.data = data
        self.accelerator = accelerator
        self.accumulation = config.gradient_accumulation
        self.loss_options = LossOptions(config.label_smoothing, class_weights, config.focal_gamma)
        self.augmentation = augmentation_options(config)
        data.pinned = accelerator.device.type == "cuda"
        self._terms = None if data.tokens is None else task.loss_terms(model, data.tokens)
        self.done = 0
        self.steps_per_epoch = len(data.epoch(config.batch_size, config.seed, 0))
        self.total = self.steps_per_epoch * config.epochs
        self.learning_rate = config.learning_rate
        self.mark: Mark = unmarked
        self._channels_last = convolves(model.network)
        if self._channels_last:
            model.network.to(memory_format=torch.channels_last)
        optimizer = make_optimizer(model.network, config, self.learning_rate)
        self.network, self.optimizer = accelerator.prepare(model.network, optimizer)
        self.syncs: Syncs | None = None
        self.generator = torch.Generator(device=accelerator.device)
        self.generator.manual_seed(config.seed * 1_000 + accelerator.process_index)

    def steps(self) -> Generator[Step, None, None]:
        """The steps from where the run stands to its end.

        `done` is raised before a step is yielded: what is saved between two steps goes on with the next.
        Closing the generator ends its threads.
        """
        batches = prefetched(self._batches_ahead(), gather_threads(self.task.modality))
        watched = self.done + _WATCHED
        try:
            while self.done < self.total:
                start = time.perf_counter()
                with self.mark("wait"):
                    parts = next(batches)
                wait = time.perf_counter() - start
                with self._counted() if self.done == watched else nullcontext():
                    step = self._step(parts, wait)
                yield step
        finally:
            batches.close()

    def _counted(self) -> AbstractContextManager[None]:
        self.syncs = Syncs()
        return counted(self.syncs, self.accelerator.device)

    def _step(self, parts: list[_Part], wait: float) -> Step:
        rate = self.learning_rate * learning_rate_share(self.done, self.total, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        self.network.train()
        loss = self._backward(parts)
        finite = torch.isfinite(loss)
        if self.config.max_grad_norm is not None:
            with self.mark("clip"):
                norm = self.accelerator.clip_grad_norm_(self.network.parameters(), self.config.max_grad_norm)
            if norm is not None and self.accelerator.scaler is None:
                finite = finite & torch.isfinite(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
        with self.mark("optimizer"):
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
                with self.mark("copy"):
                    batch = part.batch.to(device)
                if self.config.augment:
                    with self.mark("augment"):
                        batch = self.task.augment(batch, self.model, self.generator, self.augmentation)
                with self.mark("normalize"):
                    batch = self.task.normalize(batch, self.model)
                    if self._channels_last:
                        batch = batch.map(_channels_last)
                with self.mark("forward"):
                    outputs = self.network(**self.task.training_inputs(batch))
                with self.mark("loss"):
                    loss = self.task.loss(outputs, batch, self.loss_options)
                share = loss * part.share
                # Gradients are averaged over processes; here they are to be added up.
                with self.mark("backward"):
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
        whole = self._weight(positions)
        slices = numpy.array_split(numpy.asarray(positions), self.accumulation * processes)
        parts = []
        for start in range(0, len(slices), processes):
            if not len(slices[start]):
                break
            own = slices[start + rank].tolist()
            # A process without an example still takes part in the exchange of gradients, with no weight.
            with self.mark("gather"):
                batch = _pinned(self.data.batch(own or positions[:1]), self.accelerator.device)
            share = self._weight(own) / whole if whole else 0.0
            parts.append(_Part(batch, len(own), share, keys))
        return parts

    def _weight(self, positions: Sequence[int]) -> float:
        """What these examples count in the mean loss of a batch."""
        return float(len(positions) if self._terms is None else self._terms[list(positions)].sum())


def augmentation_options(config: TrainingConfig) -> AugmentationOptions | None:
    """What the recipe says of how images are varied; None where the task decides."""
    if isinstance(config.augment, bool):
        return None
    return AugmentationOptions(**config.augment.model_dump())


def convolves(network: torch.nn.Module) -> bool:
    """Whether a network is made of convolutions, which are faster with each pixel's channels together.

    The single one with which a vision transformer cuts an image into patches does not count. Keypoint R-CNN
    views its heat maps as rows, which it cannot where channels lie together.
    """
    if any(type(module).__name__ == "KeypointRCNN" for module in network.modules()):
        return False
    return any(
        isinstance(module, torch.nn.Conv2d) and module.kernel_size[0] > module.stride[0]
        for module in network.modules()
    )


def _channels_last(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


@dataclass(frozen=True, slots=True)
class _Part:
    """What one forward pass works on; `examples` is 0 for a stand-in, `share` is of the batch's mean loss."""

    batch: Batch
    examples: int
    share: float
    step_keys: tuple[str, ...]


def _pinned(batch: Batch, device: torch.device) -> Batch:
    if device.type != "cuda":
        return batch
    return batch.map(lambda tensor: tensor.pin_memory())
