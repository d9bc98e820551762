"""Optimizers by name, which parameters decay, and how fast each layer learns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from goldloop.errors import TrainingError
from goldloop.tasks._layers import Layers, layers_of
from goldloop.training.config import TrainingConfig

_MUON_MOMENTUM = 0.95
_SGD_MOMENTUM = 0.9


def make_optimizer(network: nn.Module, config: TrainingConfig, learning_rate: float) -> torch.optim.Optimizer:
    """An optimizer over what is to be trained.

    Weights decay; biases and the scales of norms (one dimension) do not. Each group has a `share`: what its
    learning rate is of the step's.

    Raises:
        TrainingError: the optimizer finds nothing that it could train in this network.
    """
    groups = _groups(network, config)
    given: dict[str, Any] = {"lr": learning_rate}
    if config.betas is not None:
        given["betas"] = config.betas
    make = torch.optim
    match config.optimizer:
        case "adamw":
            return make.AdamW(groups, fused=True, **given)
        case "adam":
            return make.Adam(groups, fused=True, **given)
        case "nadam":
            return make.NAdam(groups, decoupled_weight_decay=True, **given)
        case "radam":
            return make.RAdam(groups, decoupled_weight_decay=True, **given)
        case "adafactor":
            return make.Adafactor(groups, **given)
        case "sgd":
            momentum = _SGD_MOMENTUM if config.momentum is None else config.momentum
            return make.SGD(groups, momentum=momentum, fused=True, **given)
        case "muon":
            momentum = _MUON_MOMENTUM if config.momentum is None else config.momentum
            return MuonWithAdamW(groups, learning_rate, momentum)


def layer_share(level: int, layers: Layers, config: TrainingConfig) -> float:
    """What the learning rate of a level is of the step's."""
    below_head = layers.head - level
    return config.layer_decay**below_head * (1.0 if below_head else config.head_factor)


def _groups(network: nn.Module, config: TrainingConfig) -> list[dict[str, Any]]:
    """Parameters that are treated alike: the fastest first, of these those that decay."""
    layers = layers_of(network)
    matrices = _matrices(network, layers) if config.optimizer == "muon" else frozenset()
    groups: dict[tuple[float, bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            share = layer_share(layers.levels[name], layers, config)
            key = (share, parameter.ndim >= 2, name in matrices)
            groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": groups[share, decays, matrix],
            "weight_decay": config.weight_decay if decays else 0.0,
            "share": share,
            "matrices": matrix,
        }
        for share, decays, matrix in sorted(groups, reverse=True)
    ]


def _matrices(network: nn.Module, layers: Layers) -> frozenset[str]:
    """The weights of linear layers before the head that learn: what Muon is made for."""
    learns = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    found = frozenset(
        f"{name}.weight"
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | Conv1D)
        and f"{name}.weight" in learns
        and layers.levels[f"{name}.weight"] < layers.head
    )
    if not found:
        raise TrainingError(
            "Muon trains the matrices of linear layers, and this network has none before its head",
            where="training.optimizer",
            found="muon",
            remedy="Use `optimizer: adamw`, or `sgd`, which suits convolutions",
        )
    return found


class MuonWithAdamW(torch.optim.Optimizer):
    """Muon for the matrices of layers and AdamW for all else, as one optimizer that is saved and stepped.

    Muon's updates are scaled as AdamW's are, so that one learning rate fits both.

    Args:
        groups: parameters; `matrices` says which are Muon's.
        learning_rate: of all of them.
        momentum: of Muon.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], learning_rate: float, momentum: float) -> None:
        super().__init__(groups, {"lr": learning_rate})
        mine = self._apart()
        options: dict[str, Any] = {"momentum": momentum, "adjust_lr_fn": "match_rms_adamw"}
        muon = torch.optim.Muon(mine[True], lr=learning_rate, **options)
        self._parts: dict[bool, torch.optim.Optimizer] = {True: muon}
        if mine[False]:
            self._parts[False] = torch.optim.AdamW(mine[False], lr=learning_rate, fused=True)
        self.param_groups = [group for part in self._parts.values() for group in part.param_groups]
        self._share()

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Step both."""
        for part in self._parts.values():
            part.step()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._share()

    def _share(self) -> None:
        """Let both work on the groups and the state of this one."""
        mine = self._apart()
        for matrices, part in self._parts.items():
            part.param_groups, part.state = mine[matrices], self.state

    def _apart(self) -> dict[bool, list[dict[str, Any]]]:
        """Groups of Muon's, and the others."""
        return {
            matrices: [group for group in self.param_groups if group["matrices"] == matrices]
            for matrices in (True, False)
        }
