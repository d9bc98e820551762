"""LoRA: small trained matrices beside frozen ones; what is saved is an ordinary checkpoint, both added up."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from transformers.pytorch_utils import Conv1D

from goldloop.errors import ModelError

_NAME = "default"
_PREFIX = "adapted."
_FIELDS = {"rank": 16, "alpha": 32, "dropout": 0.0, "targets": "all-linear"}


class LoraNetwork(torch.nn.Module):
    """A network of transformers whose own weights are frozen, with adapters that are trained.

    Args:
        network: what adapters are put into, in place.
        settings: `rank`, `alpha`, `dropout` and `targets`, as in the recipe.

    Raises:
        ModelError: an unknown setting, or targets that the network does not have.
    """

    def __init__(self, network: torch.nn.Module, settings: Mapping[str, Any]) -> None:
        super().__init__()
        unknown = sorted(set(settings) - set(_FIELDS))
        if unknown:
            raise ModelError("LoRA has no such setting", where="training.lora", found=", ".join(unknown))
        chosen = {**_FIELDS, **settings}
        config = LoraConfig(
            r=chosen["rank"],
            lora_alpha=chosen["alpha"],
            lora_dropout=chosen["dropout"],
            target_modules=chosen["targets"],
            fan_in_fan_out=any(isinstance(layer, Conv1D) for layer in network.modules()),
        )
        try:
            with warnings.catch_warnings():
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
