"""`kind: instance-segmentation`: each object with its outline or its pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from goldloop.errors import AnnotationError, ItemError
from goldloop.records import Item
from goldloop.tasks import _coco_metrics, _matching
from goldloop.tasks._augmentation import OF_OBJECTS, AugmentationOptions
from goldloop.tasks._detector_task import DetectorTask, DetectorTaskConfig, example_picture
from goldloop.tasks._detectors import Found, batch_of, detector
from goldloop.tasks._geometry import size_of
from goldloop.tasks._instance_masks import (
    Instance,
    Instances,
    in_square,
    mask_of,
    merged,
    plain,
    shape_overlaps,
    shapes_of,
    spread,
    unpacked,
    upright_box,
)
from goldloop.tasks._instance_regions import decode_instance, encode_instance, parse_instance
from goldloop.tasks._letterbox import letterbox
from goldloop.tasks._masks import to_counts
from goldloop.tasks._painted_regions import IMAGE, drawing_tag
from goldloop.tasks._regions import colour
from goldloop.tasks._varied_batches import augment_objects
from goldloop.tasks.base import Batch, ConsensusPolicy, Example, Model

if TYPE_CHECKING:
    import datasets
    import torch
    from PIL import Image

_SIDE = 64
_EXAMPLES = 8


class InstanceSegmentation(DetectorTask[Instances]):
    """Each object for itself: the parts on a conveyor belt, with the outline of each.

    People draw polygons, which are kept corner by corner, or paint with the brush; a brush region is one
    object however many parts and holes it has. Objects may overlap. None is an answer: nothing is there.
    """

    class Config(DetectorTaskConfig):
        """What a recipe says under `task:`."""

    config: Config
    architecture = "mask-rcnn"
    # Hub checkpoints that give a mask for each object are of another make than torchvision's detectors.
    augmentations = OF_OBJECTS
    suggested_checkpoint = ""
    small_network = {
        "model_type": "torchvision-detector", "architecture": "mask-rcnn", "backbone": "resnet18",
        "channels": 64,
    }  # fmt: skip

    @override
    def label_config(self) -> str:
        lines = ["<View>", f'  <Image name="{IMAGE}" value="$image" zoom="true" zoomControl="true"/>']
        lines += drawing_tag("polygon", self.classes) + drawing_tag("brush", self.classes)
        return "\n".join([*lines, "</View>"])

    @override
    def parse(self, value: Any, item: Item) -> Instances:
        where = f"item {item.key}"
        if not (
            isinstance(value, Mapping)
            and {"width", "height", "objects"} <= set(value)
            and isinstance(value["objects"], list | tuple)
        ):
            raise AnnotationError(
                "objects are given with the size of their image",
                where=where,
                found=repr(value)[:80],
                expected='{"width": W, "height": H, "objects": [{"label": CLASS, "polygon": [[x, y], ...]}]}',
            )
        width, height = size_of(item)
        if (value["width"], value["height"]) != (width, height):
            raise AnnotationError(
                "objects of an image of another size",
                where=where,
                found=f"{value['width']!r} x {value['height']!r}",
                expected=f"{width} x {height}, the upright image",
            )
        objects = [
            parse_instance(entry, item, self.known_class, f"{where}, object {place}")
            for place, entry in enumerate(value["objects"])
        ]
        return self._target(item, objects)

    @override
    def decode(self, results: Sequence[Mapping[str, Any]], item: Item) -> Instances:
        return self._target(item, [decode_instance(region, item, self.only_class) for region in results])

    @override
    def encode(self, target: Instances, item: Item) -> list[dict[str, Any]]:
        shown = self._shown(target)["objects"]
        for instance in shown:
            self.class_id(instance["label"], f"item {item.key}")
        return [encode_instance(instance, place, item) for place, instance in enumerate(shown)]

    @override
    def features(self) -> datasets.Features:
        """The size of the image and its objects; of `polygon` and `counts` one is empty."""
        import datasets

        polygon = datasets.List(datasets.List(datasets.Value("float64")))
        instance = {"label": self.class_features(), "polygon": polygon, "counts": datasets.Value("string")}
        size = {"width": datasets.Value("int32"), "height": datasets.Value("int32")}
        return datasets.Features({"image": datasets.Image(), **size, "objects": datasets.List(instance)})

    @override
    def to_row(self, target: Instances) -> dict[str, Any]:
        objects = [
            {
                "label": self.class_id(instance["label"]),
                "polygon": instance.get("polygon", []),
                "counts": instance.get("counts", ""),
            }
            for instance in target["objects"]
        ]
        return {"width": target["width"], "height": target["height"], "objects": objects}

    @override
    def from_row(self, row: Mapping[str, Any]) -> Instances:
        objects: list[Instance] = []
        for entry in row["objects"]:
            instance: Instance = {"label": self.class_name(entry["label"], row.get("key"))}
            if entry["counts"]:
                instance["counts"] = entry["counts"]
            else:
                instance["polygon"] = [[float(x), float(y)] for x, y in entry["polygon"]]
            objects.append(instance)
        return {"width": int(row["width"]), "height": int(row["height"]), "objects": objects}

    @override
    def agreement(self, a: Instances, b: Instances) -> float:
        """By the overlap of masks; 0 for answers of other sizes."""
        if not _of_one_size((a, b)):
            return 0.0
        return _matching.agreement(shapes_of(self._shown(a)), shapes_of(self._shown(b)), shape_overlaps)

    @override
    def consensus(self, targets: Sequence[Instances], policy: ConsensusPolicy) -> Instances | None:
        """The objects that enough annotators have drawn, each with the pixels that more than half gave it."""
        if not targets or not _of_one_size(targets):
            return None
        answers = [shapes_of(target) for target in targets]
        found = _matching.consensus(answers, policy, shape_overlaps, self.config.overlap, merged)
        if found is None:
            return None
        return {**targets[0], "objects": self._sorted([plain(shape) for shape in found])}

    @override
    def model(
        self,
        checkpoint: str | Path | Mapping[str, Any],
        *,
        texts: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> Model:
        return self.checked(detector(checkpoint, self.classes, settings))

    @override
    def prepare(self, model: Model, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Rows with `pixel_values` uint8 `(3, S, S)`, `frame`, and boxes and packed masks in the square."""
        return [self._prepared(model, row) for row in rows]

    def _prepared(self, model: Model, row: Mapping[str, Any]) -> dict[str, Any]:
        import numpy

        square, frame = letterbox(row["image"], model.processor)
        prepared: dict[str, Any] = {"pixel_values": square, "frame": frame}
        if row.get("key") is not None:
            prepared["key"] = row["key"]
        if row.get("objects") is None:
            return prepared
        target = self.from_row(row)
        if (target["width"], target["height"]) != (frame[4], frame[5]):
            raise ItemError(
                "objects of an image of another size",
                where=row.get("key"),
                found=f"{target['width']} x {target['height']}",
                expected=f"{frame[4]:g} x {frame[5]:g}",
            )
        boxes, masks = in_square(target, frame, model.processor.size)
        labels = [entry["label"] for entry in row["objects"]]
        return {**prepared, "boxes": boxes, "class_labels": numpy.array(labels, numpy.int64), "masks": masks}

    @override
    def batch(self, rows: Sequence[Mapping[str, Any]], model: Model) -> Batch:
        batch = batch_of(rows, ["masks"])
        for target in batch.targets or ():
            target["masks"] = unpacked(target["masks"], model.processor.size)
        return batch

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
    def answer(self, found: Found) -> Instances:
        width, height = (int(side) for side in found.frame[4:6])
        objects: list[Instance] = []
        for box, score, label, shares in zip(
            found.boxes.tolist(), found.scores, found.labels, found.more["masks"], strict=True
        ):
            mask = spread(shares[0], box, width, height)
            if mask.any():
                instance: Instance = {
                    "label": self.classes[label], "counts": to_counts(mask),
                    "score": round(min(score, 1.0), 6),
                }  # fmt: skip
                objects.append(instance)
        return {"width": width, "height": height, "objects": self._sorted(objects)}

    @override
    def tally(self, predicted: Instances, expected: Instances) -> Any:
        return _coco_metrics.tally(shapes_of(predicted), shapes_of(expected), self.classes, shape_overlaps)

    @override
    def per_class(
        self, predicted: Sequence[Instances], expected: Sequence[Instances]
    ) -> dict[str, dict[str, float]]:
        answers = [shapes_of(self._shown(target)) for target in predicted]
        truth = [shapes_of(target) for target in expected]
        return _matching.per_class(answers, truth, self.classes, shape_overlaps, self.config.overlap)

    @override
    def classes_in(self, target: Instances) -> Sequence[str]:
        return [instance["label"] for instance in target["objects"]]

    @override
    def boxes_of(self, target: Instances) -> list[tuple[str, tuple[float, float, float, float], float]]:
        width, height = target["width"], target["height"]
        return [
            (each["label"], upright_box(each, width, height), each.get("score", 1.0))
            for each in target["objects"]
        ]

    @override
    def describe(self, target: Instances) -> str:
        return _matching.counted(self.classes_in(self._shown(target)))

    @override
    def drawn(self, target: Instances, picture: Image.Image, scale: float) -> Image.Image | None:
        from PIL import Image, ImageChops, ImageFilter

        copy = picture.copy()
        for instance in self._shown(target)["objects"]:
            mask = mask_of(instance, target["width"], target["height"])
            area = Image.fromarray(mask).convert("L").resize(picture.size, Image.Resampling.NEAREST)
            edge = ImageChops.difference(area, area.filter(ImageFilter.MinFilter(5)))
            tone = colour(self.class_id(instance["label"]))
            copy.paste(tone, mask=ImageChops.lighter(area.point(lambda level: level // 3), edge))
        return copy

    def _shown(self, target: Instances) -> Instances:
        return {**target, "objects": [each for each in target["objects"] if self.is_shown(each)]}

    def _target(self, item: Item, objects: Sequence[Instance]) -> Instances:
        width, height = size_of(item)
        return {"width": width, "height": height, "objects": self._sorted(objects)}

    def _sorted(self, objects: Sequence[Instance]) -> list[Instance]:
        def order(instance: Instance) -> tuple[Any, ...]:
            place = (instance.get("polygon", []), instance.get("counts", ""))
            return (self.class_id(instance["label"]), *place, instance.get("score", 1.0))

        return sorted(objects, key=order)

    @classmethod
    def example_config(cls) -> dict[str, Any]:
        """A `task:` section of a recipe that works."""
        return {"kind": "instance-segmentation", "classes": ["ring", "wedge"]}

    def example_model(self) -> Model:
        """A tiny network with fresh weights, which learns `examples` in a few steps."""
        small = {**self.small_network, "channels": 32}
        return self.model({"from-config": small}, settings={"image_size": 64})

    @override
    def examples(self) -> list[Example[Instances]]:
        """Rings, painted, and wedges, drawn; the last picture has none."""
        return [self._example(variant) for variant in range(_EXAMPLES)]

    def _example(self, variant: int) -> Example[Instances]:
        import numpy
        from PIL import Image

        width, height = _SIDE, _SIDE - 8
        down, right = numpy.mgrid[:height, :width]
        distance = (right - 18 - 2 * variant) ** 2 + (down - 18) ** 2
        ring = (distance < 13**2) & (distance > 4**2)
        wedge = [[34.0 - variant, 52.0], [60.25 - variant, 30.5], [58.0, 53.75]]
        objects: list[Instance] = [
            {"label": self.classes[0], "counts": to_counts(ring)},
            {"label": self.classes[-1], "polygon": wedge},
        ]
        objects = objects[variant % 3 // 2 : 2 - variant % 3 % 2] if variant < _EXAMPLES - 1 else []
        picture = numpy.full((height, width, 3), 225 - 3 * variant, dtype=numpy.uint8)
        for instance in objects:
            shade = (200, 50, 30) if instance["label"] == self.classes[0] else (30, 70, 190)
            picture[mask_of(instance, width, height)] = shade
        item, content = example_picture(Image.fromarray(picture), variant)
        return Example(item, self._target(item, objects), content)


def _of_one_size(targets: Sequence[Instances]) -> bool:
    return len({(target["width"], target["height"]) for target in targets}) == 1
