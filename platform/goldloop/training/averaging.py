"""An average of the weights over the steps, in which what the last batches did to them cancels out.

After step t it moves by 1 - min(decay, (1 + t) / (10 + t)) towards the weights: at first it follows them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch

_SLOWNESS = 10


class Average:
    """The average of what changes in a network.

    Args:
        parameters: that learn, or will; where they are trained.
        buffers: running means among them are averaged too.
        decay: per step, in the long run.
    """

    def __init__(
        self, parameters: Iterable[torch.Tensor], buffers: Iterable[torch.Tensor], decay: float
    ) -> None:
        self.decay = decay
        running = [buffer for buffer in buffers if buffer.is_floating_point()]
        self._live = [tensor.detach() for tensor in [*parameters, *running]]
        self._mean = [tensor.clone() for tensor in self._live]

    @torch.no_grad()
    def update(self, done: int) -> None:
        """Take in what the weights are after so many steps; the host does not wait."""
        share = 1 - min(self.decay, (1 + done) / (_SLOWNESS + done))
        torch._foreach_lerp_(self._mean, self._live, share)

    @torch.no_grad()
    def follow(self) -> None:
        """Begin again at what the weights are now."""
        torch._foreach_copy_(self._mean, self._live)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Have the average in the network instead of the weights, which come back to the bit."""
        with torch.no_grad():
            held = [tensor.clone() for tensor in self._live]
            torch._foreach_copy_(self._live, self._mean)
            try:
                yield
            finally:
                torch._foreach_copy_(self._live, held)
