"""What the tasks share whose answer is a list of objects that a detector finds: with masks, with points."""

from __future__ import annotations

import io
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import Field
from typing_extensions import override

from goldloop.errors import ModelError
from goldloop.records import Item, Prediction, content_key
from goldloop.tasks import _coco_metrics
from goldloop.tasks._classes import ClassesConfig, ClassesTask
from goldloop.tasks._detectors import Found, confidence_of, found_in, training_labels
from goldloop.tasks._images import normalize_pixels
from goldloop.tasks.base import PLAIN_LOSS, Batch, LossOptions, Model

if TYPE_CHECKING:
    import torch
    from PIL import Image

T = TypeVar("T")


class DetectorTaskConfig(ClassesConfig):
    """What a recipe says of such a task."""

    confidence: float = Field(default=0.5, ge=0, le=1)
    """What a model is less sure of is not shown to annotators, nor counted by class."""
    overlap: float = Field(default=0.5, gt=0, le=1)
    """From which overlap (intersection over union) on two annotators mean the same object."""
    mirror: bool = False
    """Whether training mirrors half of the pictures; not where left and right differ in meaning."""


class DetectorTask(ClassesTask[T]):
    """A task that trains one of torchvision's detectors, which computes its own loss."""

    config: DetectorTaskConfig
    modality = "image"
    metric = "map"
    loss_options = frozenset()
    architecture: ClassVar[str]
    """The detector that finds all that the task asks for."""

    @abstractmethod
    def answer(self, found: Found) -> T:
        """What a network has found in one image, as a target."""

    @override
    def task_data(self, item: Item, address: str | None) -> dict[str, Any]:
        if address is None:
            raise ValueError("an image task needs the image's address")
        return {"image": address}

    def checked(self, model: Model) -> Model:
        """The model, once it is sure that it is the task's detector.

        Raises:
            ModelError: it is another.
        """
        config: Any = model.network.config
        found = getattr(config, "architecture", config.model_type)
        if found != self.architecture:
            raise ModelError(
                "the network does not find what the task asks for",
                found=found,
                expected=f"model_type torchvision-detector, architecture {self.architecture}",
            )
        return model

    @override
    def normalize(self, batch: Batch, model: Model) -> Batch:
        normal = normalize_pixels(batch.inputs["pixel_values"], model.processor)
        return replace(batch, inputs={"pixel_values": normal})

    @override
    def training_inputs(self, batch: Batch) -> dict[str, Any]:
        return {**batch.inputs, "labels": training_labels(batch)}

    @override
    def outputs(self, model: Model, batch: Batch) -> list[Found]:
        return found_in(model, batch)

    @override
    def loss(self, outputs: Any, batch: Batch, options: LossOptions = PLAIN_LOSS) -> torch.Tensor:
        loss: torch.Tensor = outputs.loss
        return loss

    @override
    def predict(self, model: Model, outputs: Any) -> list[Prediction[T]]:
        return [
            Prediction(
                target=self.answer(found), confidence=confidence_of(found.scores, self.config.confidence)
            )
            for found in outputs
        ]

    @override
    def summarize(self, tallies: Sequence[Any]) -> dict[str, float]:
        """COCO's mean average precision over overlaps of 0.5 to 0.95, at 0.5, at 0.75, and recall."""
        return _coco_metrics.summarize(tallies)

    def is_shown(self, region: Mapping[str, Any]) -> bool:
        """Whether annotators see a region: all that people drew, and what a model is sure enough of."""
        sure: bool = region.get("score", 1.0) >= self.config.confidence
        return sure


def example_picture(picture: Image.Image, variant: int) -> tuple[Item, bytes]:
    """A picture made in code as an item, and its bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    content = buffer.getvalue()
    key = content_key(content)
    item = Item(
        key=key,
        modality="image",
        uri=f"example:{variant}",
        group=key,
        source="0:examples",
        media_type="image/png",
        width=picture.width,
        height=picture.height,
    )
    return item, content
