"""What every task type has in common: all that goldloop knows of one lies in its own file.

A *target* is a task's answer about one item, as plain JSON-able data with class names (a class name; a
tuple of boxes). A *row* is the same item inside a dataset version, with class ids. The order of work:

    annotation --decode--> target --to_row--> row --prepare--> prepared --batch--> Batch
        -> network -> outputs --loss--> training      outputs --predict--> Prediction --encode--> annotation
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from goldloop.plugins import Plugin, PluginConfig
from goldloop.records import Item, Modality, Prediction

if TYPE_CHECKING:
    import datasets
    import torch

T = TypeVar("T")

ConsensusPolicy = Literal["majority", "unanimous"]
"""`majority`: the answer that more annotators gave than any other; `unanimous`: all gave the same."""


class TaskConfig(PluginConfig):
    """What every task's configuration has."""

    instructions: str | None = None
    """What annotators read before they start; HTML as Label Studio shows it."""


@dataclass(frozen=True, slots=True)
class Example(Generic[T]):
    """An item with a true target: feeds the documentation and the contract tests.

    `content` is the image's bytes; a text is in the item.
    """

    item: Item
    target: T
    content: bytes | None = None


@dataclass(slots=True)
class Model:
    """A network and what turns content into its input.

    Attributes:
        network: takes `Batch.inputs` as keyword arguments; saved by `save_pretrained` as safetensors.
        processor: the tokenizer or image processor; has `save_pretrained`.
        settings: what else inference must know (image size, length limit); JSON values.
    """

    network: torch.nn.Module
    processor: Any
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Batch:
    """What one step works on.

    Attributes:
        inputs: keyword arguments of the network; first dimension B = examples, unless packed.
        targets: what `loss` compares with; None at inference.
        keys: the items' content keys, B of them, in order.
        tokens: real tokens of a text batch, else 0.
        padded_tokens: tokens with padding, else 0.
    """

    inputs: dict[str, torch.Tensor]
    targets: Any
    keys: tuple[str, ...]
    tokens: int = 0
    padded_tokens: int = 0

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device; pinned memory travels without a wait."""
        return Batch(
            {name: tensor.to(device, non_blocking=True) for name, tensor in self.inputs.items()},
            self.targets.to(device, non_blocking=True) if hasattr(self.targets, "to") else self.targets,
            self.keys,
            self.tokens,
            self.padded_tokens,
        )


class Task(Plugin, Generic[T]):
    """One task type: its annotation interface, data, model, decoding and scoring.

    Laws, held by the contract suite: `decode(encode(t)) == t`; `from_row(to_row(t)) == t`;
    `agreement(a, a) == 1`, symmetric, in [0, 1]; `consensus([t]) == t`; `score(x, x)` is perfect.
    """

    Config = TaskConfig
    modality: ClassVar[Modality]
    metric: ClassVar[str]
    """The figure of `score` that chooses between models; higher is better."""

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Class names in id order."""

    @abstractmethod
    def with_classes(self, classes: Sequence[str]) -> Task[T]:
        """The same task with these classes in id order (a version's registry, a model's classes)."""

    @abstractmethod
    def label_config(self) -> str:
        """The labelling interface as Label Studio XML."""

    @abstractmethod
    def task_data(self, item: Item, address: str | None) -> dict[str, Any]:
        """The fields of a Label Studio task that `label_config` shows.

        Args:
            item: what is to be annotated.
            address: where a browser finds the item's image; None for a text.
        """

    @abstractmethod
    def parse(self, value: Any) -> T:
        """The target that a source means by a value of its own, such as a folder's name.

        Raises:
            AnnotationError: the value means no target; names the nearest class.
        """

    @abstractmethod
    def decode(self, results: Sequence[Mapping[str, Any]], item: Item) -> T:
        """The target in a Label Studio annotation's `result`.

        Raises:
            AnnotationError: names item, region and the rule that is broken.
        """

    @abstractmethod
    def encode(self, target: T, item: Item) -> list[dict[str, Any]]:
        """A target as Label Studio's `result`: `decode(encode(t, item), item) == t`."""

    @abstractmethod
    def features(self) -> datasets.Features:
        """The columns that hold the content and the target in a dataset version."""

    @abstractmethod
    def to_row(self, target: T) -> dict[str, Any]:
        """A target's columns, class ids in place of names."""

    @abstractmethod
    def from_row(self, row: Mapping[str, Any]) -> T:
        """The target in a row: `from_row(to_row(t)) == t`."""

    @abstractmethod
    def agreement(self, a: T, b: T) -> float:
        """How alike two answers about one item are, in [0, 1]; symmetric; 1 for equal ones."""

    @abstractmethod
    def consensus(self, targets: Sequence[T], policy: ConsensusPolicy) -> T | None:
        """The answer that several annotators give together; None where the policy finds none."""

    @abstractmethod
    def model(
        self,
        checkpoint: str | Path | Mapping[str, Any],
        *,
        texts: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> Model:
        """A network and processor for this task's classes.

        Args:
            checkpoint: a local folder or a hub id; or `{"from-config": {...}}`, a transformers
                configuration with its `model_type`, for a network with fresh weights.
            texts: training texts, from which a from-config text model learns its tokenizer.
            settings: the `Model.settings` of a saved model, or what a recipe sets (`image_size`,
                `max_length`).

        Raises:
            ModelError: the checkpoint cannot be loaded, or does not fit; says what to do offline.
        """

    @abstractmethod
    def prepare(self, model: Model, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Rows ready to be batched: decoded, resized, tokenised; deterministic, so it can be cached.

        A row has the content (`image`: file bytes, or `text`) and, in training, `key` and the target's
        columns. What was cut off to fit is counted under `truncated_tokens`.
        """

    @abstractmethod
    def batch(self, rows: Sequence[Mapping[str, Any]], model: Model) -> Batch:
        """One batch of prepared rows."""

    def augment(self, batch: Batch, model: Model, generator: torch.Generator) -> Batch:
        """A varied copy of a training batch, on the batch's device; by default the batch itself."""
        return batch

    def normalize(self, batch: Batch, model: Model) -> Batch:
        """What the network wants of a batch that is on its device (uint8 pixels to floats, say)."""
        return batch

    @abstractmethod
    def loss(self, outputs: Any, batch: Batch, label_smoothing: float = 0.0) -> torch.Tensor:
        """The mean loss over a batch's examples, a scalar with gradient."""

    @abstractmethod
    def predict(self, model: Model, outputs: Any) -> list[Prediction[T]]:
        """One prediction per example of the batch that gave these outputs, in order."""

    @abstractmethod
    def score(self, predicted: Sequence[T], expected: Sequence[T]) -> dict[str, float]:
        """The field's figures over paired answers; has `metric`; higher is better throughout."""

    def per_class(self, predicted: Sequence[T], expected: Sequence[T]) -> dict[str, dict[str, float]]:
        """Class name -> precision, recall, f1 in [0, 1] and support; empty where it has no meaning."""
        return {}

    def confusion(self, predicted: Sequence[T], expected: Sequence[T]) -> tuple[tuple[int, ...], ...]:
        """Counts, rows expected and columns predicted in id order; empty where it has no meaning."""
        return ()

    @classmethod
    @abstractmethod
    def example_config(cls) -> dict[str, Any]:
        """A `task:` section of a recipe that works: feeds `goldloop init` and the contract tests."""

    @abstractmethod
    def example_model(self) -> Model:
        """A tiny network with fresh weights that learns `examples` in a few steps."""

    @abstractmethod
    def examples(self) -> list[Example[T]]:
        """At least four items with true targets of two classes or more, made in code."""
