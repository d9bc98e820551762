"""What is measured: a case is one file of `cases/`, read whole and strictly."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

HERE = Path(__file__).parent
ARMS = ("trainer-defaults", "trainer-tuned", "plain", "goldloop")
LAYERS = ("end-to-end", "compute", "data", "checkpoint", "learning")

Arm = Literal["trainer-defaults", "trainer-tuned", "plain", "goldloop"]
Layer = Literal["end-to-end", "compute", "data", "checkpoint", "learning"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class DataConfig(_Strict):
    """Where the examples come from; all are made from files of `--data`, but for noise."""

    source: Literal["banking77", "mixed-lengths", "bccd-tiles", "noise"]
    mean: int = 94
    """`mixed-lengths`: tokens of a text on average."""
    longest: int = 512
    width: int = 500
    """`bccd-tiles`: pixels of each JPEG."""
    height: int = 375

    @property
    def modality(self) -> Literal["text", "image"]:
        """What the examples are."""
        return "text" if self.source in ("banking77", "mixed-lengths") else "image"


class LayerSize(_Strict):
    """How much of one layer is measured, where it is not all."""

    steps: int | None = None
    """Steps of a measurement, warm-up included: as many batches of examples are taken."""
    repeats: int | None = None
    arms: tuple[Arm, ...] = ARMS


class Size(_Strict):
    """How much of it."""

    examples: int
    """Examples to train on at most."""
    files: int | None = None
    """Examples that the data layer reads, where it is to read more than that."""
    held_out: int = 0
    """Examples that the trained network is scored on; 0: not scored."""
    epochs: int = 1
    warmup_steps: int = 10
    """Steps at the beginning of each run that are reported, but not counted."""
    repeats: int = 5
    of: dict[Layer, LayerSize] = {}
    """Layers that are measured otherwise."""

    def layer(self, name: Layer) -> LayerSize:
        """How much of a layer is measured."""
        found = self.of.get(name, LayerSize())
        return found if found.repeats else found.model_copy(update={"repeats": self.repeats})


class Case(_Strict):
    """One question: which network, on which data, and how each arm may be set."""

    name: str
    title: str
    model: str | dict[str, Any]
    """A folder, a folder in a package (`package:NAME/PATH`), or a configuration of transformers."""
    settings: dict[str, Any] = {}
    """What `Task.model` is given beside: `image_size`, `max_length`."""
    data: DataConfig
    batch_size: int = 32
    learning_rate: float = 5e-5
    weight_decay: float = 0.01
    seed: int = 0
    layers: tuple[Layer, ...] = ("end-to-end", "compute", "data")
    sizes: dict[str, Size]
    arms: dict[Arm, dict[str, Any]] = Field(default_factory=dict)
    """Options of each arm: of `TrainingArguments`, of the plain loop, of a recipe's `training:`."""
    target: float | None = None
    """Accuracy on held-out examples, the time to which is measured on the layer `learning`."""
    looks: int = 5
    """How often the accuracy is looked at there."""
    goal: float | None = None
    """Share of the measured limit that goldloop is to reach on real tokens or images."""
    limit: Literal["product", "copy"] = "product"
    """What bounds the network: matrix products, or memory."""
    bytes_per_example: float | None = None
    """For a network bound by memory: what a step must move for each example."""


def load_cases(kind: str, chosen: list[str] | None = None, folder: Path = HERE / "cases") -> list[Case]:
    """The cases for `cpu` or `gpu`, in the order of their files' names.

    Raises:
        SystemExit: an unknown name; lists the known ones.
    """
    files = sorted((folder / kind).glob("*.yaml"))
    cases = [Case(name=file.stem, **yaml.safe_load(file.read_text(encoding="utf-8"))) for file in files]
    names = [case.name for case in cases]
    for name in chosen or ():
        if name not in names:
            raise SystemExit(f"no case {name!r} for {kind}; there are: {', '.join(names)}")
    return [case for case in cases if not chosen or case.name in chosen]
