"""`kind: semantic-segmentation`: the class of each pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import field_validator
from typing_extensions import override

from goldloop.errors import AnnotationError, ItemError
from goldloop.records import Item, Prediction
from goldloop.tasks._augmentation import OF_PIXELS, AugmentationOptions
from goldloop.tasks._class_maps import (
    MOST_CLASSES,
    VOID,
    SemanticMasks,
    discs_and_bars,
    majority,
    map_of,
    mean_overlap,
    painted,
    target_of,
    void_map,
)
from goldloop.tasks._classes import ClassesConfig, ClassesTask
from goldloop.tasks._detector_task import example_picture
from goldloop.tasks._images import image_model, normalize_pixels, upright_size
from goldloop.tasks._losses import CLASS_LOSS_OPTIONS, pixel_loss
from goldloop.tasks._masks import from_counts
from goldloop.tasks._painted_regions import IMAGE, Tool, brush_region, drawing_tag, read_region, size_of
from goldloop.tasks._pixel_scores import figures_by_class, overall_figures, pixel_confusion
from goldloop.tasks._rows import keys_of, stacked
from goldloop.tasks._semantic_networks import (
    HEAD,
    highest_classes,
    squeeze_image,
    squeeze_map,
)
from goldloop.tasks._varied_batches import augment_maps
from goldloop.tasks.base import PLAIN_LOSS, Batch, ConsensusPolicy, Example, LossOptions, Model, PlaceAnswers

if TYPE_CHECKING:
    import datasets
    import torch
    from PIL import Image

    from goldloop.tasks._class_maps import ClassMap

_SHOWN_CLASSES = 4
_BLOCKS = {"num_encoder_blocks": 2, "depths": [1, 1], "hidden_sizes": [16, 32], "mlp_ratios": [2, 2]}
_ATTENTION = {"num_attention_heads": [1, 2], "patch_sizes": [5, 3], "strides": [2, 2], "sr_ratios": [4, 2]}
_TINY = {"model_type": "segformer", "decoder_hidden_size": 32, **_BLOCKS, **_ATTENTION}
_EXAMPLES = 6


class SemanticSegmentation(ClassesTask[SemanticMasks]):
    """The class of each pixel: a street, and what in it is road, pavement or sky.

    People paint with the brush or draw polygons; where regions overlap, the one drawn later lies on top. What
    they leave out is void: it is neither learned nor scored. A picture that is void as a whole is an answer.
    """

    class Config(ClassesConfig):
        """What a recipe says under `task:`."""

        fewest_classes = 2

        tools: tuple[Tool, ...] = ("brush", "polygon")
        """What people draw with; the brush is always there, for it shows what a model says."""
        mirror: bool = False
        """Whether training mirrors half of the pictures; not where left and right differ in meaning."""

        @field_validator("classes")
        @classmethod
        def _fit_a_byte(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
            if len(classes) > MOST_CLASSES:
                raise ValueError(f"a pixel has one of {MOST_CLASSES} classes at most, found {len(classes)}")
            return classes

        @field_validator("tools")
        @classmethod
        def _have_a_brush(cls, tools: tuple[Tool, ...]) -> tuple[Tool, ...]:
            if "brush" not in tools or len(set(tools)) < len(tools):
                raise ValueError("tools are `[brush]` or `[brush, polygon]`")
            return tools

    config: Config
    modality = "image"
    metric = "miou"
    loss_options = CLASS_LOSS_OPTIONS
    augmentations = OF_PIXELS
    suggested_checkpoint = "nvidia/mit-b0"
    small_network = {
        "model_type": "upernet",
        "hidden_size": 64,
        "use_auxiliary_head": False,
        "backbone_config": {
            "model_type": "resnet",
            "layer_type": "basic",
            "depths": [2, 2, 2, 2],
            "hidden_sizes": [32, 64, 128, 192],
            "embedding_size": 32,
            "out_features": ["stage1", "stage2", "stage3", "stage4"],
        },
    }

    @override
    def label_config(self) -> str:
        lines = ["<View>", f'  <Image name="{IMAGE}" value="$image" zoom="true" zoomControl="true"/>']
        lines += [line for tool in self.config.tools for line in drawing_tag(tool, self.classes)]
        return "\n".join([*lines, "</View>"])

    @override
    def task_data(self, item: Item, address: str | None) -> dict[str, Any]:
        if address is None:
            raise ValueError("an image task needs the image's address")
        return {"image": address}

    @override
    def parse(self, value: Any, item: Item) -> SemanticMasks:
        where = f"item {item.key}"
        if (
            not isinstance(value, Mapping)
            or not {"width", "height", "masks"} <= set(value)
            or not isinstance(value["masks"], Sequence)
        ):
            raise AnnotationError(
                "the classes of an image's pixels are given as masks",
                where=where,
                found=repr(value)[:80],
                expected='{"width": W, "height": H, "masks": [{"label": CLASS, "counts": RLE}]}',
            )
        width, height = size_of(item)
        if (value["width"], value["height"]) != (width, height):
            raise AnnotationError(
                "masks of another size than the image",
                where=where,
                found=f"{value['width']!r} x {value['height']!r}",
                expected=f"{width} x {height}, the upright image",
            )
        pixels = void_map(width, height)
        for number, mask in enumerate(value["masks"]):
            place = f"{where}, mask {number}"
            if not isinstance(mask, Mapping) or not {"label", "counts"} <= set(mask):
                raise AnnotationError(
                    "a mask has a class and its pixels",
                    where=place,
                    found=repr(mask)[:80],
                    expected='{"label": CLASS, "counts": RLE}',
                )
            identity = self.class_id(self.known_class(mask["label"], place))
            pixels[from_counts(mask["counts"], width, height, place)] = identity
        return target_of(pixels, self.classes)

    @override
    def decode(self, results: Sequence[Mapping[str, Any]], item: Item) -> SemanticMasks:
        """The target in a result; a region lies on top of those before it."""
        width, height = size_of(item)
        pixels = void_map(width, height)
        for region in results:
            label, mask = read_region(region, item, self.classes)
            pixels[mask] = self.class_id(label)
        return target_of(pixels, self.classes)

    @override
    def encode(self, target: SemanticMasks, item: Item) -> list[dict[str, Any]]:
        """One brush region per class."""
        width, height, where = target["width"], target["height"], f"item {item.key}"
        return [
            brush_region(
                item,
                number,
                self.known_class(mask["label"], where),
                from_counts(mask["counts"], width, height, where),
            )
            for number, mask in enumerate(target["masks"])
        ]

    @override
    def features(self) -> datasets.Features:
        """The masks' sizes and pixels; counts as in a target."""
        import datasets

        mask = {"label": self.class_features(), "counts": datasets.Value("string")}
        return datasets.Features(
            {
                "image": datasets.Image(),
                "width": datasets.Value("int32"),
                "height": datasets.Value("int32"),
                "masks": datasets.List(mask),
            }
        )

    @override
    def to_row(self, target: SemanticMasks) -> dict[str, Any]:
        masks = [
            {"label": self.class_id(mask["label"]), "counts": mask["counts"]} for mask in target["masks"]
        ]
        return {"width": target["width"], "height": target["height"], "masks": masks}

    @override
    def from_row(self, row: Mapping[str, Any]) -> SemanticMasks:
        return {
            "width": int(row["width"]),
            "height": int(row["height"]),
            "masks": [
                {"label": self.class_name(mask["label"], row.get("key")), "counts": mask["counts"]}
                for mask in row["masks"]
            ],
        }

    @override
    def agreement(self, a: SemanticMasks, b: SemanticMasks) -> float:
        """IoU, averaged over the classes that either answer has; 0 for answers of other sizes."""
        if (a["width"], a["height"]) != (b["width"], b["height"]):
            return 0.0
        return mean_overlap(self._map(a), self._map(b))

    @override
    def consensus(self, targets: Sequence[SemanticMasks], policy: ConsensusPolicy) -> SemanticMasks | None:
        """Each pixel as most annotators have it, void where they are tied; None where all pixels are.

        Who leaves a pixel void says so. `unanimous` wants all answers to be the same.
        """
        if not targets or len({(target["width"], target["height"]) for target in targets}) > 1:
            return None
        if all(target == targets[0] for target in targets):
            return targets[0]
        if policy == "unanimous":
            return None
        agreed = majority([self._map(target) for target in targets])
        return None if agreed is None else target_of(agreed, self.classes)

    @override
    def model(
        self,
        checkpoint: str | Path | Mapping[str, Any],
        *,
        texts: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> Model:
        return image_model(checkpoint, self.classes, settings, HEAD)

    @override
    def prepare(self, model: Model, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Rows with `pixel_values` uint8 `(3, S, S)`, `size` (width, height) and `map` uint8 `(S, S)`."""
        return [self._prepare(row, model.processor.size) for row in rows]

    def _prepare(self, row: Mapping[str, Any], side: int) -> dict[str, Any]:
        prepared: dict[str, Any] = {"key": row["key"]} if row.get("key") is not None else {}
        size = upright_size(row["image"])
        prepared |= {"pixel_values": squeeze_image(row["image"], side), "size": list(size)}
        if row.get("masks") is not None:
            target = self.from_row(row)
            if (target["width"], target["height"]) != size:
                raise ItemError(
                    "masks of another size than the image",
                    where=row.get("key"),
                    found=f"{target['width']} x {target['height']}",
                    expected=f"{size[0]} x {size[1]}",
                )
            prepared["map"] = squeeze_map(self._map(target), side)
        return prepared

    @override
    def batch(self, rows: Sequence[Mapping[str, Any]], model: Model) -> Batch:
        """`pixel_values` uint8 `(B, 3, S, S)`; targets `map` uint8 `(B, S, S)`, 255 where void."""
        known = sum("map" in row for row in rows)
        if 0 < known < len(rows):
            raise ValueError(f"{len(rows) - known} of {len(rows)} rows have no masks")
        return Batch(
            {"pixel_values": stacked(rows, "pixel_values")},
            {"map": stacked(rows, "map")} if known else None,
            keys_of(rows),
            context={"sizes": [(int(row["size"][0]), int(row["size"][1])) for row in rows]},
        )

    @override
    def augment(
        self,
        batch: Batch,
        model: Model,
        generator: torch.Generator,
        options: AugmentationOptions | None = None,
    ) -> Batch:
        return augment_maps(batch, generator, options, mirror=self.config.mirror)

    @override
    def normalize(self, batch: Batch, model: Model) -> Batch:
        pixels = normalize_pixels(batch.inputs["pixel_values"], model.processor)
        return replace(batch, inputs={"pixel_values": pixels})

    @override
    def outputs(self, model: Model, batch: Batch) -> Any:
        """Each image's map in its own size, its confidence and its classes' probabilities."""
        return highest_classes(model.network(**batch.inputs).logits, batch.context["sizes"])

    @override
    def place_answers(self, model: Model, batch: Batch) -> list[PlaceAnswers]:
        """Pixels, as coarse as the network tells them."""
        import torch

        logits = model.network(**batch.inputs).logits.float()
        shape = (int(logits.shape[-2]), int(logits.shape[-1]))
        maps = torch.nn.functional.interpolate(batch.targets["map"][:, None].float(), shape)[:, 0].long()
        given = maps.masked_fill(maps == VOID, -1).flatten(1).cpu().numpy()
        shares = logits.softmax(1).flatten(2).transpose(1, 2).cpu().numpy()
        return [
            PlaceAnswers(given=ids, probabilities=each, names=self.classes, shape=shape)
            for ids, each in zip(given, shares, strict=True)
        ]

    @override
    def loss(self, outputs: Any, batch: Batch, options: LossOptions = PLAIN_LOSS) -> torch.Tensor:
        return pixel_loss(outputs.logits, batch.targets["map"], options, VOID)

    @override
    def predict(self, model: Model, outputs: Any) -> list[Prediction[SemanticMasks]]:
        """Every pixel has a class; the confidence is the mean of the pixels' highest probability."""
        return [
            Prediction(
                target=target_of(pixels, self.classes),
                confidence=confidence,
                scores=dict(zip(self.classes, shares, strict=True)),
            )
            for pixels, confidence, shares in outputs
        ]

    @override
    def tally(self, predicted: SemanticMasks, expected: SemanticMasks) -> Any:
        """Pixels of one item, see `pixel_confusion`; those that are void in the truth do not count."""
        return pixel_confusion(self._map(predicted), self._map(expected), len(self.classes))

    @override
    def summarize(self, tallies: Sequence[Any]) -> dict[str, float]:
        """Over pixels: mean IoU of the classes that appear, accuracy, mean recall of expected classes."""
        return overall_figures(sum(tallies))

    @override
    def class_counts(self, target: SemanticMasks) -> Mapping[str, int]:
        """Pixels of each class."""
        width, height = target["width"], target["height"]
        return {
            mask["label"]: int(from_counts(mask["counts"], width, height).sum()) for mask in target["masks"]
        }

    @override
    def classes_in(self, target: SemanticMasks) -> Sequence[str]:
        return [mask["label"] for mask in target["masks"]]

    @override
    def describe(self, target: SemanticMasks) -> str:
        """The largest classes with their share of the image."""
        pixels, whole = self.class_counts(target), target["width"] * target["height"]
        if not pixels:
            return "nothing marked"
        largest = sorted(pixels, key=lambda label: -pixels[label])
        named = [f"{label[:30]} {pixels[label] / whole:.0%}" for label in largest[:_SHOWN_CLASSES]]
        more = len(largest) - len(named)
        return ", ".join(named) + (f" and {more} more" if more else "")

    @override
    def per_class(
        self, predicted: Sequence[SemanticMasks], expected: Sequence[SemanticMasks]
    ) -> dict[str, dict[str, float]]:
        """Precision, recall, f1, support and iou over pixels."""
        return figures_by_class(self._confusion(predicted, expected), self.classes)

    @override
    def confusion(
        self, predicted: Sequence[SemanticMasks], expected: Sequence[SemanticMasks]
    ) -> tuple[tuple[int, ...], ...]:
        """Pixels; those that are void on either side are left out."""
        counts = self._confusion(predicted, expected)[:, : len(self.classes)]
        return tuple(tuple(row) for row in counts.tolist())

    def _confusion(self, predicted: Sequence[SemanticMasks], expected: Sequence[SemanticMasks]) -> Any:
        import numpy

        nothing = numpy.zeros((len(self.classes), len(self.classes) + 1), dtype=numpy.int64)
        return sum((self.tally(*pair) for pair in zip(predicted, expected, strict=True)), start=nothing)

    def _map(self, target: SemanticMasks) -> ClassMap:
        return map_of(target, self.classes)

    @override
    def drawn(self, target: SemanticMasks, picture: Image.Image, scale: float) -> Image.Image | None:
        return painted(map_of(target, self.classes), picture)

    @classmethod
    def example_config(cls) -> dict[str, Any]:
        """A `task:` section of a recipe that works."""
        return {"kind": "semantic-segmentation", "classes": ["ground", "disc", "bar"]}

    @override
    def example_model(self) -> Model:
        """A tiny SegFormer with fresh weights, which learns `examples` in a few steps."""
        return self.model({"from-config": _TINY}, settings={"image_size": 32})

    @override
    def examples(self) -> list[Example[SemanticMasks]]:
        """Discs and bars on the ground, under a strip that is void; the last is void as a whole."""
        examples = []
        for variant in range(_EXAMPLES):
            pixels, picture = discs_and_bars(variant, len(self.classes), void=variant == _EXAMPLES - 1)
            item, content = example_picture(picture, variant)
            examples.append(Example(item, target_of(pixels, self.classes), content))
        return examples
