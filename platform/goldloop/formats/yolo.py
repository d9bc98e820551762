"""`yolo`: a text file of numbers for each image, as Ultralytics reads them; lengths are parts of the image's.

    data.yaml   images/train/NAME.jpg   labels/train/NAME.txt      (also: train/images/..., train/labels/...)

    CLASS CX CY WIDTH HEIGHT                      a box, about its centre
    CLASS X1 Y1 X2 Y2 X3 Y3 X4 Y4                 a rotated box (OBB), clockwise from its top-left corner
    CLASS X1 Y1 X2 Y2 X3 Y3 ...                   a polygon
    CLASS CX CY WIDTH HEIGHT X1 Y1 V1 ...         a box and its keypoints, by `kpt_shape` and `kpt_names`

Which of them it is, follows from the task; one data set has boxes of one sort. Classes are `names` in
data.yaml. An image without a text file has nothing in it. Numbers are written with all their digits, so that
pixels come back equal to three decimals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from typing_extensions import override

from goldloop.errors import ItemError, SourceError
from goldloop.formats._folders import (
    IMAGE_EXTENSIONS,
    classes_of,
    files,
    put,
    read_classes,
    split_named,
    upright_size,
)
from goldloop.formats._targets import regions
from goldloop.formats._yolo_lines import Lines, written
from goldloop.formats.base import Format, Sample, bad
from goldloop.records import Quarantined
from goldloop.tasks.base import Task

_SPLITS = {"train": "train", "val": "validation", "test": "test"}
_FOLDERS = {split: name for name, split in _SPLITS.items()}


class Yolo(Format):
    """Numbers in text files."""

    kinds = frozenset({"object-detection", "instance-segmentation", "keypoints"})

    @override
    def task_fields(self, folder: Path, kind: str) -> dict[str, Any]:
        fields: dict[str, Any] = {"classes": list(_names(folder))}
        return {**fields, "keypoints": _keypoints(folder)} if kind == "keypoints" else fields

    @override
    def read(self, folder: Path, kind: str) -> Iterator[Sample | Quarantined]:
        classes = _names(folder)
        points = _keypoints(folder) if kind == "keypoints" else []
        lines = Lines(kind, classes, points, 3 if not points else _description(folder)["kpt_shape"][1])
        found = list(_images(folder))
        if not any(_label_file(image, folder).is_file() for _, image in found):
            raise SourceError("no image has a label file", where=folder, expected="labels/ beside images/")
        for split, image in found:
            name = image.relative_to(folder).as_posix()
            path = _label_file(image, folder)
            try:
                target = lines.read(path, upright_size(image)) if path.is_file() else lines.target([], image)
            except ItemError as error:
                yield bad(name, f"{path.relative_to(folder).as_posix()}{error}" if path.is_file() else error)
                continue
            yield Sample(name=name, content=image, target=target, split=split)
        known = {_label_file(image, folder) for image in files(folder, IMAGE_EXTENSIONS)}
        for path in files(folder, {".txt"}):
            relative = path.relative_to(folder)
            if "labels" in relative.parts[:-1] and path not in known and path.name != "classes.txt":
                yield bad(relative.as_posix(), "there is no image of this name")

    @override
    def lost(self, task: Task[Any], sample: Sample) -> Iterator[str]:
        if any("counts" in region for region in regions(sample.target) if isinstance(region, dict)):
            yield "masks (brush, holes, several parts), of which the outline of the largest part is written"

    @override
    def write_into(self, folder: Path, task: Task[Any], samples: Iterable[Sample]) -> None:
        kind = task.config.kind
        rotated = kind == "object-detection" and any(
            box["rotation"] for sample in samples for box in sample.target
        )
        splits = set()
        for sample in samples:
            part = _FOLDERS[sample.split] if sample.split else ""
            splits.add(part)
            put(folder / "images" / part / sample.name, sample.content)
            size = upright_size(sample.content)
            text = "".join(f"{line}\n" for line in written(task, sample.target, size, rotated))
            put(folder / "labels" / part / f"{Path(sample.name).stem}.txt", text)
        description: dict[str, Any] = {name: f"images/{name}" for name in _SPLITS if name in splits} or {
            "train": "images"
        }
        # Ultralytics refuses a data set without these two.
        for name in ("train", "val"):
            description.setdefault(name, next(iter(description.values())))
        description["names"] = dict(enumerate(task.classes))
        if kind == "keypoints":
            names = list(task.config.keypoints)
            description["kpt_shape"] = [len(names), 3]
            description["kpt_names"] = dict.fromkeys(range(len(task.classes)), names)
        put(folder / "data.yaml", yaml.safe_dump(description, sort_keys=False, allow_unicode=True))


def _description(folder: Path) -> Mapping[str, Any]:
    """data.yaml; empty where there is none."""
    path = next((folder / name for name in ("data.yaml", "dataset.yaml") if (folder / name).is_file()), None)
    if path is None:
        return {}
    try:
        description = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SourceError("this is not YAML", where=path, found=" ".join(str(error).split())) from error
    if not isinstance(description, dict) or "names" not in description:
        raise SourceError("`names` is missing", where=path, expected="class names by id")
    return description


def _names(folder: Path) -> tuple[str, ...]:
    names = _description(folder).get("names")
    if names is None:
        return tuple(read_classes(folder) or classes_of(folder / "labels", (), folder))
    if isinstance(names, dict):
        if sorted(names) != list(range(len(names))):
            raise SourceError("`names` leaves out an id", where=folder, found=str(sorted(names)))
        names = [names[number] for number in range(len(names))]
    return tuple(str(name) for name in names)


def _keypoints(folder: Path) -> list[str]:
    description = _description(folder)
    shape = description.get("kpt_shape")
    if not isinstance(shape, list) or len(shape) != 2 or shape[1] not in (2, 3):
        raise SourceError(
            "`kpt_shape` is missing", where=folder, found=repr(shape), expected="[count, 2 or 3]"
        )
    names = description.get("kpt_names") or {}
    chosen = next(iter(names.values())) if isinstance(names, dict) and names else names
    if chosen and len(chosen) != shape[0]:
        raise SourceError(
            "`kpt_names` and `kpt_shape` differ", where=folder, found=f"{len(chosen)}, {shape[0]}"
        )
    return [str(name) for name in chosen] or [f"point {number}" for number in range(1, shape[0] + 1)]


def _images(folder: Path) -> Iterator[tuple[str | None, Path]]:
    """Every image with its split, each once, by path in its split."""
    description = _description(folder)
    places: list[tuple[str | None, Path]] = [
        (split, _place(folder, description, entry))
        for name, split in _SPLITS.items()
        for entry in _listed(description.get(name))
    ]
    if not places:
        places = [(None, folder / "images" if (folder / "images").is_dir() else folder)]
    shared = Counter(place for _, place in places)
    seen: set[Path] = set()
    for split, place in places:
        for path in _in(place, folder):
            if path not in seen:
                seen.add(path)
                # What is named for two splits is none of them; then the name of its own folder tells.
                yield (split if shared[place] == 1 else split_named(path.parent.name)), path


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []


def _place(folder: Path, description: Mapping[str, Any], entry: Any) -> Path:
    """Where a split's images are: below `path`, or below the folder itself, which may have been moved."""
    home = folder.resolve()
    root = str(description.get("path") or "")
    names = [
        Path(root, str(entry)),
        Path(str(entry)),
        Path(*[part for part in Path(str(entry)).parts if part != ".."]),
    ]
    for name in names:
        place = (home / name).resolve()
        if place.exists() and place.is_relative_to(home):
            return folder / place.relative_to(home)
    raise SourceError("a split of data.yaml is not there", where=folder, found=repr(entry))


def _in(place: Path, folder: Path) -> list[Path]:
    if place.is_dir():
        return files(place, IMAGE_EXTENSIONS)
    home = folder.resolve()
    found = []
    for line in place.read_text(encoding="utf-8").splitlines():
        path = (home / line.strip()).resolve()
        if line.strip() and path.is_file() and path.is_relative_to(home):
            found.append(folder / path.relative_to(home))
    return found


def _label_file(image: Path, folder: Path) -> Path:
    """The text file of an image: in `labels` where the image is in `images`, else beside it."""
    parts = list(image.relative_to(folder).with_suffix(".txt").parts)
    for place in reversed(range(len(parts) - 1)):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return folder.joinpath(*parts)
