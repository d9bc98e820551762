"""A network with adapters to train in place of its own weights, and the network within one that has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def adapted(network: Any, lora: Mapping[str, Any] | None, *, head: bool) -> Any:
    """The network, with adapters to train in place of its own weights where `lora` says so.

    Args:
        network: of transformers.
        lora: what the recipe says; None: nothing.
        head: whether what comes after the last layer learns as a whole.

    Raises:
        ModelError: the network has no layers that they could be put into.
    """
    if lora is None:
        return network
    from goldloop.tasks._lora import LoraNetwork

    return LoraNetwork(network, lora, head=head)


def plain(network: Any) -> Any:
    """The network of transformers within one with adapters."""
    return getattr(network, "adapted", network)
