"""What a step waits for: where its time goes, which part holds it up, and what to do about that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

PROFILE_FILE = "profile.json"
TRACE_FILE = "trace.json.gz"

PARTS: dict[str, str] = {
    "wait": "waiting for data",
    "copy": "copying to the device",
    "augment": "augmentation",
    "normalize": "normalization",
    "forward": "forward pass",
    "loss": "loss",
    "backward": "backward pass",
    "clip": "clipping gradients",
    "optimizer": "optimizer",
    "between": "between steps",
    "other": "the rest of the step",
}
"""Parts of a step in the order in which they come, and how they are called."""

Kind = Literal["data", "augmentation", "host", "optimizer", "bookkeeping", "padding", "compute"]

_SHOWN = 0.001
_WAITS = 0.15
_VARIES = 0.25
_IDLE = 0.25
_UPDATES = 0.3
_PAUSES = 0.15
_PADS = 0.25


@dataclass(frozen=True, slots=True)
class Operator:
    """One operation of the network's, or one kernel of the device's.

    Attributes:
        name: as PyTorch calls it.
        calls: per step.
        seconds: per step, without what it calls.
    """

    name: str
    calls: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """What holds a step up.

    Attributes:
        kind: which of the known ones.
        finding: a sentence with the figures.
        remedy: what to do about it.
    """

    kind: Kind
    finding: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Some steps of a run, looked at closely; seconds are means per step.

    Attributes:
        first_step, steps: which were timed; those traced come after them.
        seconds: a whole step.
        parts: what it is made of: a name of `PARTS` -> seconds; they add up to `seconds`.
        gather_seconds: to put a batch together, in a thread beside the steps; 0 where that was not seen.
        device: what computed: `cpu`, `cuda`.
        device_busy: share of the time in [0, 1] that a GPU computed, from the trace; None on a CPU.
        precision: of the forward pass: `no`, `bf16`, `fp16`.
        compiled: whether the network was.
        useful_token_share: real tokens of all, in [0, 1]; None for images.
        operators: the costliest, from the trace, the costliest first.
    """

    first_step: int
    steps: int
    seconds: float
    parts: Mapping[str, float]
    gather_seconds: float
    device: str
    device_busy: float | None
    precision: str
    compiled: bool
    useful_token_share: float | None
    operators: tuple[Operator, ...]

    def share(self, *parts: str) -> float:
        """What some parts are of a whole step, in [0, 1]."""
        return sum(self.parts.get(part, 0.0) for part in parts) / self.seconds if self.seconds else 0.0

    def rows(self) -> dict[str, tuple[str, float, float]]:
        """Part -> its name, seconds and share, of those with 0.1% or more, in the order of work."""
        return {
            part: (name, self.parts[part], self.share(part))
            for part, name in PARTS.items()
            if self.share(part) >= _SHOWN
        }

    def bottleneck(self) -> Bottleneck:
        """What holds the step up; where several things do, what comes first in the way of a batch."""
        waits, varies = self.share("wait", "copy"), self.share("augment", "normalize")
        updates, pauses = self.share("optimizer", "clip"), self.share("between")
        if waits >= _WAITS:
            return self._data(waits)
        if varies >= _VARIES:
            return Bottleneck(
                "augmentation",
                f"augmentation and normalization take {varies:.0%} of a step",
                "Take fewer kinds of augmentation: `augment: {colour: false}`, or `augment: false`",
            )
        if pauses >= _PAUSES:
            return Bottleneck(
                "bookkeeping",
                f"{pauses:.0%} of the time lies between steps: reading losses and telling of them",
                "Take a larger `batch_size`: a step of so few milliseconds is not worth its bookkeeping",
            )
        if self.device_busy is not None and 1 - self.device_busy >= _IDLE:
            return Bottleneck(
                "host",
                f"the GPU stands idle {1 - self.device_busy:.0%} of the time: it waits for Python",
                "Take a larger `batch_size`",
            )
        if updates >= _UPDATES:
            return Bottleneck(
                "optimizer",
                f"the update of the weights takes {updates:.0%} of a step: it is bound by memory",
                "Take a larger `batch_size`, so that there are fewer updates",
            )
        return self._compute()

    def _data(self, waits: float) -> Bottleneck:
        finding = f"the step waits for its data {waits:.0%} of the time"
        if self.share("copy") > self.share("wait"):
            return Bottleneck(
                "data",
                f"{finding}, most of it while the batch is copied to the device",
                "Take smaller examples: a lower `image_size` or `max_length`",
            )
        if not self.gather_seconds:
            return Bottleneck("data", finding, "Give the process more CPU cores, or lower `image_size`")
        finding += f": a batch takes {_milliseconds(self.gather_seconds)} to gather"
        if self.gather_seconds > self.seconds * (1 - waits):
            return Bottleneck(
                "data",
                finding + ", longer than the network needs for it",
                "Keep the workspace's cache on a fast local disk, give the process more CPU cores, "
                "or lower `image_size`",
            )
        return Bottleneck(
            "data",
            finding + ", and something else takes the CPU from the thread that does so",
            "Leave a core free: set OMP_NUM_THREADS below the number of cores, or stop other work",
        )

    def _compute(self) -> Bottleneck:
        share = self.share("forward", "loss", "backward")
        useful = self.useful_token_share
        if useful is not None and 1 - useful >= _PADS:
            return Bottleneck(
                "padding",
                f"the network computes {share:.0%} of the time, "
                f"and {1 - useful:.0%} of its tokens are padding",
                "Set `packing: true` if this network can be packed, or lower `max_length`",
            )
        faster = []
        if self.precision == "no":
            faster.append("`precision: bf16` where the hardware multiplies it")
        faster.append("a smaller checkpoint" if self.device != "cpu" else "a GPU or a smaller checkpoint")
        return Bottleneck(
            "compute",
            f"the network computes {share:.0%} of the time: nothing else holds it up",
            "To be faster, take " + ", or ".join(faster),
        )

    def write(self, folder: Path) -> None:
        """Keep it in a run's folder."""
        text = json.dumps(asdict(self), indent=2)
        (folder / PROFILE_FILE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Profile | None:
        """What was kept in a run's folder; None if the run was not profiled."""
        file = folder / PROFILE_FILE
        if not file.exists():
            return None
        fields = json.loads(file.read_text(encoding="utf-8"))
        operators = tuple(Operator(**operator) for operator in fields.pop("operators"))
        return cls(**fields, operators=operators)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms" if seconds < 1 else f"{seconds:,.1f} s"
