"""What every task type has in common: all that goldloop knows of one lies in its own file.

A *target* is a task's answer about one item: a JSON value with class names (a class name; a list of
boxes) in one canonical form, so that equal answers are equal values. A *row* is the same item inside a
dataset version, with class ids. The order of work:

    annotation --decode--> target --to_row--> row --prepare--> prepared --batch--> Batch
        --training_inputs--> network -> outputs --loss--> training
        --outputs--> outputs --predict--> Prediction --encode--> annotation
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from goldloop.errors import AnnotationError
from goldloop.plugins import Plugin, PluginConfig
from goldloop.records import Item, Modality, Prediction
from goldloop.tasks._batches import PLAIN_LOSS, Batch, LossOptions, Model, PlaceAnswers

if TYPE_CHECKING:
    import datasets
    import torch
    from numpy.typing import NDArray
    from PIL import Image

    from goldloop.tasks._augmentation import AugmentationOptions

__all__ = [
    "PLAIN_LOSS", "Batch", "ConsensusPolicy", "Example", "LossOptions", "Model", "PlaceAnswers",
    "SettlementPolicy", "Task", "TaskConfig",
]  # fmt: skip

T = TypeVar("T")

_LONGEST_DESCRIPTION = 80

ConsensusPolicy = Literal["majority", "unanimous"]
"""`majority`: the answer that more annotators gave than any other; `unanimous`: all gave the same."""

SettlementPolicy = Literal["majority", "unanimous", "dawid-skene"]
"""Besides, for answers that are classes, `dawid-skene`: the answer that is most likely, by what each
annotator's answers have shown to be worth."""


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


