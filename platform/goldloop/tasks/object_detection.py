"""`kind: object-detection`: boxes around things, upright or turned."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field
from typing_extensions import override

from goldloop.errors import AnnotationError
from goldloop.records import Item, Prediction, content_key
from goldloop.tasks import _coco_metrics, _matching
from goldloop.tasks._augmentation import OF_OBJECTS, AugmentationOptions
from goldloop.tasks._classes import ClassesConfig, ClassesTask
from goldloop.tasks._detectors import (
    Found,
    batch_of,
    confidence_of,
    detector,
    found_in,
    training_labels,
)
from goldloop.tasks._geometry import (
    Box,
    box_overlaps,
    box_value,
    check_frame,
    corners,
    degrees,
    enclosing,
    image_region_fields,
    make_box,
    number,
    pixels,
    value_box,
)
from goldloop.tasks._images import normalize_pixels
from goldloop.tasks._letterbox import into_square, letterbox
from goldloop.tasks._regions import colour, labels_tag, new_region, region_id, region_value
from goldloop.tasks._varied_batches import augment_objects
from goldloop.tasks.base import PLAIN_LOSS, Batch, ConsensusPolicy, Example, LossOptions, Model

if TYPE_CHECKING:
    import datasets
    import torch
    from PIL import Image

CONTROL = "box"
_KIND = "rectanglelabels"
_PLACE = ("x", "y", "width", "height", "rotation")
_SIDE = 64
_EXAMPLES = 8


class ObjectDetection(ClassesTask[list[Box]]):
    """Boxes around things: the cells of a blood smear, and of which kind each is.

    Networks learn and find upright boxes; of a turned one they learn the upright box around it. No box is an
    answer: nothing is there.
    """

    class Config(ClassesConfig):
        """What a recipe says under `task:`."""

        rotated: bool = False
        """Whether annotators may turn boxes."""
        confidence: float = Field(default=0.5, ge=0, le=1)
        """What a model is less sure of is not shown to annotators, nor counted by class."""
        overlap: float = Field(default=0.5, gt=0, le=1)
        """From which overlap (intersection over union) on two annotators mean the same thing."""
        mirror: bool = False
        """Whether training mirrors half of the pictures; not where left and right differ in meaning."""

    config: Config
    modality = "image"
    metric = "map"
    loss_options = frozenset()
    augmentations = OF_OBJECTS
    suggested_checkpoint = "PekingU/rtdetr_v2_r18vd"
    small_network = {
        "model_type": "torchvision-detector", "architecture": "fcos", "backbone": "resnet18", "channels": 64,
    }  # fmt: skip

    @override
    def label_config(self) -> str:
        lines = ["<View>", '  <Image name="image" value="$image" zoom="true" zoomControl="true"/>']
        turning = {"canRotate": str(self.config.rotated).lower()}
        return "\n".join(
            [*lines, *labels_tag("RectangleLabels", CONTROL, "image", self.classes, turning), "</View>"]
        )

    @override
    def task_data(self, item: Item, address: str | None) -> dict[str, Any]:
        if address is None:
            raise ValueError("an image task needs the image's address")
        return {"image": address}

    @override
    def parse(self, value: Any, item: Item) -> list[Box]:
        where = f"item {item.key}"
        if not isinstance(value, list | tuple) or not all(isinstance(entry, Mapping) for entry in value):
            raise AnnotationError(
                "boxes are given as a list", where=where, found=repr(value)[:80], expected="[{label, x, ...}]"
            )
        boxes = []
        for place, entry in enumerate(value):
            spot = f"{where}, box {place}"
            given = [number({"rotation": 0, **entry}, name, spot) for name in _PLACE]
            boxes.append(make_box(self.known_class(entry.get("label"), spot), given, item, spot))
        return self._canonical(boxes)

    @override
    def decode(self, results: Sequence[Mapping[str, Any]], item: Item) -> list[Box]:
        boxes = []
        for region in results:
            where = f"item {item.key}, region {region_id(region)}"
            value = region_value(region, CONTROL, "image", _KIND, where)
            check_frame(region, item, where)
            boxes.append(value_box(self.only_class(value.get(_KIND), where), value, item, where))
        return self._canonical(boxes)

    @override
    def encode(self, target: list[Box], item: Item) -> list[dict[str, Any]]:
        regions = []
        for place, box in enumerate(self._shown(target)):
            self.class_id(box["label"], f"item {item.key}")
            value = {**box_value(box, item), _KIND: [box["label"]]}
            fields = image_region_fields(item)
            if "score" in box:
                fields["score"] = box["score"]
            regions.append(new_region(item, place, CONTROL, "image", _KIND, value, **fields))
        return regions

    @override
    def features(self) -> datasets.Features:
        import datasets

        places = {name: datasets.Value("float64") for name in _PLACE}
        boxes = datasets.List({"label": self.class_features(), **places})
        return datasets.Features({"image": datasets.Image(), "boxes": boxes})

    @override
    def to_row(self, target: list[Box]) -> dict[str, Any]:
        places: list[dict[str, Any]] = [dict(box) for box in target]
        return {
            "boxes": [
                {"label": self.class_id(box["label"]), **{name: box[name] for name in _PLACE}}
                for box in places
            ]
        }

    @override
    def from_row(self, row: Mapping[str, Any]) -> list[Box]:
        where = row.get("key")
        return [
            {
                "label": self.class_name(box["label"], where),
                "x": box["x"], "y": box["y"], "width": box["width"], "height": box["height"],
                "rotation": box["rotation"],
            }
            for box in row["boxes"]
        ]  # fmt: skip

    @override
    def agreement(self, a: list[Box], b: list[Box]) -> float:
        return _matching.agreement(self._shown(a), self._shown(b), box_overlaps)

    @override
    def consensus(self, targets: Sequence[list[Box]], policy: ConsensusPolicy) -> list[Box] | None:
        found = _matching.consensus(targets, policy, box_overlaps, self.config.overlap, _merged)
        return None if found is None else self._canonical(found)

    @override
    def model(
        self,
        checkpoint: str | Path | Mapping[str, Any],
        *,
        texts: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> Model:
        return detector(checkpoint, self.classes, settings)

    @override
    def prepare(self, model: Model, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Rows with `pixel_values` uint8 `(3, S, S)`, `frame`, and the boxes in pixels of the square."""
        return [self._prepared(model, row) for row in rows]

    def _prepared(self, model: Model, row: Mapping[str, Any]) -> dict[str, Any]:
        import numpy

        square, frame = letterbox(row["image"], model.processor)
        prepared = {"pixel_values": square, "frame": frame}
        if row.get("key") is not None:
            prepared["key"] = row["key"]
        if row.get("boxes") is None:
            return prepared
        places = [enclosing(box) for box in self.from_row(row)]
        # Of a turned box that sticks out of the image, networks learn what is in it.
        points = numpy.array(places, dtype=numpy.float64).reshape(-1, 2, 2).clip(0, frame[4:6])
        points = into_square(points, frame)
        labels = [box["label"] for box in row["boxes"]]
        return {
            **prepared,
            "boxes": points.reshape(-1, 4).astype(numpy.float32),
            "class_labels": numpy.array(labels, dtype=numpy.int64),
        }

    @override
    def batch(self, rows: Sequence[Mapping[str, Any]], model: Model) -> Batch:
        return batch_of(rows)

    @override
    def augment(
        self,
        batch: Batch,
        model: Model,
        generator: torch.Generator,
        options: AugmentationOptions | None = None,
    ) -> Batch:
        return augment_objects(batch, generator, options, mirror=self.config.mirror)

    @override
    def normalize(self, batch: Batch, model: Model) -> Batch:
        return replace(
            batch, inputs={"pixel_values": normalize_pixels(batch.inputs["pixel_values"], model.processor)}
        )

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
    def predict(self, model: Model, outputs: Any) -> list[Prediction[list[Box]]]:
        return [
            Prediction(
                target=self._boxes(found), confidence=confidence_of(found.scores, self.config.confidence)
            )
            for found in outputs
        ]

    def _boxes(self, found: Found) -> list[Box]:
        boxes: list[Box] = []
        for place, score, label in zip(found.boxes.tolist(), found.scores, found.labels, strict=True):
            left, top, right, bottom = (pixels(value) for value in place)
            box: Box = {
                "label": self.classes[label], "x": left, "y": top,
                "width": pixels(right - left), "height": pixels(bottom - top), "rotation": 0.0,
                "score": round(min(score, 1.0), 6),
            }  # fmt: skip
            if box["width"] > 0 and box["height"] > 0:
                boxes.append(box)
        return self._canonical(boxes)

    @override
    def tally(self, predicted: list[Box], expected: list[Box]) -> Any:
        return _coco_metrics.tally(predicted, expected, self.classes, box_overlaps)

    @override
    def summarize(self, tallies: Sequence[Any]) -> dict[str, float]:
        """COCO's mean average precision over overlaps of 0.5 to 0.95, at 0.5, at 0.75, and recall."""
        return _coco_metrics.summarize(tallies)

    @override
    def per_class(
        self, predicted: Sequence[list[Box]], expected: Sequence[list[Box]]
    ) -> dict[str, dict[str, float]]:
        answers = [self._shown(boxes) for boxes in predicted]
        return _matching.per_class(answers, expected, self.classes, box_overlaps, self.config.overlap)

    @override
    def classes_in(self, target: list[Box]) -> Sequence[str]:
        return [box["label"] for box in target]

    @override
    def boxes_of(self, target: list[Box]) -> list[tuple[str, tuple[float, float, float, float], float]]:
        return [(box["label"], enclosing(box), box.get("score", 1.0)) for box in target]

    @override
    def describe(self, target: list[Box]) -> str:
        return _matching.counted(self.classes_in(self._shown(target)))

    @override
    def drawn(self, target: list[Box], picture: Image.Image, scale: float) -> Image.Image | None:
        from PIL import ImageDraw

        copy = picture.copy()
        draw = ImageDraw.Draw(copy)
        for box in self._shown(target):
            line = [tuple(point) for point in (corners(box) * scale).tolist()]
            draw.line([*line, line[0]], fill=colour(self.class_id(box["label"])), width=2)
        return copy

    def _shown(self, boxes: Sequence[Box]) -> list[Box]:
        """What annotators are shown: all that people drew, and what a model is sure enough of."""
        return [box for box in boxes if box.get("score", 1.0) >= self.config.confidence]

    def _canonical(self, boxes: Sequence[Box]) -> list[Box]:
        def order(box: Box) -> tuple[Any, ...]:
            place = (box["x"], box["y"], box["width"], box["height"], box["rotation"])
            return (self.class_id(box["label"]), *place, box.get("score", 1.0))

        return sorted(boxes, key=order)

    @classmethod
    def example_config(cls) -> dict[str, Any]:
        """A `task:` section of a recipe that works."""
        return {"kind": "object-detection", "classes": ["disc", "tile"]}

    def example_model(self) -> Model:
        """A tiny network with fresh weights, which learns `examples` in a few steps."""
        return self.model({"from-config": self.small_network}, settings={"image_size": 64})

    @override
    def examples(self) -> list[Example[list[Box]]]:
        """Discs and tiles on grey: two, one, or none."""
        return [self._example(variant) for variant in range(_EXAMPLES)]

    def _example(self, variant: int) -> Example[list[Box]]:
        from PIL import Image, ImageDraw

        picture = Image.new("RGB", (_SIDE, _SIDE - 8), (200, 200, 190 + variant))
        draw = ImageDraw.Draw(picture)
        places = [(4 + 3 * variant, 6, 18, 16), (36 - 2 * variant, 30, 20, 22)][: 2 - variant % 4 // 2]
        boxes: list[Box] = []
        for identity, (x, y, width, height) in enumerate(places if variant != _EXAMPLES - 1 else []):
            label = self.classes[(identity + variant) % len(self.classes)]
            corner = (x, y, x + width - 1, y + height - 1)
            if label == self.classes[0]:
                draw.ellipse(corner, fill=(200, 40, 40))
            else:
                draw.rectangle(corner, fill=(30, 60, 200))
            box: Box = {
                "label": label, "x": float(x), "y": float(y), "width": float(width),
                "height": float(height), "rotation": 0.0,
            }  # fmt: skip
            boxes.append(box)
        buffer = io.BytesIO()
        picture.save(buffer, format="PNG")
        key = content_key(buffer.getvalue())
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
        return Example(item, self._canonical(boxes), buffer.getvalue())


def _merged(boxes: Sequence[Box]) -> Box:
    """One box of several that are the same: the mean, or the middle one where they are turned."""
    ordered = sorted(boxes, key=repr)
    if len({repr(box) for box in ordered}) == 1:
        return ordered[0]
    if any(box["rotation"] for box in ordered):
        # Angles of boxes that look alike can differ by quarter turns, so they have no mean.
        totals = box_overlaps(ordered, ordered).sum(axis=1)
        return ordered[int(totals.argmax())]
    left, top, right, bottom = (
        sum(sides) / len(ordered) for sides in zip(*map(enclosing, ordered), strict=True)
    )
    return {
        "label": ordered[0]["label"], "x": pixels(left), "y": pixels(top),
        "width": pixels(right - left), "height": pixels(bottom - top), "rotation": degrees(0),
    }  # fmt: skip
