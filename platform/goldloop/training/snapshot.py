"""The state of a run as tensors on the host that no step changes any more, and back again.

On a GPU the copies go to page-locked memory, in the order of the stream: the host does not wait for them, and
whoever reads them calls `arrived` first. A network that is spread over processes is gathered by all of them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy
import torch

if TYPE_CHECKING:
    from goldloop.training.engine import Engine

_SEPARATOR = "\n"


@dataclass(frozen=True, slots=True)
class RandomState:
    """The state of every generator of a process that training may draw from: tensors, and plain numbers."""

    tensors: dict[str, torch.Tensor]
    numbers: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run at one moment; without tensors in every process but the main one.

    Attributes:
        weights: of the network, by name.
        average: of these over the steps, by name; None where there is none.
        moments: and counters of the optimizer, by parameter and name.
        numbers: what else the optimizer keeps, by the same names.
        position: where the engine stands.
        random: the state of each process.
        scaler: of fp16 gradients; None where there is none.
        arrived: waits until the copies have come from the device.
    """

    weights: dict[str, torch.Tensor]
    average: dict[str, torch.Tensor] | None
    moments: dict[str, torch.Tensor]
    numbers: dict[str, Any]
    position: dict[str, int]
    random: list[RandomState]
    scaler: dict[str, Any] | None
    arrived: Callable[[], None]


def take_snapshot(engine: Engine) -> Snapshot:
    """Copy all that a run needs to go on; every process must call it at the same step."""
    scaler = engine.accelerator.scaler
    kept = _moments(engine)
    moments = {name: value for name, value in kept.items() if isinstance(value, torch.Tensor)}
    average = None
    if engine.average is not None:
        with engine.average.in_place():
            average = _copied(engine, _weights(engine))
    return Snapshot(
        weights=_copied(engine, _weights(engine)),
        average=average,
        moments=_copied(engine, moments),
        numbers={name: value for name, value in kept.items() if name not in moments},
        position=engine.position(),
        random=_random_states(engine),
        scaler=None if scaler is None else scaler.state_dict(),
        arrived=_arrival(engine.accelerator.device),
    )


def weights_on_host(engine: Engine) -> dict[str, torch.Tensor]:
    """A copy of the weights that are kept; every process must call it, the main one gets it."""
    with engine.scored_weights():
        weights = _copied(engine, _weights(engine))
    _arrival(engine.accelerator.device)()
    return weights


def set_weights(engine: Engine, weights: Mapping[str, torch.Tensor]) -> None:
    """Put a snapshot's weights into the network."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

    set_model_state_dict(engine.network, dict(weights), options=StateDictOptions(full_state_dict=True))


def set_average(engine: Engine, average: Mapping[str, torch.Tensor]) -> None:
    """Put a snapshot's average where it belongs; the network's weights are not themselves after that."""
    if engine.average is not None:
        set_weights(engine, average)
        engine.average.follow()


def set_moments(engine: Engine, moments: Mapping[str, Any]) -> None:
    """Put a snapshot's moments and numbers into the optimizer; all else comes from the configuration."""
    from torch.distributed.checkpoint.state_dict import (
        StateDictOptions,
        get_optimizer_state_dict,
        set_optimizer_state_dict,
    )

    if not moments:
        return
    optimizer = engine.optimizer.optimizer
    state: Any = get_optimizer_state_dict(engine.network, optimizer)
    names = [name for group in state["param_groups"] for name in group["params"]]
    state["state"] = {}
    for key, value in moments.items():
        parameter, name = key.split(_SEPARATOR)
        state["state"].setdefault(parameter, {})[name] = value
    kept = frozenset(state["state"])
    options = StateDictOptions(full_state_dict=True, strict=False)
    set_optimizer_state_dict(engine.network, optimizer, state, options=options)
    # torch has given some to those that have none, as no step has trained them yet.
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    for name, parameter in zip(names, parameters, strict=True):
        if name not in kept:
            optimizer.state.pop(parameter, None)


def set_random_state(engine: Engine, state: RandomState) -> None:
    """Put every generator of this process where it was."""
    tensors, numbers = state.tensors, state.numbers
    version, words, gauss = numbers["python"]
    random.setstate((version, tuple(words), gauss))
    kind, *rest = numbers["numpy"]
    numpy.random.set_state((kind, tensors["numpy"].numpy().astype(numpy.uint32), *rest))
    torch.set_rng_state(tensors["torch"])
    engine.generator.set_state(tensors["augmentation"])
    if "cuda" in tensors and engine.accelerator.device.type == "cuda":
        torch.cuda.set_rng_state(tensors["cuda"], engine.accelerator.device)


@contextmanager
def undisturbed(engine: Engine) -> Iterator[None]:
    """What is computed within leaves random numbers and the network's buffers (running means) as they are."""
    state = _random_state(engine)
    before = [(buffer, buffer.clone()) for buffer in engine.network.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in before:
                buffer.copy_(value)
        set_random_state(engine, state)


def _weights(engine: Engine) -> dict[str, torch.Tensor]:
    from torch.distributed.checkpoint.state_dict import get_model_state_dict

    state: Any = get_model_state_dict(engine.network, options=_whole(engine))
    return dict(state)


def _moments(engine: Engine) -> dict[str, Any]:
    from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict

    optimizer = engine.optimizer.optimizer
    state: Any = get_optimizer_state_dict(engine.network, optimizer, options=_whole(engine))
    return {
        f"{parameter}{_SEPARATOR}{name}": value
        for parameter, values in state.get("state", {}).items()
        for name, value in values.items()
    }


def _whole(engine: Engine) -> Any:
    """Not in shards; what is in shards is gathered in the main process's memory alone."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions
    from torch.distributed.tensor import DTensor

    in_shards = any(isinstance(parameter, DTensor) for parameter in engine.network.parameters())
    return StateDictOptions(full_state_dict=True, cpu_offload=in_shards)


def _copied(engine: Engine, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copies on the host, each with memory of its own, tied weights too; in the main process alone."""
    if not engine.accelerator.is_main_process:
        return {}
    copies = {}
    for name, tensor in tensors.items():
        copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
        copies[name] = copy.copy_(tensor.detach(), non_blocking=tensor.is_cuda)
    return copies


def _arrival(device: torch.device) -> Callable[[], None]:
    """Waits until the device has done what it was given up to now."""
    if device.type != "cuda":
        return lambda: None
    cuda: Any = torch.cuda
    event = cuda.Event()
    event.record()
    waits: Callable[[], None] = event.synchronize
    return waits


def _random_states(engine: Engine) -> list[RandomState]:
    """Of every process, in their order."""
    own = _random_state(engine)
    if engine.accelerator.num_processes == 1:
        return [own]
    from accelerate.utils import gather_object

    found: list[RandomState] = gather_object([own])
    return found


def _random_state(engine: Engine) -> RandomState:
    kind, words, *rest = numpy.random.get_state()
    tensors = {
        "torch": torch.get_rng_state(),
        "augmentation": engine.generator.get_state().cpu().clone(),
        "numpy": torch.from_numpy(numpy.asarray(words).astype(numpy.int64)),
    }
    if engine.accelerator.device.type == "cuda":
        tensors["cuda"] = torch.cuda.get_rng_state(engine.accelerator.device)
    return RandomState(tensors, {"python": random.getstate(), "numpy": [kind, *rest]})
