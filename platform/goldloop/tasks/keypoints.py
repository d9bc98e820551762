"""`kind: keypoints`: objects with named points, such as the joints of a person."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, field_validator, model_validator
from typing_extensions import override

from goldloop.errors import AnnotationError, ModelError, VersionError
from goldloop.records import Item
from goldloop.tasks import _coco_metrics, _matching
from goldloop.tasks._augmentation import OF_OBJECTS, AugmentationOptions
from goldloop.tasks._detector_task import DetectorTask, DetectorTaskConfig, example_picture
from goldloop.tasks._detectors import Found, batch_of, detector
from goldloop.tasks._geometry import enclosing, pixels
from goldloop.tasks._letterbox import letterbox, out_of_square
from goldloop.tasks._pose_regions import decode_poses, encode_poses, parse_pose, pose_tags
from goldloop.tasks._poses import (
    OCCLUDED,
    PLACE,
    VISIBLE,
    Point,
    Pose,
    box_of,
    draw_poses,
    in_square,
    merged,
    pose_boxes,
    similarities,
)
from goldloop.tasks._regions import colour
from goldloop.tasks._varied_batches import augment_objects
from goldloop.tasks.base import Batch, ConsensusPolicy, Example, Model

if TYPE_CHECKING:
    import datasets
    import torch
    from PIL import Image

_SIDE = 64
_EXAMPLES = 8


class Keypoints(DetectorTask[list[Pose]]):
    """Objects with named points: people and their joints, boats with bow and stern.

    People draw an upright box around each object and set its points; each belongs to the box that it is
    grouped with in the editor, or to the smallest one around it. Points may be left out, which says nothing
    of them, and may be marked as occluded. No object is an answer: nothing is there.
    """

    class Config(DetectorTaskConfig):
        """What a recipe says under `task:`."""

        keypoints: tuple[str, ...]
        """Names of the points in their order; or, where classes differ in them, class -> names."""
        keypoints_of: dict[str, tuple[str, ...]] = Field(default_factory=dict)
        """Class -> its points, where it does not have all."""
        skeleton: tuple[tuple[str, str], ...] = ()
        """Pairs of points that are joined by a line when poses are drawn."""
        sigmas: dict[str, float] = Field(default_factory=dict)
        """How far apart careful people place a point, as a share of the object's size; by default 0.05."""
        mirrored: tuple[tuple[str, str], ...] = ()
        """Pairs of points that change places in a mirror, such as the left and the right eye."""

        @model_validator(mode="before")
        @classmethod
        def _by_class(cls, fields: Any) -> Any:
            given = fields.get("keypoints") if isinstance(fields, Mapping) else None
            if not isinstance(given, Mapping):
                return fields
            strange = sorted(set(map(str, given)) - set(fields.get("classes") or ()))
            if strange:
                raise ValueError(f"keypoints of {strange[0]!r}, which is no class")
            every = dict.fromkeys(itertools.chain.from_iterable(given.values()))
            return {"keypoints_of": dict(given), **fields, "keypoints": list(every)}

        @field_validator("keypoints")
        @classmethod
        def _are_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
            twice = sorted(name for name, count in Counter(names).items() if count > 1)
            strange = [name for name in names if not name or name != name.strip() or not name.isprintable()]
            if not names or twice or strange:
                found = f"{twice[0]!r} twice" if twice else repr(strange[0]) if strange else "none"
                raise ValueError(f"keypoints are different names, found {found}")
            return names

        @field_validator("sigmas")
        @classmethod
        def _are_positive(cls, sigmas: dict[str, float]) -> dict[str, float]:
            if any(not 0 < sigma < 10 for sigma in sigmas.values()):
                raise ValueError("a sigma is a number above 0, such as 0.05")
            return sigmas

        @model_validator(mode="after")
        def _are_known(self) -> Self:
            named = [
                *itertools.chain(*self.skeleton, *self.mirrored, *self.keypoints_of.values()),
                *self.sigmas,
            ]
            strange = [name for name in named if name not in self.keypoints]
            if strange:
                raise ValueError(f"{strange[0]!r} is none of the keypoints {', '.join(self.keypoints)}")
            twice = Counter(itertools.chain(*self.mirrored))
            if any(count > 1 for count in twice.values()):
                raise ValueError("a point changes places in a mirror with one other")
            return self

    config: Config
    architecture = "keypoint-rcnn"
    # Hub checkpoints that find people's joints are of another make than torchvision's detectors.
    augmentations = OF_OBJECTS
    suggested_checkpoint = ""
    small_network = {
        "model_type": "torchvision-detector", "architecture": "keypoint-rcnn", "backbone": "resnet18",
        "channels": 64,
    }  # fmt: skip

    def names_of(self, label: str) -> tuple[str, ...]:
        """The points that objects of a class have."""
        return self.config.keypoints_of.get(label, self.config.keypoints)

    @override
    def label_config(self) -> str:
        return "\n".join(["<View>", *pose_tags(self.classes, self.config.keypoints), "</View>"])

    @override
    def parse(self, value: Any, item: Item) -> list[Pose]:
        where = f"item {item.key}"
        if not isinstance(value, list | tuple) or not all(isinstance(entry, Mapping) for entry in value):
            raise AnnotationError(
                "poses are given as a list",
                where=where,
                found=repr(value)[:80],
                expected="[{label, x, y, width, height, points: [{name, x, y, visibility}]}]",
            )
        return self._canonical(
            [
                parse_pose(entry, item, self.known_class, self.names_of, f"{where}, pose {place}")
                for place, entry in enumerate(value)
            ]
        )

    @override
    def decode(self, results: Sequence[Mapping[str, Any]], item: Item) -> list[Pose]:
        return self._canonical(decode_poses(results, item, self.only_class, self.names_of))

    @override
    def encode(self, target: list[Pose], item: Item) -> list[dict[str, Any]]:
        shown = self._shown(target)
        for pose in shown:
            self.class_id(pose["label"], f"item {item.key}")
        return encode_poses(shown, item)

    @override
    def features(self) -> datasets.Features:
        """Poses with their points by name."""
        import datasets

        real = datasets.Value("float64")
        point = {"name": datasets.Value("string"), "x": real, "y": real, "visibility": datasets.Value("int8")}
        place = dict.fromkeys(PLACE, real)
        pose = {"label": self.class_features(), **place, "points": datasets.List(point)}
        return datasets.Features({"image": datasets.Image(), "poses": datasets.List(pose)})

    @override
    def to_row(self, target: list[Pose]) -> dict[str, Any]:
        places: list[dict[str, Any]] = [dict(pose) for pose in target]
        return {
            "poses": [
                {
                    "label": self.class_id(pose["label"]),
                    **{name: pose[name] for name in PLACE},
                    "points": [dict(point) for point in pose["points"]],
                }
                for pose in places
            ]
        }

    @override
    def from_row(self, row: Mapping[str, Any]) -> list[Pose]:
        where = row.get("key")
        poses: list[Pose] = []
        for entry in row["poses"]:
            points: list[Point] = [
                {
                    "name": point["name"],
                    "x": point["x"],
                    "y": point["y"],
                    "visibility": int(point["visibility"]),
                }
                for point in entry["points"]
            ]
            strange = [point["name"] for point in points if point["name"] not in self.config.keypoints]
            if strange:
                raise VersionError(
                    "a row has a point that the task does not have",
                    where=where,
                    found=repr(strange[0]),
                    expected=", ".join(self.config.keypoints),
                )
            pose: Pose = {
                "label": self.class_name(entry["label"], where),
                "x": entry["x"], "y": entry["y"], "width": entry["width"], "height": entry["height"],
                "points": points,
            }  # fmt: skip
            poses.append(pose)
        return poses

    @override
    def agreement(self, a: list[Pose], b: list[Pose]) -> float:
        """By how near the same points are, in units of the objects' size."""
        return _matching.agreement(self._shown(a), self._shown(b), similarities(self.config.sigmas, "of-two"))

    @override
    def consensus(self, targets: Sequence[list[Pose]], policy: ConsensusPolicy) -> list[Pose] | None:
        """Objects matched by their boxes, each with the mean of its box and points."""
        found = _matching.consensus(targets, policy, pose_boxes, self.config.overlap, merged)
        return None if found is None else self._canonical(found)

    @override
    def model(
        self,
        checkpoint: str | Path | Mapping[str, Any],
        *,
        texts: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> Model:
        names = list(self.config.keypoints)
        if isinstance(checkpoint, Mapping):
            chosen = dict(checkpoint.get("from-config") or {})
            if chosen.get("architecture") == self.architecture:
                chosen.setdefault("keypoints", names)
            checkpoint = {**checkpoint, "from-config": chosen}
        model = self.checked(detector(checkpoint, self.classes, settings))
        config: Any = model.network.config
        if list(config.keypoints) != names:
            raise ModelError(
                "the network was made for other points",
                found=", ".join(config.keypoints),
                expected=", ".join(names),
                remedy="Start from a fresh network, or use the task with the model's own keypoints",
            )
        return model

    @override
    def prepare(self, model: Model, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Rows with `pixel_values` uint8 `(3, S, S)`, `frame`, and boxes and points in the square."""
        return [self._prepared(model, row) for row in rows]

    def _prepared(self, model: Model, row: Mapping[str, Any]) -> dict[str, Any]:
        import numpy

        square, frame = letterbox(row["image"], model.processor)
        prepared: dict[str, Any] = {"pixel_values": square, "frame": frame}
        if row.get("key") is not None:
            prepared["key"] = row["key"]
        if row.get("poses") is None:
            return prepared
        boxes, points = in_square(self.from_row(row), self.config.keypoints, frame)
        labels = [entry["label"] for entry in row["poses"]]
        class_labels = numpy.array(labels, dtype=numpy.int64)
        return {**prepared, "boxes": boxes, "class_labels": class_labels, "keypoints": points}

    @override
    def batch(self, rows: Sequence[Mapping[str, Any]], model: Model) -> Batch:
        return batch_of(rows, ["keypoints"])

    @override
    def augment(
        self,
        batch: Batch,
        model: Model,
        generator: torch.Generator,
        options: AugmentationOptions | None = None,
    ) -> Batch:
        names = list(self.config.keypoints)
        other = dict([*self.config.mirrored, *((two, one) for one, two in self.config.mirrored)])
        partners = [names.index(other.get(name, name)) for name in names]
        return augment_objects(batch, generator, options, mirror=self.config.mirror, partners=partners)

    @override
    def answer(self, found: Found) -> list[Pose]:
        """Every point of an object, each as visible: the network says where one is, not whether."""
        import numpy

        in_network = found.more["keypoints"][..., :2].numpy().astype(numpy.float64)
        places = out_of_square(in_network, found.frame).tolist()
        poses: list[Pose] = []
        for box, score, label, spots in zip(
            found.boxes.tolist(), found.scores, found.labels, places, strict=True
        ):
            left, top, right, bottom = (pixels(value) for value in box)
            named = zip(self.config.keypoints, spots, strict=True)
            points: list[Point] = [
                {"name": name, "x": pixels(x), "y": pixels(y), "visibility": VISIBLE}
                for name, (x, y) in named
                if name in self.names_of(self.classes[label])
            ]
            if right > left and bottom > top:
                pose: Pose = {
                    "label": self.classes[label], "x": left, "y": top, "width": pixels(right - left),
                    "height": pixels(bottom - top), "points": points, "score": round(min(score, 1.0), 6),
                }  # fmt: skip
                poses.append(pose)
        return self._canonical(poses)

    @override
    def tally(self, predicted: list[Pose], expected: list[Pose]) -> Any:
        overlaps = similarities(self.config.sigmas, "to-truth")
        return _coco_metrics.tally(predicted, expected, self.classes, overlaps)

    @override
    def per_class(
        self, predicted: Sequence[list[Pose]], expected: Sequence[list[Pose]]
    ) -> dict[str, dict[str, float]]:
        answers = [self._shown(poses) for poses in predicted]
        overlaps = similarities(self.config.sigmas, "to-truth")
        return _matching.per_class(answers, expected, self.classes, overlaps, self.config.overlap)

    @override
    def classes_in(self, target: list[Pose]) -> Sequence[str]:
        return [pose["label"] for pose in target]

    @override
    def boxes_of(self, target: list[Pose]) -> list[tuple[str, tuple[float, float, float, float], float]]:
        return [(pose["label"], enclosing(box_of(pose)), pose.get("score", 1.0)) for pose in target]

    @override
    def describe(self, target: list[Pose]) -> str:
        return _matching.counted(self.classes_in(self._shown(target)))

    @override
    def drawn(self, target: list[Pose], picture: Image.Image, scale: float) -> Image.Image | None:
        shown = self._shown(target)
        colours = [colour(self.class_id(pose["label"])) for pose in shown]
        copy: Image.Image = draw_poses(shown, self.config.skeleton, picture, scale, colours)
        return copy

    def _shown(self, poses: Sequence[Pose]) -> list[Pose]:
        return [pose for pose in poses if self.is_shown(pose)]

    def _canonical(self, poses: Sequence[Pose]) -> list[Pose]:
        def order(pose: Pose) -> tuple[Any, ...]:
            points = [(place(point), point["x"], point["y"], point["visibility"]) for point in pose["points"]]
            box = (pose["x"], pose["y"], pose["width"], pose["height"])
            return (self.class_id(pose["label"]), *box, points, pose.get("score", 1.0))

        def place(point: Point) -> int:
            return self.config.keypoints.index(point["name"])

        ordered: list[Pose] = [{**pose, "points": sorted(pose["points"], key=place)} for pose in poses]
        return sorted(ordered, key=order)

    @classmethod
    def example_config(cls) -> dict[str, Any]:
        """A `task:` section of a recipe that works."""
        names = {"arrow": ["tip", "tail"], "flag": ["tip", "tail", "foot"]}
        return {
            "kind": "keypoints", "classes": list(names), "keypoints": names, "skeleton": [["tip", "tail"]],
        }  # fmt: skip

    def example_model(self) -> Model:
        """A tiny network with fresh weights, which learns `examples` in a few steps."""
        small = {**self.small_network, "channels": 32}
        return self.model({"from-config": small}, settings={"image_size": 64})

    @override
    def examples(self) -> list[Example[list[Pose]]]:
        """Arrows and flags; a point is missing here, occluded there, and the last picture has nothing."""
        return [self._example(variant) for variant in range(_EXAMPLES)]

    def _example(self, variant: int) -> Example[list[Pose]]:
        from PIL import Image, ImageDraw

        picture = Image.new("RGB", (_SIDE, _SIDE - 8), (225, 225, 215 - variant))
        draw = ImageDraw.Draw(picture)
        places = [(4.0 + variant, 6.0, 26.0, 14.5), (34.0 - variant, 30.25, 24.0, 20.0)][
            : 2 - variant % 4 // 2
        ]
        poses: list[Pose] = []
        for number_, (x, y, width, height) in enumerate(places if variant != _EXAMPLES - 1 else []):
            label = self.classes[(number_ + variant) % len(self.classes)]
            corners = {
                "tip": (x + width - 3, y + 3), "tail": (x + 3, y + height - 3),
                "foot": (x + width - 3, y + height - 3),
            }  # fmt: skip
            draw.rectangle((x, y, x + width - 1, y + height - 1), fill=(160, 180, 200))
            points: list[Point] = []
            for name in self.names_of(label)[: 3 - variant % 2]:
                hidden = name == "tail" and variant % 3 == 1
                spot_x, spot_y = corners.get(name, (x, y))
                shade = {"tip": (220, 30, 30), "tail": (20, 130, 40)}.get(name, (20, 20, 20))
                if not hidden:
                    draw.ellipse((spot_x - 3.5, spot_y - 3.5, spot_x + 2.5, spot_y + 2.5), fill=shade)
                visibility = OCCLUDED if hidden else VISIBLE
                points.append({"name": name, "x": spot_x, "y": spot_y, "visibility": visibility})
            poses.append({"label": label, "x": x, "y": y, "width": width, "height": height, "points": points})
        item, content = example_picture(picture, variant)
        return Example(item, self._canonical(poses), content)
