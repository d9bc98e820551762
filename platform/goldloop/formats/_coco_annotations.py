"""COCO's annotations <-> targets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from goldloop.errors import ItemError
from goldloop.formats._boxes import corners, enclosing
from goldloop.tasks._masks import from_counts, to_counts
from goldloop.tasks.base import Task

_NUMBERS_OF_A_POINT = 3


class Annotation:
    """One annotation as it stands in the file; what is wrong with it is an `ItemError` that names it.

    Args:
        fields: of the JSON file.
        categories: id -> category.
        size: width and height of its image.
    """

    def __init__(
        self, fields: Mapping[str, Any], categories: Mapping[Any, Mapping[str, Any]], size: tuple[int, int]
    ) -> None:
        self.fields = fields
        self.where = f"annotation {fields.get('id')}"
        self.size = size
        self.crowd = bool(fields.get("iscrowd"))
        try:
            self.category = categories[fields.get("category_id")]
        except KeyError:
            raise ItemError(
                "no category has this id", where=self.where, found=repr(fields.get("category_id"))
            ) from None
        self.label: str = self.category["name"]

    def upright(self) -> dict[str, float]:
        """x, y, width and height of the box."""
        values = self._numbers("bbox", 4)
        return dict(zip(("x", "y", "width", "height"), values, strict=True))

    def box(self) -> dict[str, Any]:
        """The box, rotated where it says so."""
        if "rotated_bbox" not in self.fields:
            return {"label": self.label, **self.upright(), "rotation": 0.0}
        x, y, width, height, rotation = self._numbers("rotated_bbox", 5, decimals=6)
        place = {"x": round(x, 3), "y": round(y, 3), "width": round(width, 3), "height": round(height, 3)}
        return {"label": self.label, **place, "rotation": rotation}

    def pose(self) -> dict[str, Any]:
        """The box, and the points that are labelled."""
        names = self.category.get("keypoints") or ()
        values = self._numbers("keypoints", len(names) * _NUMBERS_OF_A_POINT)
        points = []
        for place, name in enumerate(names):
            x, y, visibility = values[place * 3 : place * 3 + 3]
            if visibility not in (0, 1, 2):
                raise ItemError("a keypoint's visibility is none", where=self.where, found=repr(visibility))
            if visibility:
                points.append({"name": name, "x": x, "y": y, "visibility": int(visibility)})
        return {"label": self.label, **self.upright(), "points": points}

    def outline(self) -> dict[str, Any]:
        """A polygon if one says it all, else a mask."""
        shape = self.fields.get("segmentation")
        if isinstance(shape, list) and len(shape) == 1:
            (ring,) = self._rings(shape)
            points = [[ring[place], ring[place + 1]] for place in range(0, len(ring), 2)]
            return {"label": self.label, "polygon": points}
        return {"label": self.label, "counts": to_counts(self.mask())}

    def mask(self) -> Any:
        """The pixels of the object, bool `(height, width)`."""
        import numpy as np
        from pycocotools import mask as coco_masks

        shape = self.fields.get("segmentation")
        width, height = self.size
        if isinstance(shape, list) and shape:
            rings = coco_masks.frPyObjects(self._rings(shape), height, width)
            return from_counts(coco_masks.merge(rings)["counts"].decode("ascii"), width, height)
        if not isinstance(shape, Mapping) or "counts" not in shape:
            raise ItemError("no outline and no mask", where=self.where, found=repr(shape)[:60])
        if list(shape.get("size") or (height, width)) != [height, width]:
            raise ItemError(
                "a mask has another size than its image",
                where=self.where,
                found=shape["size"],
                expected=[height, width],
            )
        counts = shape["counts"]
        if not isinstance(counts, list):
            return from_counts(counts, width, height, self.where)
        if not all(isinstance(run, int) and run >= 0 for run in counts) or sum(counts) != width * height:
            raise ItemError("a mask's runs do not fill the image", where=self.where)
        inside = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
        return inside.reshape(width, height).T

    def _rings(self, shape: Sequence[Any]) -> list[list[float]]:
        for ring in shape:
            numbers = isinstance(ring, list) and all(_is_number(value) for value in ring)
            if not numbers or len(ring) < 6 or len(ring) % 2:
                raise ItemError(
                    "a polygon is no list of x, y of three points or more",
                    where=self.where,
                    found=repr(ring)[:60],
                )
        return [[round(float(value), 3) for value in ring] for ring in shape]

    def _numbers(self, field: str, count: int, decimals: int = 3) -> list[float]:
        values = self.fields.get(field)
        if not isinstance(values, list) or len(values) != count or not all(map(_is_number, values)):
            raise ItemError(
                f"`{field}` is no list of {count} numbers", where=self.where, found=repr(values)[:60]
            )
        return [round(float(value), decimals) for value in values]


def read_target(kind: str, annotations: Sequence[Annotation], size: tuple[int, int]) -> tuple[Any, int]:
    """The target of an image, and how many crowds are not in it.

    Raises:
        ItemError: an annotation that cannot be read; names it.
    """
    if kind == "semantic-segmentation":
        return _classes_of_pixels(annotations, size), 0
    single = [annotation for annotation in annotations if not annotation.crowd]
    crowds = len(annotations) - len(single)
    if kind == "object-detection":
        return [annotation.box() for annotation in single], crowds
    if kind == "keypoints":
        return [annotation.pose() for annotation in single], crowds
    outlines = [annotation.outline() for annotation in single]
    return {"width": size[0], "height": size[1], "objects": outlines}, crowds


def _classes_of_pixels(annotations: Sequence[Annotation], size: tuple[int, int]) -> dict[str, Any]:
    import numpy as np

    names = list(dict.fromkeys(annotation.label for annotation in annotations))
    pixels = np.zeros((size[1], size[0]), np.uint16)
    for annotation in annotations:
        pixels[annotation.mask()] = names.index(annotation.label) + 1
    masks = [
        {"label": name, "counts": to_counts(pixels == number)}
        for number, name in enumerate(names, start=1)
        if (pixels == number).any()
    ]
    return {"width": size[0], "height": size[1], "masks": masks}


def written(task: Task[Any], target: Any, width: int, height: int) -> Iterator[dict[str, Any]]:
    """The annotations of a target, without ids."""
    kind = task.config.kind
    names = task.classes
    regions = target if isinstance(target, list) else target.get("masks", target.get("objects"))
    for region in regions:
        category = {"category_id": names.index(region["label"]) + 1}
        if kind == "object-detection":
            yield {**category, **_box(region)}
        elif kind == "keypoints":
            yield {**category, **_pose(region, task.config.keypoints)}
        elif "polygon" in region:
            yield {**category, **_polygon(region["polygon"])}
        else:
            yield {**category, **_mask(region["counts"], width, height)}


def _box(box: Mapping[str, Any]) -> dict[str, Any]:
    area = box["width"] * box["height"]
    if not box["rotation"]:
        return {"bbox": list(enclosing(box)), "area": area}
    return {
        "bbox": [round(value, 3) for value in enclosing(box)],
        "area": area,
        "segmentation": [[round(value, 3) for point in corners(box) for value in point]],
        "rotated_bbox": [box[name] for name in ("x", "y", "width", "height", "rotation")],
    }


def _pose(pose: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    points = {point["name"]: point for point in pose["points"]}
    values: list[float] = []
    for name in names:
        point = points.get(name)
        values += [point["x"], point["y"], point["visibility"]] if point else [0, 0, 0]
    return {
        "bbox": [pose["x"], pose["y"], pose["width"], pose["height"]],
        "area": pose["width"] * pose["height"],
        "keypoints": values,
        "num_keypoints": len(points),
    }


def _polygon(points: Sequence[Sequence[float]]) -> dict[str, Any]:
    xs, ys = zip(*points, strict=True)
    following = [*points[1:], points[0]]
    doubled = sum(x * y_next - x_next * y for (x, y), (x_next, y_next) in zip(points, following, strict=True))
    box = [min(xs), min(ys), round(max(xs) - min(xs), 3), round(max(ys) - min(ys), 3)]
    return {
        "segmentation": [[value for point in points for value in point]],
        "bbox": box,
        "area": abs(doubled) / 2,
    }


def _mask(counts: str, width: int, height: int) -> dict[str, Any]:
    from pycocotools import mask as coco_masks

    encoded = {"size": [height, width], "counts": counts.encode("ascii")}
    return {
        "segmentation": {"size": [height, width], "counts": counts},
        "bbox": [float(value) for value in coco_masks.toBbox(encoded)],
        "area": float(coco_masks.area(encoded)),
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9
