"""The training loop: a generator of steps. Logging, evaluating, saving and stopping belong to the caller.

One step is one effective batch of `batch_size` examples, whatever the number of processes and of parts that
it is split into: each part's mean loss is weighted by its share of what the loss is a mean over (examples,
or tokens), so the gradient is that of the whole batch. Nothing in a step waits for the device: losses stay
on it until the caller reads them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy
import torch
from torch.nn.parallel import DistributedDataParallel

from goldloop.tasks._augmentation import AugmentationOptions
from goldloop.tasks.base import Batch, LossOptions, Model, Task
from goldloop.training.averaging import Average
from goldloop.training.compiling import Compilation
from goldloop.training.config import FALLBACK, TrainingConfig
from goldloop.training.data import PreparedSplit
from goldloop.training.freezing import Freezing, LayerLearning, how_layers_learn
from goldloop.training.memory import Load, Room, load_of, recompute
from goldloop.training.optimizers import make_optimizer
from goldloop.training.prefetch import gather_threads, prefetched
from goldloop.training.profiler import Mark, unmarked
from goldloop.training.schedules import learning_rate_share
from goldloop.training.syncs import Syncs, counted
from goldloop.training.vocabulary import Vocabulary, compacted

if TYPE_CHECKING:
    from accelerate import Accelerator

_WATCHED = 2
"""The step of a session, from 0, whose waits for the device are counted: nothing is set up in it any more."""

_UNCOUNTED: AbstractContextManager[None] = nullcontext()


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
        self.loss_options = LossOptions(config.label_smoothing, class_weights, config.focal_gamma)
        self.augmentation = augmentation_options(config)
        data.pinned = accelerator.device.type == "cuda"
        self._terms = None if data.tokens is None else task.loss_terms(model, data.tokens)
        self.done = 0
        self.steps_per_epoch = len(data.epoch(config.batch_size, config.seed, 0))
        self.total = self.steps_per_epoch * config.epochs
        self.learning_rate = FALLBACK if config.learning_rate == "auto" else config.learning_rate
        self.mark: Mark = unmarked
        self._channels_last = convolves(model.network)
        if self._channels_last:
            model.network.to(memory_format=torch.channels_last)
        if config.gradient_checkpointing:
            recompute(model.network)
        self.vocabulary = self._compacted()
        optimizer = make_optimizer(model.network, config, self.learning_rate)
        self.freezing = Freezing(model.network, config.freeze, self.steps_per_epoch)
        self.network, self.optimizer = accelerator.prepare(model.network, optimizer)
        self.average = None
        if config.ema is not None:
            self.average = Average(self._learning(), self.network.buffers(), config.ema)
        self.forward: Callable[..., Any] = self.network
        self.compilation = Compilation(self)
        self.syncs: Syncs | None = None
        self.generator = torch.Generator(device=accelerator.device)
        self.generator.manual_seed(config.seed * 1_000 + accelerator.process_index)
        self.room = Room(config, accelerator, self.network, self.generator)

    @property
    def accumulation(self) -> int:
        """In how many parts each batch is worked on."""
        return self.room.parts

    @property
    def parts(self) -> int:
        """In how many parts each batch is worked on, over all processes."""
        processes: int = self.accelerator.num_processes
        return self.room.parts * processes

    def position(self) -> dict[str, int]:
        """Where the engine stands beside its tensors: what `resume` takes."""
        parts, proven = self.room.parts, self.room.proven
        return {"done": self.done, "parts": parts, "proven": proven, "threads": torch.get_num_threads()}

    def resume(self, position: Mapping[str, int]) -> None:
        """Stand where an engine like this one stood; the caller sets weights and moments after this."""
        self.done = position["done"]
        self.room.parts, self.room.proven = position["parts"], position["proven"]
        # Among how many threads a sum is shared out decides how it is rounded.
        torch.set_num_threads(position["threads"])
        # What begins to learn with the next step has no moments yet.
        if self.freezing.settle(max(self.done - 1, 0)):
            self._learn_more()

    def how_layers_learn(self) -> list[LayerLearning]:
        """How fast each layer learns, and from when on."""
        network = self.accelerator.unwrap_model(self.network)
        return how_layers_learn(network, self.config, self.freezing, self._learning())

    def _learning(self) -> list[torch.nn.Parameter]:
        """What learns, now or later."""
        return [each for group in self.optimizer.param_groups for each in group["params"]]

    def _compacted(self) -> Vocabulary | None:
        """The embeddings of which some rows learn; None where all do, or must do."""
        whole = self.config.ema is not None or self.config.freeze is not None
        if whole or getattr(self.accelerator.state, "fsdp_plugin", None) is not None:
            return None
        self.model.network.to(self.accelerator.device)
        return compacted(self.model, self.data)

    def scored_weights(self) -> AbstractContextManager[None]:
        """Within it, the network has the weights that are scored and kept."""
        return nullcontext() if self.average is None else self.average.in_place()

    def steps(self) -> Generator[Step, None, None]:
        """The steps from where the run stands to its end.

        `done` is raised before a step is yielded: what is saved between two steps goes on with the next.
        Closing the generator ends its threads.
        """
        yield from self.taken(self._scheduled, self.total)

    def taken(
        self, rate_at: Callable[[int], float], end: int, first_epoch: int = 0
    ) -> Generator[Step, None, None]:
        """Steps from where the engine stands up to one, with a learning rate for each.

        Args:
            rate_at: the learning rate of the step after so many.
            end: how many are done then.
            first_epoch: whose order of the items the first epoch takes.
        """
        batches = self._prefetched(end, first_epoch)
        watched = self.done + _WATCHED
        try:
            while self.done < end:
                start = time.perf_counter()
                with self.mark("wait"):
                    parts = next(batches)
                wait = time.perf_counter() - start
                with self._counted() if self.done == watched else _UNCOUNTED:
                    step = self._step(parts, rate_at(self.done), wait)
                if step is not None:
                    yield step
                    continue
                # What was gathered ahead was cut into fewer parts.
                batches.close()
                batches = self._prefetched(end, first_epoch)
        finally:
            batches.close()

    def _scheduled(self, done: int) -> float:
        return self.learning_rate * learning_rate_share(done, self.total, self.config)

    def _counted(self) -> AbstractContextManager[None]:
        device = self.accelerator.device
        if device.type == "cpu" and self.compilation.scope is not None:
            # To look at single operations would be to do without what was compiled of them.
            return _UNCOUNTED
        self.syncs = Syncs()
        return counted(self.syncs, device)

    def _step(self, parts: list[_Part], rate: float, wait: float) -> Step | None:
        """One step; None if it did not fit into memory, and nothing has happened."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        if self.freezing.settle(self.done):
            self._learn_more()
        self.network.train()
        self.freezing.hold()
        loss = self.room.take(partial(self._backward, parts), parts[0].load, self.network)
        if loss is None:
            return None
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
        if self.average is not None:
            self.average.update(self.done)
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

    def _backward(self, parts: list[_Part], alone: bool) -> torch.Tensor:
        """Gradients of the effective batch's mean loss; returns this process's share of that loss.

        Args:
            parts: of the batch.
            alone: leave the gradients of all processes to be averaged by the caller.
        """
        device = self.accelerator.device
        network = self.accelerator.unwrap_model(self.network) if alone else self.network
        processes = self.accelerator.num_processes
        total = torch.zeros((), device=device)
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            with nullcontext() if last or alone else self.accelerator.no_sync(network):
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
                    forward = network if alone else self.forward
                    outputs = forward(**self.task.training_inputs(batch))
                with self.mark("loss"):
                    loss = self.task.loss(outputs, batch, self.loss_options)
                share = loss * part.share
                # Gradients are averaged over processes; here they are to be added up.
                with self.mark("backward"):
                    self.accelerator.backward(share * processes)
                total = total + share.detach()
        return total

    def _learn_more(self) -> None:
        """Have the gradients of what learns from now on averaged over the processes too."""
        wrapped = self.network
        if isinstance(wrapped, DistributedDataParallel):
            self.network = DistributedDataParallel(
                wrapped.module, device_ids=wrapped.device_ids, output_device=wrapped.output_device
            )
            self.forward = self.network

    def rehearse(self, positions: list[int]) -> None:
        """Pass these examples forward and back as a part of a step, without any weight."""
        self.network.train()
        load = load_of(self.data.tokens, [numpy.asarray(positions)], packed=self.model.packed)
        part = _Part(self.data.batch(positions), len(positions), 0.0, (), load)
        self._backward([part], alone=False)

    def _prefetched(self, end: int, first_epoch: int) -> Generator[list[_Part], None, None]:
        """The parts of the batches from the next step on."""
        return prefetched(self._ahead(end, first_epoch), gather_threads(self.task.modality))

    def _ahead(self, end: int, first_epoch: int) -> Iterator[Callable[[], list[_Part]]]:
        """What is to be gathered for each step from the next one on."""
        epoch: int | None = None
        for done in range(self.done, end):
            passed, place = divmod(done, self.steps_per_epoch)
            if passed != epoch:
                epoch = passed
                batches = self.data.epoch(self.config.batch_size, self.config.seed, first_epoch + epoch)
            yield partial(self._gather, batches[place])

    def _gather(self, positions: list[int]) -> list[_Part]:
        """The parts of one effective batch that this process works on."""
        processes, rank = self.accelerator.num_processes, self.accelerator.process_index
        keys = tuple(self.data.keys[position] for position in positions)
        whole = self._weight(positions)
        slices = numpy.array_split(numpy.asarray(positions), self.parts)
        load = load_of(self.data.tokens, slices, packed=self.model.packed)
        parts = []
        for start in range(0, len(slices), processes):
            if not len(slices[start]):
                break
            own = slices[start + rank].tolist()
            # A process without an example still takes part in the exchange of gradients, with no weight.
            with self.mark("gather"):
                batch = _pinned(self.data.batch(own or positions[:1]), self.accelerator.device)
            share = self._weight(own) / whole if whole else 0.0
            parts.append(_Part(batch, len(own), share, keys, load))
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
    load: Load


def _pinned(batch: Batch, device: torch.device) -> Batch:
    if device.type != "cuda":
        return batch
    return batch.map(lambda tensor: tensor.pin_memory())
