"""Layers that stay as they are, for good or until it is their turn: from the head down, one after the other.

What is frozen has no gradient and no moments in the optimizer, and the running means of its norms stay as the
checkpoint has them. Which step freezes what follows from the step alone, so a run that goes on knows it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from goldloop.errors import TrainingError
from goldloop.tasks._layers import layers_of
from goldloop.training.config import Freeze, TrainingConfig
from goldloop.training.optimizers import layer_share


@dataclass(frozen=True, slots=True)
class LayerLearning:
    """How a layer learns; several where they learn alike.

    Attributes:
        layers: its name, or those of the first and the last.
        parameters: how many numbers of it learn.
        share: what its learning rate is of the run's.
        begins: epochs until it begins to learn; None: it never does.
    """

    layers: str
    parameters: int
    share: float
    begins: float | None


class Freezing:
    """Freezes layers of a network.

    Args:
        network: of which some parameters may not learn anyway; they stay so.
        freeze: what the recipe says.
        steps_per_epoch: in the training split.

    Attributes:
        levels: how many levels are frozen at the start, from the input on.
        frozen: how many are now.

    Raises:
        TrainingError: the network has not so many layers, or nothing would be left to learn.
    """

    def __init__(self, network: nn.Module, freeze: Freeze | None, steps_per_epoch: int) -> None:
        self.levels = self.frozen = 0
        self._every: int | None = None
        self._steps_per_epoch = steps_per_epoch
        if freeze is None:
            return
        layers = layers_of(network)
        self.levels = self.frozen = layers.head if freeze.layers == "all" else freeze.layers
        if self.levels > layers.head:
            raise TrainingError(
                "the network has not so many layers before its head",
                where="training.freeze.layers",
                found=self.levels,
                expected=f"at most {layers.head}: {layers.names[0]} to {layers.names[layers.head - 1]}"
                if layers.head
                else "none: its layers cannot be told apart",
            )
        if freeze.thaw_every is not None:
            self._every = max(1, round(freeze.thaw_every * steps_per_epoch))
        self._parameters: list[list[nn.Parameter]] = [[] for _ in layers.names]
        for name, parameter in network.named_parameters():
            if parameter.requires_grad:
                self._parameters[layers.levels[name]].append(parameter)
        if not any(self._parameters[self.levels :]):
            raise TrainingError(
                "nothing is left to learn",
                where="training.freeze.layers",
                found=freeze.layers,
                remedy="Freeze fewer layers",
            )
        self._norms = [
            (layers.levels[f"{name}.weight"], module)
            for name, module in network.named_modules()
            if isinstance(module, _NormBase) and f"{name}.weight" in layers.levels
        ]
        self._set(self.frozen)

    def frozen_at(self, done: int) -> int:
        """How many levels the step after so many is done without."""
        if not self.levels or self._every is None:
            return self.levels
        return max(self.levels - done // self._every, 0)

    def settle(self, done: int) -> bool:
        """Let learn what the step after so many is to train; returns whether that is another part now."""
        frozen = self.frozen_at(done)
        if frozen == self.frozen:
            return False
        self._set(frozen)
        return True

    def hold(self) -> None:
        """Keep the norms of frozen layers from moving, in a network that was put into training mode."""
        if self.frozen:
            for level, norm in self._norms:
                if level < self.frozen:
                    norm.eval()

    def begins(self, level: int) -> float | None:
        """Epochs until a level begins to learn; None: it never does."""
        if level >= self.levels:
            return 0.0
        return None if self._every is None else (self.levels - level) * self._every / self._steps_per_epoch

    def _set(self, frozen: int) -> None:
        self.frozen = frozen
        for level, parameters in enumerate(self._parameters):
            for parameter in parameters:
                parameter.requires_grad_(level >= frozen)


def how_layers_learn(
    network: nn.Module, config: TrainingConfig, freezing: Freezing, learning: Iterable[nn.Parameter]
) -> list[LayerLearning]:
    """How each layer of a network learns, from the input to the head; those that learn alike as one.

    Args:
        network: not wrapped for several processes.
        config: of the run.
        freezing: of its layers.
        learning: the parameters that learn some time.
    """
    layers, learns = layers_of(network), set(map(id, learning))
    counts = [0] * len(layers.names)
    for name, parameter in network.named_parameters():
        counts[layers.levels[name]] += parameter.numel() if id(parameter) in learns else 0
    found: list[LayerLearning] = []
    for level, (name, count) in enumerate(zip(layers.names, counts, strict=True)):
        begins = freezing.begins(level)
        one = LayerLearning(name, 0 if begins is None else count, layer_share(level, layers, config), begins)
        last = found[-1] if found else None
        if last is not None and (last.share, last.begins) == (one.share, one.begins):
            first = last.layers.partition(" to ")[0]
            parameters = last.parameters + one.parameters
            found[-1] = replace(last, layers=f"{first} to {name}", parameters=parameters)
        else:
            found.append(one)
    return found
