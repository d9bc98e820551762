"""LoRA: small trained matrices beside frozen ones; what is saved is an ordinary checkpoint, both added up.

A head that is new to the task learns as a whole: matrices beside what was drawn at random would not do.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from transformers.pytorch_utils import Conv1D

from goldloop.errors import ModelError
from goldloop.tasks._layers import layers_of

_NAME = "default"
_PREFIX = "adapted."
_FIELDS = {"rank": 16, "alpha": 32, "dropout": 0.0, "targets": "all-linear"}


class LoraNetwork(torch.nn.Module):
    """A network of transformers whose own weights are frozen, with adapters that are trained.

    Args:
        network: what adapters are put into, in place.
        settings: `rank`, `alpha`, `dropout` and `targets`, as in the recipe.
        head: whether what comes after the last layer learns as a whole, and has no adapters.

    Raises:
        ModelError: an unknown setting, or targets that the network does not have.
    """

    def __init__(self, network: torch.nn.Module, settings: Mapping[str, Any], *, head: bool = False) -> None:
        super().__init__()
        unknown = sorted(set(settings) - set(_FIELDS))
        if unknown:
            raise ModelError("LoRA has no such setting", where="training.lora", found=", ".join(unknown))
        chosen = {**_FIELDS, **settings}
        trained = _head(network) if head else []
        config = LoraConfig(
            r=chosen["rank"],
            lora_alpha=chosen["alpha"],
            lora_dropout=chosen["dropout"],
            target_modules=_before_head(network, chosen["targets"]) if head else chosen["targets"],
            fan_in_fan_out=any(isinstance(layer, Conv1D) for layer in network.modules()),
        )
        try:
            with warnings.catch_warnings(), _untied(network, head):
                # A network may have both ways of keeping a weight; each layer gets its own right.
                warnings.filterwarnings("ignore", message="fan_in_fan_out")
                # The last layer with its adapter is saved apart from the embeddings that it shares.
                warnings.filterwarnings("ignore", message="Model has `tie_word_embeddings=True`")
                inject_adapter_in_model(config, network, _NAME)
        except ValueError as error:
            raise _no_targets(network, str(error)) from error
        others = [name for name, layer in _adapters(network) if not _is_linear(layer.base_layer)]
        if others:
            raise _no_targets(network, f"{others[0]} is no linear layer")
        for parameter in trained:
            parameter.requires_grad_(True)
        self.adapted: Any = network

    @property
    def config(self) -> Any:
        """The network's own configuration."""
        return self.adapted.config

    def forward(self, **inputs: Any) -> Any:
        """What the network with its adapters answers."""
        return self.adapted(**inputs)

    def save_pretrained(
        self, folder: str | Path, state_dict: Mapping[str, torch.Tensor] | None = None
    ) -> None:
        """Write the network with the adapters added to its weights, which loads without them.

        Args:
            folder: where.
            state_dict: of this module; by default what it holds now.
        """
        state = self.state_dict() if state_dict is None else state_dict
        merged = _merged(self.adapted, {name.removeprefix(_PREFIX): state[name] for name in state})
        self.adapted.save_pretrained(folder, state_dict=merged)


@contextmanager
def _untied(network: Any, head: bool) -> Iterator[None]:
    """Keep peft from asking for embeddings of words that the last layer shares: a head has none."""
    config = getattr(network, "config", None)
    if config is None or not head or not getattr(config, "tie_word_embeddings", False):
        yield
        return
    config.tie_word_embeddings = False
    try:
        yield
    finally:
        config.tie_word_embeddings = True


def _head(network: torch.nn.Module) -> list[torch.nn.Parameter]:
    layers = layers_of(network)
    return [parameter for name, parameter in network.named_parameters() if layers.levels[name] == layers.head]


def _before_head(network: torch.nn.Module, targets: str | Sequence[str]) -> list[str]:
    """The linear layers before the head that are meant, by their whole names."""
    layers = layers_of(network)
    # Attention of torch's own reads its weights past the layers that hold them.
    fused = [
        f"{name}."
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.MultiheadAttention)
    ]
    fitting = [
        name
        for name, module in network.named_modules()
        if _is_linear(module)
        and layers.levels.get(f"{name}.weight", layers.head) < layers.head
        and not name.startswith(tuple(fused))
    ]
    if not fitting:
        raise ModelError(
            "LoRA needs linear layers, and this network has none before its head",
            where="training.lora",
            found=getattr(getattr(network, "config", None), "model_type", type(network).__name__),
            remedy="Leave out `training.lora`; `training.freeze` trains a part of any network",
        )
    if isinstance(targets, str):
        return fitting
    unknown = [target for target in targets if not any(f".{name}".endswith(f".{target}") for name in fitting)]
    if unknown or not targets:
        raise _no_targets(network, ", ".join(unknown) or "an empty list")
    return [name for name in fitting if any(f".{name}".endswith(f".{target}") for target in targets)]


def _adapters(network: torch.nn.Module) -> list[tuple[str, Any]]:
    return [(name, module) for name, module in network.named_modules() if isinstance(module, LoraLayer)]


def _is_linear(layer: object) -> bool:
    return isinstance(layer, torch.nn.Linear | Conv1D)


def _no_targets(network: torch.nn.Module, found: str) -> ModelError:
    names = sorted({name.rsplit(".")[-1] for name, part in network.named_modules() if _is_linear(part)})
    return ModelError(
        "LoRA cannot be put into these layers",
        where="training.lora.targets",
        found=found,
        expected="all-linear, or a list of " + ", ".join(names),
    )


def _merged(network: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state by the names that it has without adapters."""
    whole = {
        name.replace(".base_layer.", "."): tensor for name, tensor in state.items() if ".lora_" not in name
    }
    for name, layer in _adapters(network):
        first, second = (state[f"{name}.lora_{part}.{_NAME}.weight"].float() for part in "AB")
        change = second @ first * layer.scaling[_NAME]
        own = whole[f"{name}.weight"]
        # Conv1D keeps its weight with inputs first.
        added = own.float() + (change.T if layer.fan_in_fan_out else change)
        whole[f"{name}.weight"] = added.to(own.dtype).contiguous()
    return whole
