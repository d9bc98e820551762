"""`kind: image-captioning`: a text written about each image."""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
from typing_extensions import override

from goldloop.records import Item, content_key
from goldloop.tasks._adapters import plain
from goldloop.tasks._augmentation import OF_IMAGES, AugmentationOptions
from goldloop.tasks._captioners import captioner, opening_ids
from goldloop.tasks._free_text import CONTROL, FreeTextConfig, FreeTextTask
from goldloop.tasks._generation import (
    answer_ids,
    continued_targets,
    decoder_targets,
    has_encoder,
    rectangle,
    without_cache,
)
from goldloop.tasks._images import normalize_pixels, prepare_image
from goldloop.tasks._rows import keys_of, stacked
from goldloop.tasks._varied_batches import augment_images
from goldloop.tasks.base import Batch, Example, Model

if TYPE_CHECKING:
    import datasets
    import torch

_SIDE = 32
_COLOURS = {"red": (220, 40, 40), "green": (40, 160, 60), "blue": (40, 70, 220)}
_SHAPES = ("circle", "square")

# Images are prepared in threads, and a fast tokenizer must not be used from two at once.
_TOKENIZING = threading.Lock()


class ImageCaptioning(FreeTextTask):
    """A text about each image: a photo from a shop's catalogue, and its description."""

    class Config(FreeTextConfig):
        """What a recipe says under `task:`."""

        prompt: str = ""
        """What every caption goes on from, such as `a photo of `; GIT and BLIP alone read it."""

    config: Config
    modality = "image"
    needs_size = False
    augmentations = OF_IMAGES
    suggested_checkpoint = "microsoft/git-base"
    small_network = {
        "model_type": "git",
        "hidden_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 256,
        "max_position_embeddings": 256,
        "vocab_size": 4000,
        "vision_config": {
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 96,
            "patch_size": 16,
        },
    }
    object_name = "image"

    @override
    def label_config(self) -> str:
        shown = '  <Image name="image" value="$image" zoom="true"/>'
        return f"<View>\n{shown}\n{self.text_area()}\n</View>"

    @override
    def task_data(self, item: Item, address: str | None) -> dict[str, Any]:
        if address is None:
            raise ValueError("an image task needs the image's address")
        return {"image": address}

    @override
    def features(self) -> datasets.Features:
        import datasets

        return datasets.Features({"image": datasets.Image(), CONTROL: self.answer_features()})

    @override
    def training_texts(self, rows: datasets.Dataset) -> Sequence[str]:
        return list(rows[CONTROL][:])

    @override
    def model(
        self,
        checkpoint: str | Path | Mapping[str, Any],
        *,
        texts: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> Model:
        config = self.config
        return captioner(checkpoint, texts, settings, config.prompt, config.max_new_tokens)

    @override
    def prepare(self, model: Model, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Rows with `pixel_values`, uint8 `(3, S, S)`, for the image and `labels` for the answer."""
        prepared = []
        for row in rows:
            kept = {"key": row["key"]} if row.get("key") is not None else {}
            kept |= {"pixel_values": prepare_image(row["image"], model.processor.images)}
            cut = 0
            if row.get(CONTROL) is not None:
                with _TOKENIZING:
                    [(labels, cut)] = answer_ids(model, [row[CONTROL]], special=has_encoder(model))
                kept |= {"labels": numpy.asarray(labels, dtype=numpy.int64)}
            prepared.append({**kept, "truncated_tokens": cut})
        return prepared

    @override
    def batch(self, rows: Sequence[Mapping[str, Any]], model: Model) -> Batch:
        """`pixel_values` uint8 `(B, 3, S, S)`, and what an answer goes on from, int64 `(B, T)`."""
        import torch

        network = plain(model.network)
        inputs = {"pixel_values": stacked(rows, "pixel_values")}
        targets: dict[str, Any] | None = None
        most = model.settings["max_new_tokens"]
        answers = [row["labels"] for row in rows] if "labels" in rows[0] else None
        if has_encoder(model):
            targets = decoder_targets(network, answers, most) if answers else None
        else:
            with _TOKENIZING:
                opening = opening_ids(model)
            padding = model.processor.tokenizer.pad_token_id
            # BLIP drops the last token of what it is to go on from.
            dropped = [padding] if network.config.model_type == "blip" else []
            ids, _ = rectangle([[*opening, *dropped]] * len(rows), padding, 0)
            inputs |= {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
            if answers:
                targets = continued_targets([opening] * len(rows), answers, padding, len(opening) + most)
        if targets is not None:
            targets["inputs"].update(without_cache(network))
        return Batch(inputs, targets, keys_of(rows))

    @override
    def augment(
        self,
        batch: Batch,
        model: Model,
        generator: torch.Generator,
        options: AugmentationOptions | None = None,
    ) -> Batch:
        return augment_images(batch, generator, options)

    @override
    def normalize(self, batch: Batch, model: Model) -> Batch:
        pixels = normalize_pixels(batch.inputs["pixel_values"], model.processor.images)
        return replace(batch, inputs={**batch.inputs, "pixel_values": pixels})

    @classmethod
    def example_config(cls) -> dict[str, Any]:
        """A `task:` section of a recipe that works."""
        return {"kind": "image-captioning", "max_new_tokens": 32}

    @override
    def examples(self) -> list[Example[str]]:
        """Shapes in colours, and what they are; the last has no caption."""
        pairs = [(colour, shape) for colour in _COLOURS for shape in _SHAPES]
        captions = [f"A {colour} {shape}. 東京 \n  “é” 😀" for colour, shape in pairs]
        captions[-1] = ""
        return [_example(*pair, caption) for pair, caption in zip(pairs, captions, strict=True)]

    def example_model(self) -> Model:
        """A tiny network with fresh weights, which learns `examples` in a few steps."""
        tiny = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
        from_config = {
            "model_type": "git",
            **tiny,
            "max_position_embeddings": 64,
            "hidden_dropout_prob": 0.0,
            "vocab_size": 300,
            "vision_config": {**tiny, "image_size": _SIDE, "patch_size": 16},
        }
        texts = [example.target for example in self.examples()]
        return self.model({"from-config": from_config}, texts=texts, settings={"image_size": _SIDE})


def _example(colour: str, shape: str, caption: str) -> Example[str]:
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (_SIDE, _SIDE), (235, 235, 235))
    draw = ImageDraw.Draw(picture)
    box = (6, 6, _SIDE - 7, _SIDE - 7)
    if shape == "circle":
        draw.ellipse(box, fill=_COLOURS[colour])
    else:
        draw.rectangle(box, fill=_COLOURS[colour])
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    content = buffer.getvalue()
    key = content_key(content)
    item = Item(
        key=key,
        modality="image",
        uri=f"example:{colour}-{shape}",
        group=key,
        source="0:examples",
        media_type="image/png",
        width=_SIDE,
        height=_SIDE,
    )
    return Example(item, caption, content)
