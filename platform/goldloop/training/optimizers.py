"""Optimizers by name, and which parameters decay and how fast each learns."""

from __future__ import annotations

import torch

from goldloop.training.config import TrainingConfig


def make_optimizer(
    network: torch.nn.Module, config: TrainingConfig, learning_rate: float
) -> torch.optim.Optimizer:
    """An optimizer over what is to be trained.

    Weights decay; biases and the scales of norms (one dimension) do not. Each group has a `share`: what its
    learning rate is of the step's.
    """
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": config.weight_decay, "share": 1.0},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0, "share": 1.0},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=learning_rate, fused=True)
