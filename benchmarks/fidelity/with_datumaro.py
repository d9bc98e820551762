"""Datumaro on the cases, in an environment of its own: `with_datumaro.py OUT.json FOLDER...`.

Datumaro reads no Label Studio JSON. So the step at which others lose most is not asked of it: each case is
given to it as its own annotation objects, made from the truth. They are exported to each format of its that
has a place for them, and imported again by its own importer.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from adapter import Found, main
from datumaro.components.annotation import (
    AnnotationType,
    Bbox,
    LabelCategories,
    Mask,
    Points,
    PointsCategories,
    Polygon,
    RotatedBbox,
)
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image
from pycocotools.mask import decode, encode

FORMATS = {
    "boxes": (
        ("coco_instances", "coco_instances"),
        ("voc_detection", "voc_detection"),
        ("yolo", "yolo"),
        ("yolo_ultralytics", "yolo"),
        ("cvat", "cvat"),
        ("dota", "dota"),
        ("datumaro", "datumaro"),
    ),
    "polygons": (("coco_instances", "coco_instances"), ("cvat", "cvat"), ("datumaro", "datumaro")),
    "masks": (("coco_instances", "coco_instances"), ("datumaro", "datumaro")),
    "keypoints": (("coco_person_keypoints", "coco_person_keypoints"), ("datumaro", "datumaro")),
    "spans": (),
}
# Subsets that an exporter insists on, beside the one that everything is in.
_FILLERS = {"yolo_ultralytics": ("val",)}
_FILLER = "filler"
_NAMES = ("nose", "tail")
_VISIBLE = 2


def convert(folder: Path, case: Mapping[str, Any]) -> dict[str, Found]:
    """Format -> what came back."""
    found: dict[str, Found] = {}
    for writer, reader in FORMATS[case["kind"]][: case["most_formats"]]:
        try:
            with tempfile.TemporaryDirectory() as place:
                fillers = _FILLERS.get(writer, ())
                _dataset(folder, case, fillers).export(f"{place}/out", writer, save_media=True)
                back = Dataset.import_from(f"{place}/out", reader)
                found[writer] = _found(back, case["kind"])
        except Exception as error:
            found[writer] = {"problem": f"{type(error).__name__}: {error}"[:60]}
    return found


def _dataset(folder: Path, case: Mapping[str, Any], fillers: Sequence[str]) -> Dataset:
    categories: dict[AnnotationType, Any] = {
        AnnotationType.label: LabelCategories.from_iterable(case["classes"])
    }
    if case["kind"] == "keypoints":
        pairs = [(number, list(_NAMES)) for number in range(len(case["classes"]))]
        categories[AnnotationType.points] = PointsCategories.from_iterable(pairs)
    items = [
        DatasetItem(
            # Extensions left out and folders kept: how its importers name images.
            id=str(PurePosixPath(entry["name"]).with_suffix("")),
            subset="train",
            media=Image.from_file(path=str(folder / "images" / entry["name"])),
            annotations=[
                annotation
                for number, region in enumerate(entry["regions"], 1)
                for annotation in _annotations(region, case, entry, number)
            ],
        )
        for entry in case["truth"]
    ]
    blank = Image.from_numpy(np.zeros((8, 8, 3), dtype=np.uint8), ext=".jpg")
    items += [DatasetItem(id=_FILLER, subset=subset, media=blank) for subset in fillers]
    return Dataset.from_iterable(items, categories=categories)


def _annotations(
    region: Mapping[str, Any], case: Mapping[str, Any], entry: Mapping[str, Any], number: int
) -> Iterator[Any]:
    fields = {"label": case["classes"].index(region["label"]), "id": number, "group": number}
    if "polygon" in region:
        yield Polygon([value for point in region["polygon"] for value in point], **fields)
    elif "counts" in region:
        counts = {"size": [entry["height"], entry["width"]], "counts": region["counts"].encode("ascii")}
        yield Mask(decode(counts).astype(bool), **fields)
    elif "points" in region:
        values = [value for name in _NAMES for value in region["points"][name]]
        yield Points(values, [_VISIBLE] * len(_NAMES), **fields)
        if region["box"]:
            yield Bbox(*region["box"], **fields)
    elif region["corners"][0][1] == region["corners"][1][1]:
        (x, y), _, (right, bottom), _ = region["corners"]
        yield Bbox(x, y, right - x, bottom - y, **fields)
    else:
        yield RotatedBbox.from_rectangle(region["corners"], **fields)


def _found(dataset: Dataset, kind: str) -> Found:
    names = [category.name for category in dataset.categories()[AnnotationType.label]]
    entries = []
    for item in dataset:
        if item.id == _FILLER:
            continue
        size = item.media.size if item.media is not None else None
        entry: dict[str, Any] = {"name": f"{item.id}.jpg"}
        if size is not None:
            entry |= {"height": int(size[0]), "width": int(size[1])}
        regions = (_region(annotation, names, kind) for annotation in item.annotations)
        entries.append({**entry, "regions": [region for region in regions if region is not None]})
    return {"entries": entries, "ids": {name: number for number, name in enumerate(names)}}


def _region(annotation: Any, names: list[str], kind: str) -> dict[str, Any] | None:
    label = {"label": names[annotation.label]}
    if annotation.type == AnnotationType.points:
        pairs = list(zip(annotation.points[::2], annotation.points[1::2], strict=True))
        return {**label, "points": {name: list(pair) for name, pair in zip(_NAMES, pairs, strict=True)}}
    if annotation.type == AnnotationType.mask:
        counts = encode(np.asfortranarray(annotation.image, dtype=np.uint8))["counts"].decode("ascii")
        return {**label, "counts": counts}
    if annotation.type == AnnotationType.polygon:
        points = [list(pair) for pair in zip(annotation.points[::2], annotation.points[1::2], strict=True)]
        return {**label, "corners" if kind == "boxes" and len(points) == 4 else "polygon": points}
    if annotation.type == AnnotationType.rotated_bbox:
        return {**label, "corners": np.reshape(annotation.as_polygon(), (4, 2)).tolist()}
    if annotation.type == AnnotationType.bbox and kind == "boxes":
        x, y, width, height = annotation.get_bbox()
        return {**label, "corners": [[x, y], [x + width, y], [x + width, y + height], [x, y + height]]}
    return None


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    main(convert, sys.argv[1:])
