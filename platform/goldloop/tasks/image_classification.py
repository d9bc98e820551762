"""`kind: image-classification`: one class per image."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from goldloop.records import Item, content_key
from goldloop.tasks._augmentation import OF_CLASSES, AugmentationOptions
from goldloop.tasks._images import image_model, normalize_pixels, prepare_image
from goldloop.tasks._rows import keys_of, stacked
from goldloop.tasks._single_choice import ChoiceConfig, ClassTask, carried, targets_of
from goldloop.tasks._varied_batches import augment_classes
from goldloop.tasks.base import Batch, Example, Model

if TYPE_CHECKING:
    import datasets
    import torch

_SIDE = 48
_EXAMPLES_PER_CLASS = 6


class ImageClassification(ClassTask):
    """One class per image: a photo of a hand sign, and which sign it is."""

    class Config(ChoiceConfig):
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

        return datasets.Features({"image": datasets.Image(), "label": self.class_features()})

    @override
    def model(
        self,
        checkpoint: str | Path | Mapping[str, Any],
        *,
        texts: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> Model:
        return image_model(checkpoint, self.classes, settings)

    @override
    def prepare(self, model: Model, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Rows with `pixel_values`, uint8 `(3, S, S)`, where the image was."""
        return [
            {**carried(row), "pixel_values": prepare_image(row["image"], model.processor)} for row in rows
        ]

    @override
    def batch(self, rows: Sequence[Mapping[str, Any]], model: Model) -> Batch:
        """`pixel_values` uint8 `(B, 3, S, S)`; `normalize` makes them floats."""
        return Batch({"pixel_values": stacked(rows, "pixel_values")}, targets_of(rows), keys_of(rows))

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
    def example_config(cls) -> dict[str, Any]:
        """A `task:` section of a recipe that works."""
        return {"kind": "image-classification", "classes": ["circle", "square", "triangle"]}

    @override
    def examples(self) -> list[Example[str]]:
        """A shape per class, each class in a colour of its own."""
        return [
            _example(name, number, len(self.classes), variant)
            for number, name in enumerate(self.classes)
            for variant in range(_EXAMPLES_PER_CLASS)
        ]

    def example_model(self) -> Model:
        """A tiny network with fresh weights, which learns `examples` in a few steps."""
        tiny = {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
        return self.model({"from-config": {**tiny, "layer_type": "basic"}}, settings={"image_size": 32})


def _example(name: str, number: int, classes: int, variant: int) -> Example[str]:
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (_SIDE, _SIDE), (235, 235, 235 - 4 * variant))
    draw = ImageDraw.Draw(picture)
    red, green, blue = colorsys.hsv_to_rgb(number / classes, 0.9, 0.8)
    colour = (round(255 * red), round(255 * green), round(255 * blue))
    left, top, size = 4 + 2 * variant, 12 - 2 * variant, 26 + variant
    box = (left, top, left + size, top + size)
    if number % 3 == 0:
        draw.ellipse(box, fill=colour)
    elif number % 3 == 1:
        draw.rectangle(box, fill=colour)
    else:
        corners = [(left, top + size), (left + size, top + size), (left + size // 2, top)]
        draw.polygon(corners, fill=colour)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    content = buffer.getvalue()
    key = content_key(content)
    item = Item(
        key=key,
        modality="image",
        uri=f"example:{number}-{variant}",
        group=key,
        source="0:examples",
        media_type="image/png",
        width=_SIDE,
        height=_SIDE,
    )
    return Example(item, name, content)
