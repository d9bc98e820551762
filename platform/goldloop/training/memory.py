"""What lets a step fit into memory: parts of the forward pass computed twice, batches worked on in parts.

Nobody can tell beforehand what a step takes, so it is tried: where memory does not suffice, the step is
undone, each batch is worked on in twice as many parts from then on, and the step is taken again. Where
processes share a batch, each must learn that another has failed before it waits for its gradients: a step
that is larger than any that has fitted is done by each for itself, and averaged over them once they agree.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from goldloop.errors import OutOfMemory, TrainingError
from goldloop.training.config import TrainingConfig

if TYPE_CHECKING:
    from accelerate import Accelerator

_BUCKET = 2**23
"""Numbers that are sent at once."""


def recompute(network: Any) -> None:
    """Let a network keep less of its forward pass, and compute that again in the backward pass.

    Args:
        network: of transformers, with adapters or without.

    Raises:
        TrainingError: it cannot.
    """
    inner = getattr(network, "adapted", network)
    if not getattr(inner, "supports_gradient_checkpointing", False):
        raise TrainingError(
            "the network cannot compute parts of its forward pass twice",
            where="training.gradient_checkpointing",
            found=inner.config.model_type,
            remedy="Leave it out; `gradient_accumulation: auto` makes any batch fit",
        )
    if not inner.can_generate():
        # Only writing needs what is kept so, and transformers says on the terminal that it is left out.
        inner.config.use_cache = False
    if hasattr(inner, "activation_checkpointing_enable"):
        inner.activation_checkpointing_enable({"use_reentrant": False})
    else:
        inner.gradient_checkpointing_enable({"use_reentrant": False})


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocator had not what it was asked for."""
    from accelerate.utils.memory import should_reduce_batch_size

    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and bool(should_reduce_batch_size(error))
    )


@dataclass(frozen=True, slots=True)
class Load:
    """What a step holds at once, in each process.

    Attributes:
        examples: of its largest part.
        size: tokens, where these are texts, with padding; else examples.
    """

    examples: int
    size: int


def load_of(lengths: NDArray[Any] | None, slices: Sequence[NDArray[Any]], *, packed: bool = False) -> Load:
    """What the largest of a batch's slices holds.

    Args:
        lengths: tokens of every text of the split; None for images.
        slices: positions of what each process works on in each part.
        packed: whether texts stand one behind the other, without padding.
    """
    examples = max(map(len, slices))
    if lengths is None:
        return Load(examples, examples)
    sizes = [
        lengths[each].sum() if packed else len(each) * lengths[each].max() for each in slices if len(each)
    ]
    return Load(examples, int(max(sizes)))


