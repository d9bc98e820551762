"""`coco`: one JSON file of images, annotations and categories.

    annotations/instances_train.json   images/train/NAME.jpg      (or *.json at the top, train2017/NAME.jpg)

Categories are classes in the order of their ids, which need not be 0, 1, 2. Polygons, compressed and plain
RLE, keypoints and boxes are read; an object of several polygons is one object. Where COCO has no field for
what a target says, one is added that other readers pass over: `rotated_bbox`, x, y, width, height and degrees
about that corner, beside the upright `bbox` around it and the four corners as `segmentation`.

Crowds (`iscrowd`) are regions, not objects: they count for pixels of a class, else are left out and counted
in the metadata. In semantic segmentation what comes later in the file lies on top.

A file is read whole, as JSON must be: it takes some ten times its size in memory.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typing_extensions import override

from goldloop.errors import AnnotationError, ItemError, SourceError
from goldloop.formats._coco_annotations import Annotation, read_target, written
from goldloop.formats._folders import check_size, files, put, split_within, upright_size
from goldloop.formats.base import Format, Sample, bad
from goldloop.records import Quarantined
from goldloop.tasks.base import Task

_STEMS = {"keypoints": "person_keypoints"}
_OBJECTS = "instances"


@dataclass(frozen=True, slots=True)
class _File:
    """One JSON file, its annotations by image."""

    name: str
    split: str | None
    images: list[Any]
    annotations: Mapping[Any, list[Any]]
    categories: Mapping[Any, Mapping[str, Any]]


class Coco(Format):
    """Images, annotations and categories in JSON."""

    kinds = frozenset({"object-detection", "instance-segmentation", "semantic-segmentation", "keypoints"})

    @override
    def kind_of(self, folder: Path) -> str:
        """By what the annotations have: keypoints, outlines or boxes alone."""
        kind = "object-detection"
        for file in _files(folder):
            for annotation in (each for group in file.annotations.values() for each in group):
                if annotation.get("keypoints"):
                    return "keypoints"
                if annotation.get("segmentation") and not annotation.get("rotated_bbox"):
                    kind = "instance-segmentation"
        return kind

    @override
    def task_fields(self, folder: Path, kind: str) -> dict[str, Any]:
        known: dict[Any, str] = {}
        points: dict[str, None] = {}
        for file in _files(folder):
            for identity, category in file.categories.items():
                name = category["name"]
                if known.setdefault(identity, name) != name:
                    raise SourceError(
                        f"category {identity} has two names",
                        where=folder,
                        found=f"{known[identity]!r}, {name!r}",
                    )
                points.update((point, None) for point in category.get("keypoints", ()))
        fields: dict[str, Any] = {
            "classes": list(dict.fromkeys(known[identity] for identity in sorted(known)))
        }
        return {**fields, "keypoints": list(points)} if kind == "keypoints" else fields

    @override
    def read(self, folder: Path, kind: str) -> Iterator[Sample | Quarantined]:
        seen: set[str] = set()
        for file in _files(folder):
            known = {image.get("id") for image in file.images if isinstance(image, dict)}
            for image in file.images:
                yield _sample(folder, kind, file, image, seen)
            for identity in file.annotations.keys() - known:
                for annotation in file.annotations[identity]:
                    place = f"{file.name}#annotation-{annotation.get('id')}"
                    reason = (
                        f"{file.name}, annotation {annotation.get('id')}: no image has the id {identity!r}"
                    )
                    yield Quarantined(uri=place, reason=reason)

    @override
    def write_into(self, folder: Path, task: Task[Any], samples: Iterable[Sample]) -> None:
        kind = task.config.kind
        contents: dict[str | None, dict[str, list[Any]]] = {}
        categories = [{"id": number, "name": name} for number, name in enumerate(task.classes, start=1)]
        if kind == "keypoints":
            names = list(task.config.keypoints)
            categories = [{**category, "keypoints": names, "skeleton": []} for category in categories]
        for sample in samples:
            content = contents.setdefault(sample.split, {"images": [], "annotations": []})
            put(folder / "images" / (sample.split or "") / sample.name, sample.content)
            width, height = upright_size(sample.content)
            image = len(content["images"]) + 1
            content["images"].append(
                {"id": image, "file_name": sample.name, "width": width, "height": height}
            )
            for annotation in written(task, sample.target, width, height):
                number = len(content["annotations"]) + 1
                content["annotations"].append({"id": number, "image_id": image, "iscrowd": 0, **annotation})
        for split, content in contents.items():
            stem = _STEMS.get(kind, _OBJECTS)
            path = folder / "annotations" / f"{stem}_{split}.json" if split else folder / f"{stem}.json"
            put(path, json.dumps({**content, "categories": categories}, ensure_ascii=False))


def _files(folder: Path) -> Iterator[_File]:
    """Every JSON file with images and annotations.

    Raises:
        SourceError: there is none, or one cannot be read.
    """
    paths = [folder] if folder.is_file() else files(folder, {".json"})
    none = True
    for path in paths:
        try:
            content = json.loads(path.read_bytes())
        except ValueError as error:
            raise SourceError("this is not JSON", where=path, found=str(error)) from error
        if not isinstance(content, dict) or not {"images", "annotations", "categories"} <= content.keys():
            continue
        none = False
        grouped: dict[Any, list[Any]] = defaultdict(list)
        for annotation in content["annotations"]:
            grouped[annotation.get("image_id")].append(annotation)
        categories = {category["id"]: category for category in content["categories"]}
        home = folder.parent if folder.is_file() else folder
        name = path.relative_to(home).as_posix()
        yield _File(name, split_within(path.stem), content["images"], grouped, categories)
    if none:
        raise SourceError(
            "this is no COCO data set",
            where=folder,
            expected="a JSON file with `images`, `annotations` and `categories`",
        )


def _sample(folder: Path, kind: str, file: _File, image: Any, seen: set[str]) -> Sample | Quarantined:
    identity = image.get("id") if isinstance(image, dict) else None
    name = f"{file.name}#image-{identity}"
    if not isinstance(image, dict) or identity is None or not isinstance(image.get("file_name"), str):
        return bad(f"{file.name}#images-{len(seen)}", f"an image has no id or no file_name: {image!r}")
    if name in seen:
        return bad(f"{name}-again-{len(seen)}", "another image has the same id")
    seen.add(name)
    try:
        path = _path(folder, file, image["file_name"])
        size = upright_size(path)
        if image.get("width") and image.get("height"):
            check_size((image["width"], image["height"]), size)
        found = [Annotation(each, file.categories, size) for each in file.annotations.get(identity, ())]
        target, crowds = read_target(kind, found, size)
    except (ItemError, AnnotationError) as error:
        return Quarantined(uri=name, reason=f"{file.name}, image {identity} {image['file_name']}: {error}")
    home = folder.parent if folder.is_file() else folder
    place = path.relative_to(home).as_posix()
    if place in seen:
        return bad(name, f"another image is the same file {place}")
    seen.add(place)
    metadata = {"crowd_regions": crowds} if crowds else {}
    return Sample(name=place, content=path, target=target, split=file.split, metadata=metadata)


def _path(folder: Path, file: _File, name: str) -> Path:
    """Where an image lies: in one of the places where COCO data sets keep them, inside of the folder."""
    home = (folder.parent if folder.is_file() else folder).resolve()
    beside = (home / file.name).parent
    stem = Path(file.name).stem.rpartition("_")[2]
    tries = [
        "",
        "images",
        stem,
        f"images/{stem}",
        *([f"images/{file.split}", file.split] if file.split else ()),
    ]
    for place in [*(home / part for part in tries), beside, beside / "images"]:
        path = Path(place / name).resolve()
        if path.is_file() and path.is_relative_to(home):
            return path
    raise ItemError("the image is missing", found=name, expected=f"below {folder}")
