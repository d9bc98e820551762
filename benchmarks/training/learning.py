"""How fast an arm learns: its accuracy on held-out examples now and then, while the clock stands still."""

from __future__ import annotations

from typing import Any

import torch
from job import Job, held_out_accuracy
from window import Window


class Learning:
    """Looks at a network that is being trained; on other layers than `learning` it never does.

    Args:
        job: says how often, and how many steps there are.
        network, processor: as a user of transformers has them.
        window: pauses while it looks.
    """

    def __init__(self, job: Job, network: torch.nn.Module, processor: Any, window: Window) -> None:
        self._job = job
        self._network = network
        self._processor = processor
        self._window = window
        self._every = max(job.steps // job.case.looks, 1) if job.layer == "learning" else 0
        self._done = 0
        self._seen: list[tuple[float, float]] = []

    def step(self) -> None:
        """A step was done."""
        self._done += 1
        if self._every and (self._done % self._every == 0 or self._done == self._job.steps):
            self._window.pause()
            accuracy = held_out_accuracy(self._job, self._network, self._processor)
            self._seen.append((self._window.seconds, accuracy or 0.0))
            self._network.train()
            self._window.resume()

    def found(self) -> dict[str, Any]:
        """What was seen; JSON values."""
        if not self._every:
            return {}
        target = self._job.case.target
        reached = [seconds for seconds, accuracy in self._seen if target is not None and accuracy >= target]
        return {
            "seen": self._seen,
            "accuracy": self._seen[-1][1],
            "seconds_to_target": reached[0] if reached else None,
        }