class Room:
    """In how many parts each batch is worked on: as few as memory has room for.

    Args:
        config: a number of parts, or `auto`.
        accelerator: where the network is trained.
        network: as it is trained.
        generator: that a step draws from beside torch's own.

    Attributes:
        parts: in how many now.
        proven: the greatest `Load.size` that has fitted into the memory of every process with so many.
    """

    def __init__(
        self,
        config: TrainingConfig,
        accelerator: Accelerator,
        network: nn.Module,
        generator: torch.Generator,
    ) -> None:
        from accelerate.utils import DistributedType

        self._processes = accelerator.num_processes
        self._device = accelerator.device
        self._generator = generator
        self._most = -(-config.batch_size // self._processes)
        # What is spread over processes in shards computes nothing without the others.
        in_shards = accelerator.distributed_type == DistributedType.FSDP
        self._searches = config.gradient_accumulation == "auto" and not in_shards
        self._hosts = _group_of_hosts() if self._searches and self._processes > 1 else None
        self._running = [
            buffer
            for module in network.modules()
            if isinstance(module, _NormBase)
            for buffer in module.buffers(recurse=False)
        ]
        self.parts = 1 if config.gradient_accumulation == "auto" else config.gradient_accumulation
        self.proven = 0

    def take(
        self, work: Callable[[bool], torch.Tensor], load: Load, network: nn.Module
    ) -> torch.Tensor | None:
        """Compute a step's gradients; None if that did not fit: all is as before, with more parts.

        Args:
            work: computes them and gives the loss; if told to, without a word to other processes.
            load: what it holds at once.
            network: whose gradients they are.

        Raises:
            OutOfMemory: a single example is too much, or the number of parts is the recipe's.
        """
        if not self._searches:
            return self._given(work, load)
        alone = self._processes > 1 and load.size > self.proven
        before = self._state()
        loss: torch.Tensor | None = None
        try:
            loss = work(alone)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if self._processes > 1 and not alone:
                raise _full(
                    load, "The others wait: run again, with a higher `gradient_accumulation`"
                ) from error
        # Not in the handler, where the error still holds all that was computed.
        if alone and self._any(loss is None):
            loss = None
        if loss is None:
            self._make_room(load, network, before)
            return None
        if alone:
            _average(network, self._processes)
        self.proven = max(self.proven, load.size)
        return loss

    def _given(self, work: Callable[[bool], torch.Tensor], load: Load) -> torch.Tensor:
        try:
            return work(False)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise _full(load, "Set `gradient_accumulation: auto`, or a higher one") from error

    def _make_room(self, load: Load, network: nn.Module, before: _State) -> None:
        network.zero_grad(set_to_none=True)
        self._restore(before)
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        if self.parts >= self._most:
            remedy = "Set `gradient_checkpointing: true`, `lora` or `freeze`, or train on smaller inputs"
            raise _full(load, remedy)
        self.parts = min(2 * self.parts, self._most)
        self.proven = 0

    def _state(self) -> _State:
        """What a step changes before its end: random numbers that it draws, and running means."""
        random = [torch.get_rng_state(), self._generator.get_state()]
        if self._device.type == "cuda":
            random.append(torch.cuda.get_rng_state(self._device))
        return random, [buffer.clone() for buffer in self._running]

    def _restore(self, state: _State) -> None:
        random, running = state
        torch.set_rng_state(random[0])
        self._generator.set_state(random[1])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(random[2], self._device)
        for buffer, value in zip(self._running, running, strict=True):
            buffer.copy_(value)

    def _any(self, failed: bool) -> bool:
        """Whether any process has failed; the hosts wait for each other, not for their devices."""
        from torch.distributed import ReduceOp, all_reduce

        found = torch.tensor([float(failed)])
        all_reduce(found, ReduceOp.MAX, group=self._hosts)
        return bool(found.item())


_State = tuple[list[torch.Tensor], list[torch.Tensor]]


def _group_of_hosts() -> Any:
    """Processes that talk without their devices."""
    from torch.distributed import get_backend, group, new_group

    return group.WORLD if get_backend() == "gloo" else new_group(backend="gloo")


def _average(network: nn.Module, processes: int) -> None:
    """Give each process the mean of all processes' gradients."""
    from torch.distributed import all_reduce

    bucket: list[torch.Tensor] = []

    def send() -> None:
        if not bucket:
            return
        flat = torch.cat([gradient.flatten() for gradient in bucket]) / processes
        all_reduce(flat)
        pieces = torch.split(flat, [gradient.numel() for gradient in bucket])
        for gradient, piece in zip(bucket, pieces, strict=True):
            gradient.copy_(piece.view_as(gradient))
        bucket.clear()

    for parameter in network.parameters():
        if parameter.grad is not None:
            bucket.append(parameter.grad)
            if sum(gradient.numel() for gradient in bucket) >= _BUCKET:
                send()
    send()


def _full(load: Load, remedy: str) -> OutOfMemory:
    return OutOfMemory(
        "the device has not enough memory for a step",
        where="training.gradient_accumulation",
        found=f"{load.examples} example{'s' * (load.examples != 1)} at once",
        remedy=remedy,
    )
