"""How the learning rate goes over a run, as a share of its highest."""

from __future__ import annotations

import math

from goldloop.training.config import TrainingConfig

_DECAY = 0.2
"""Share of the steps after the warm-up over which `warmup-stable-decay` falls to 0."""


def warmup_steps(total: int, config: TrainingConfig) -> int:
    """How many of the steps the learning rate rises for."""
    return round(config.warmup * total)


def learning_rate_share(done: int, total: int, config: TrainingConfig) -> float:
    """What the step after `done` of `total` is taken with, in [0, 1]: a rise from 0, then the schedule."""
    warmup = warmup_steps(total, config)
    if done < warmup:
        return (done + 1) / warmup
    share = (done - warmup) / max(total - warmup, 1)
    if config.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * share))
    if config.schedule == "linear":
        return 1 - share
    if config.schedule == "warmup-stable-decay":
        return min(1.0, (1 - share) / _DECAY)
    return 1.0