class Task(Plugin, Generic[T]):
    """One task type: its annotation interface, data, model, decoding and scoring.

    Laws, held by the contract suite: a target equals itself after JSON; `decode(encode(t)) == t`;
    `parse(t) == t`; `from_row(to_row(t)) == t`; `agreement(a, a) == 1`, symmetric, in [0, 1];
    `consensus([t]) == t`; `score(x, x)` is perfect.
    """

    Config = TaskConfig
    modality: ClassVar[Modality]
    metric: ClassVar[str]
    """The figure of `score` that chooses between models; higher is better."""
    suggested_checkpoint: ClassVar[str]
    """A checkpoint of the Hub to start from: what `goldloop init` proposes; empty where there is none."""
    small_network: ClassVar[Mapping[str, Any]]
    """A `from-config` that trains on a CPU without a download."""
    loss_options: ClassVar[frozenset[str]] = frozenset({"label_smoothing"})
    """Which fields of `LossOptions` the loss heeds; a recipe that asks for another is refused."""
    augmentations: ClassVar[frozenset[str]] = frozenset()
    """Which fields of `AugmentationOptions` `augment` heeds; a recipe that asks for another is refused."""
    needs_size: ClassVar[bool] = True
    """Whether an image's size decides what is right: answers have places in it. Texts have none."""

    answers_are_classes: ClassVar[bool] = False
    """Whether an answer is a class, or a set of classes, and nothing besides."""

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Class names in id order."""

    @abstractmethod
    def with_classes(self, classes: Sequence[str]) -> Task[T]:
        """The same task with these classes in id order (a version's registry, a model's classes)."""

    def registry(self, known: Sequence[str]) -> tuple[str, ...]:
        """The class names of the next version in id order, where the one before had `known`."""
        return (*known, *(name for name in self.classes if name not in known))

    def present(self, target: T) -> T:
        """An answer given by former names of classes (an older model's), by their present names."""
        return target

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

    def check(self, item: Item) -> None:
        """Refuse an item that the task cannot ask about; by default none of its modality is.

        Raises:
            ItemError: says what the item should be.
        """

    @abstractmethod
    def parse(self, value: Any, item: Item) -> T:
        """The target that a source means by a value of its own, such as a folder's name.

        A target in JSON is such a value too, and comes back in its canonical form.

        Args:
            value: what the source says of the item.
            item: what it says it of.

        Raises:
            AnnotationError: the value means no target; names the nearest class.
        """

    def misfit(self, target: T, item: Item) -> str | None:
        """What is wrong with an answer to this item; None where it fits.

        By default what `parse` has against it: a place outside the image, another quote than what stands
        there, an unknown class. An upright box, a point or a corner may be outside by a pixel, which an
        editor's rounding makes; a turned box may stick out as people can draw it, its middle may not.
        """
        try:
            self.parse(target, item)
        except AnnotationError as error:
            return str(error)
        return None

    def rewritten(
        self,
        target: T,
        text: str,
        moved: Callable[[int, int], tuple[int, int]],
        scrub: Callable[[str], str],
    ) -> T:
        """A target about a text of which parts were replaced; most say nothing of its places.

        Args:
            target: about the text before.
            text: as it is now.
            moved: from a span of the text before to the span of it now.
            scrub: replaces the same in any text.
        """
        return target

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

    def training_texts(self, rows: datasets.Dataset) -> Sequence[str]:
        """What a from-config model learns its tokenizer from: of a text task, the training split's texts."""
        return list(rows["text"][:]) if self.modality == "text" else ()

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
            texts: `training_texts`, from which a from-config model learns its tokenizer.
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

    def augment(
        self,
        batch: Batch,
        model: Model,
        generator: torch.Generator,
        options: AugmentationOptions | None = None,
    ) -> Batch:
        """A varied copy of a training batch, on the batch's device; by default the batch itself.

        Args:
            batch: before `normalize`; is left as it is.
            model: whose batch it is.
            generator: every draw comes from it.
            options: None: as the kind of task does by default.
        """
        return batch

    def normalize(self, batch: Batch, model: Model) -> Batch:
        """What the network wants of a batch that is on its device (uint8 pixels to floats, say)."""
        return batch

    def pack(self, model: Model) -> str | None:
        """Have `batch` put texts one behind the other without padding, where the network can read them so.

        Sets `model.packed` where a trial gives the same outputs as padded texts do.

        Returns:
            why not; None where it does.
        """
        return "only texts have padding"

    def packed_lengths(
        self, model: Model, lengths: Callable[[str], NDArray[Any]]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """What each row of a text takes of a packed batch: how many tokens, and how many segments.

        Args:
            model: whose batches they are.
            lengths: of all rows, that of the array of a name.
        """
        tokens = lengths("input_ids")
        return tokens, tokens * 0 + 1

    def training_inputs(self, batch: Batch) -> dict[str, Any]:
        """The network's keyword arguments in training; networks that compute their own loss get targets."""
        return batch.inputs

    def outputs(self, model: Model, batch: Batch) -> Any:
        """What `predict` turns into answers; the network is in evaluation mode, gradients are off.

        By default the network's own outputs; a task that must search for its answer, or map it back to
        the whole item, does so here.
        """
        return model.network(**batch.inputs)

    @abstractmethod
    def loss(self, outputs: Any, batch: Batch, options: LossOptions = PLAIN_LOSS) -> torch.Tensor:
        """The mean loss over a batch's examples, a scalar with gradient."""

    def loss_terms(self, model: Model, tokens: NDArray[Any]) -> NDArray[Any] | None:
        """Of how many terms `loss` takes the mean, for rows of so many tokens; None: one for each row.

        The parts of a batch are weighed by it, so that they add up to the loss of the whole.
        """
        return None

    @abstractmethod
    def predict(self, model: Model, outputs: Any) -> list[Prediction[T]]:
        """One prediction per example of the batch whose `outputs` these are, in order."""

    def score(self, predicted: Sequence[T], expected: Sequence[T]) -> dict[str, float]:
        """The field's figures over paired answers; has `metric`; higher is better throughout.

        Raises:
            ValueError: nothing to score, or answers that are not paired.
        """
        if not expected:
            raise ValueError("there is nothing to score")
        if len(predicted) != len(expected):
            raise ValueError(f"{len(predicted)} answers for {len(expected)} expected ones")
        return self.summarize([self.tally(*pair) for pair in zip(predicted, expected, strict=True)])

    def tally(self, predicted: T, expected: T) -> Any:
        """What one item adds to the figures: found once, summed up for each of many resamples."""
        return predicted, expected

    @abstractmethod
    def summarize(self, tallies: Sequence[Any]) -> dict[str, float]:
        """The figures of `score` over items by their tallies, each as often as it is in the list."""

    def class_counts(self, target: T) -> Mapping[str, int]:
        """How often the loss meets each class in an answer, which tells how rare a class is."""
        return Counter(self.classes_in(target))

    def classes_in(self, target: T) -> Sequence[str]:
        """The class of each thing that an answer names, with repetitions; empty where it names none."""
        return ()

    def boxes_of(self, target: T) -> list[tuple[str, tuple[float, float, float, float], float]] | None:
        """Of an answer that is things in an image: class, upright box and score in [0, 1] of each.

        A box is left, top, right, bottom in pixels; what people drew has a score of 1. None where an answer
        is something else.
        """
        return None

    def place_answers(self, model: Model, batch: Batch) -> list[PlaceAnswers] | None:
        """Of each example of a labelled batch what the network says of each token or pixel.

        As for `outputs`, the batch has been normalised. None where an answer is something else.
        """
        return None

    def about(self, target: T, name: str) -> T:
        """The part of an answer that is about one class; by default all of it."""
        return target

    def describe(self, target: T) -> str:
        """An answer in a few words, for people."""
        text = target if isinstance(target, str) else json.dumps(target, ensure_ascii=False)
        return text if len(text) <= _LONGEST_DESCRIPTION else f"{text[: _LONGEST_DESCRIPTION - 1]}…"

    def per_class(self, predicted: Sequence[T], expected: Sequence[T]) -> dict[str, dict[str, float]]:
        """Class name -> precision, recall, f1 in [0, 1] and support; empty where it has no meaning."""
        return {}

    def confusion(self, predicted: Sequence[T], expected: Sequence[T]) -> tuple[tuple[int, ...], ...]:
        """Counts, rows expected and columns predicted in id order; empty where it has no meaning."""
        return ()

    def drawn(self, target: T, picture: Image.Image, scale: float) -> Image.Image | None:
        """A picture of an item with an answer drawn in; None where the answer has no place in it.

        Args:
            target: the answer.
            picture: the item's image, upright, RGB, perhaps smaller; is left as it is.
            scale: pixels of `picture` for one of the image.
        """
        return None

    def marked(self, target: T) -> Sequence[tuple[int, int, str]]:
        """Start and end, in code points, of what an answer marks in a text, and its class."""
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
