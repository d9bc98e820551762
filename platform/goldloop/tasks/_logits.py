"""What a network's raw answers must be before anyone reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from goldloop.errors import ModelError

if TYPE_CHECKING:
    import torch

    from goldloop.tasks.base import Model

TEMPERATURE = "temperature"
"""The setting that a trained model's logits are divided by, so that it is as sure as it is right."""


def finite_logits(outputs: Any) -> torch.Tensor:
    """A network's logits as float32 on the host.

    Raises:
        ModelError: some are NaN or infinite.
    """
    import torch

    logits: torch.Tensor = outputs.logits.detach().float().cpu()
    if not bool(torch.isfinite(logits).all()):
        raise ModelError(
            "the network answers with something other than numbers",
            found="NaN or infinite logits",
            remedy="Train again with a lower learning rate or without mixed precision",
        )
    return logits


def tempered_logits(outputs: Any, model: Model) -> torch.Tensor:
    """A network's logits as float32 on the host, divided by the model's temperature.

    Raises:
        ModelError: some are NaN or infinite.
    """
    return finite_logits(outputs) / float(model.settings.get(TEMPERATURE, 1.0))
