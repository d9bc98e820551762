"""What one process is asked to measure, and the splits and network that it starts from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import numpy
import torch
from cases import Case, Layer, Size

SAVE_EVERY = 10
"""Steps between two checkpoints on the layer `checkpoint`: those between two readings of goldloop's loss."""

LAST_STEPS = 10
"""Over how many steps the loss at the end is a mean."""


@dataclass(slots=True)
class Job:
    """One arm on one layer of one case.

    Attributes:
        case, size: what.
        arm, layer: how.
        splits: `train`, `held-out` if it has any, and `files` for images.
        start: the folder of the network and processor that all arms start from.
        work: a folder of this process alone.
        options: what the case sets of this arm.
    """

    case: Case
    size: Size
    arm: str
    layer: Layer
    splits: dict[str, datasets.Dataset]
    start: Path
    work: Path
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def is_text(self) -> bool:
        """Whether the examples are texts."""
        return self.case.data.modality == "text"

    @property
    def rows(self) -> datasets.Dataset:
        """What the layer works on: all files where the loader is drained, else training examples."""
        if self.layer == "data" and "files" in self.splits:
            return self.splits["files"]
        rows, steps = self.splits["train"], self.size.layer(self.layer).steps
        return rows if steps is None else rows.select(range(min(steps * self.case.batch_size, len(rows))))

    @property
    def is_scored(self) -> bool:
        """Whether the network has seen enough in the end for its accuracy to tell something."""
        return self.layer == "end-to-end" and self.size.layer(self.layer).steps is None

    @property
    def steps(self) -> int:
        """How many steps the whole run has."""
        return -(-len(self.rows) // self.case.batch_size) * self.size.epochs

    @property
    def device(self) -> torch.device:
        """What computes."""
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def as_loaded(job: Job) -> tuple[Any, Any]:
    """Network and processor, as a user of transformers loads them."""
    import transformers

    head = "AutoModelForSequenceClassification" if job.is_text else "AutoModelForImageClassification"
    network = getattr(transformers, head).from_pretrained(job.start, local_files_only=True)
    processor: Any = transformers.AutoTokenizer if job.is_text else transformers.AutoImageProcessor
    return network, processor.from_pretrained(job.start, local_files_only=True)


def first_loss(job: Job, network: torch.nn.Module, processor: Any) -> float:
    """Loss of the first training examples before any training, dropout off: equal for all arms."""
    rows = job.splits["train"].select(range(min(8, len(job.splits["train"]))))
    inputs, labels = padded(rows, processor, job.is_text)
    network.eval()
    with torch.inference_mode():
        logits = network(**inputs).logits.float()
    return float(torch.nn.functional.cross_entropy(logits, labels))


def end_loss(losses: Iterable[torch.Tensor]) -> float:
    """The mean of the losses of the last steps, which are scalars on the device."""
    return float(torch.stack([loss.detach().float() for loss in losses]).mean())


def stalls(job: Job, seconds: Sequence[float]) -> dict[str, Any]:
    """For how long the steps stood still for a checkpoint, on the layer on which there are any."""
    if job.layer != "checkpoint":
        return {}
    return {"checkpoints": len(seconds), "checkpoint_stall": float(numpy.median(seconds))}


def held_out_accuracy(job: Job, network: torch.nn.Module, processor: Any) -> float | None:
    """Share of held-out examples that a trained network gets right; None where there are none."""
    rows = job.splits.get("held-out")
    if rows is None:
        return None
    device = next(network.parameters()).device
    network.eval()
    right = 0
    with torch.inference_mode():
        for start in range(0, len(rows), 64):
            inputs, labels = padded(
                rows.select(range(start, min(start + 64, len(rows)))), processor, job.is_text
            )
            logits = network(**{name: value.to(device) for name, value in inputs.items()}).logits
            right += int((logits.argmax(-1).cpu() == labels).sum())
    return right / len(rows)


def padded(
    rows: datasets.Dataset, processor: Any, is_text: bool
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Rows as inputs of the network, by transformers' own processor, and their labels."""
    if is_text:
        inputs = processor(rows["text"][:], truncation=True, padding=True, return_tensors="pt")
    else:
        inputs = processor([image.convert("RGB") for image in rows["image"][:]], return_tensors="pt")
    return dict(inputs), torch.tensor(rows["label"][:])
