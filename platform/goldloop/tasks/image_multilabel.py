"""`kind: image-multilabel`: any number of classes per image, none included."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from goldloop.records import Item, content_key
from goldloop.tasks._augmentation import OF_CLASSES, AugmentationOptions
from goldloop.tasks._images import image_model, normalize_pixels, prepare_image
from goldloop.tasks._multiple_choice import ChoicesConfig, ClassSetTask
from goldloop.tasks._regions import colour
from goldloop.tasks._rows import keys_of, stacked
from goldloop.tasks._varied_batches import augment_classes
from goldloop.tasks.base import Batch, Example, Model

if TYPE_CHECKING:
    import datasets
    import torch

_WIDTH, _HEIGHT = 60, 48
_EXAMPLES = 16


class ImageMultilabel(ClassSetTask):
    """Any number of classes per image: a photo of a street, and what is to be seen in it."""

    class Config(ChoicesConfig):
        """What a recipe says under `task:`."""

    modality = "image"
    needs_size = False
    augmentations = OF_CLASSES
    suggested_checkpoint = "google/vit-base-patch16-224"
    small_network = {
        "model_type": "resnet",
        "hidden_sizes": [32, 64],
        "depths": [1, 1],
        "layer_type": "basic",
    }
    object_name = "image"

    @override
    def label_config(self) -> str:
        return f'<View>\n  <Image name="image" value="$image" zoom="true"/>\n{self.choices()}\n</View>'

    @override
    def task_data(self, item: Item, address: str | None) -> dict[str, Any]:
        if address is None:
            raise ValueError("an image task needs the image's address")
        return {"image": address}

    @override
    def features(self) -> datasets.Features:
        import datasets

        return datasets.Features({"image": datasets.Image(), **self.labels_features()})

    @override
    def model(
        self,
        checkpoint: str | Path | Mapping[str, Any],
        *,
        texts: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> Model:
        return image_model(checkpoint, self.classes, settings, problem="multi_label_classification")

    @override
    def prepare(self, model: Model, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Rows with `pixel_values`, uint8 `(3, S, S)`, where the image was."""
        return [
            {**self.carried(row), "pixel_values": prepare_image(row["image"], model.processor)}
            for row in rows
        ]

    @override
    def batch(self, rows: Sequence[Mapping[str, Any]], model: Model) -> Batch:
        """`pixel_values` uint8 `(B, 3, S, S)`; `normalize` makes them floats."""
        return Batch({"pixel_values": stacked(rows, "pixel_values")}, self.targets_of(rows), keys_of(rows))

    @override
    def augment(
        self,
        batch: Batch,
        model: Model,
        generator: torch.Generator,
        options: AugmentationOptions | None = None,
    ) -> Batch:
        return augment_classes(batch, generator, options, len(self.classes))

    @override
    def normalize(self, batch: Batch, model: Model) -> Batch:
        pixels = normalize_pixels(batch.inputs["pixel_values"], model.processor)
        return replace(batch, inputs={"pixel_values": pixels})

    @classmethod
    @override
    def example_config(cls) -> dict[str, Any]:
        return {"kind": "image-multilabel", "classes": ["person", "vehicle", "animal"]}

    @override
    def examples(self) -> list[Example[list[str]]]:
        """A strip of its own in an own colour for each class of the image; the first image has none."""
        return [_example(self.classes, variant) for variant in range(_EXAMPLES)]

    @override
    def example_model(self) -> Model:
        """A tiny network with fresh weights, which learns `examples` in a few steps."""
        tiny = {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
        return self.model({"from-config": {**tiny, "layer_type": "basic"}}, settings={"image_size": 32})


def _example(classes: Sequence[str], variant: int) -> Example[list[str]]:
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (_WIDTH, _HEIGHT), (255 - variant, 240, 235))
    draw = ImageDraw.Draw(picture)
    strip = _HEIGHT / len(classes)
    target = []
    for number, name in enumerate(classes):
        # The bits of the variant tell which classes there are.
        if variant >> number % 4 & 1:
            target.append(name)
            draw.rectangle((8, number * strip + 1, 52, (number + 1) * strip - 1), fill=colour(number))
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
        width=_WIDTH,
        height=_HEIGHT,
    )
    return Example(item, target, content)
