"""Strict readers of the formats that several tools write: what the files say, and nothing guessed.

Each gives entries as `cases.py` describes them; of YOLO and brush files, which tell no size of the image,
without a size. What a file says that means nothing is an error of the reader, not passed over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import yaml
from compare import name_of
from PIL import Image

Entries = list[dict[str, Any]]
_BRUSH_FILE = re.compile(r"task-(\d+)-annotation-(\d+)-by-[^-]*-label-(.*)-(\d+)", re.DOTALL)


def coco(path: Path, kind: str) -> tuple[Entries, dict[str, int]]:
    """Entries and the ids of classes of a COCO file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    categories = {category["id"]: category for category in content["categories"]}
    entries = {
        image["id"]: {
            "name": image["file_name"],
            "width": image["width"],
            "height": image["height"],
            "regions": [],
        }
        for image in content["images"]
    }
    for annotation in content["annotations"]:
        if kind == "keypoints" and "keypoints" not in annotation:
            continue
        category, entry = categories[annotation["category_id"]], entries[annotation["image_id"]]
        shape = _coco_shape(annotation, category, kind, (entry["width"], entry["height"]))
        entry["regions"].append({"label": category["name"], **shape})
    return list(entries.values()), {category["name"]: identity for identity, category in categories.items()}


def _coco_shape(
    annotation: Mapping[str, Any], category: Mapping[str, Any], kind: str, size: tuple[int, int]
) -> dict[str, Any]:
    outline = annotation.get("segmentation")
    if kind == "boxes" and isinstance(outline, list) and [len(ring) for ring in outline] == [8]:
        return {"corners": [list(point) for point in zip(outline[0][::2], outline[0][1::2], strict=True)]}
    if kind == "boxes":
        x, y, width, height = annotation["bbox"]
        return {"corners": [[x, y], [x + width, y], [x + width, y + height], [x, y + height]]}
    if kind == "keypoints":
        values = annotation["keypoints"]
        points = {
            name: values[3 * place : 3 * place + 2]
            for place, name in enumerate(category["keypoints"])
            if values[3 * place + 2]
        }
        return {"points": points}
    shape = annotation["segmentation"]
    if kind == "polygons" and isinstance(shape, list):
        (ring,) = shape
        return {"polygon": [list(point) for point in zip(ring[::2], ring[1::2], strict=True)]}
    return {"counts": _coco_counts(shape, size)}


def _coco_counts(shape: Any, size: tuple[int, int]) -> str:
    from pycocotools.mask import decode, encode, frPyObjects, merge

    if isinstance(shape, list):
        found = merge(frPyObjects(shape, size[1], size[0]))
    elif isinstance(shape["counts"], list):
        found = frPyObjects(shape, *shape["size"])
    else:
        found = {"size": shape["size"], "counts": shape["counts"].encode("ascii")}
    # Encoded anew, for a mask has more than one spelling.
    counts: bytes = encode(np.asfortranarray(decode(found)))["counts"]
    return counts.decode("ascii")


def yolo(
    folder: Path, kind: str, sizes: Mapping[str, tuple[int, int]], keypoints: Sequence[str]
) -> tuple[Entries, dict[str, int]]:
    """Entries and ids of a folder with `labels/**/*.txt`; `sizes` by `name_of` an image."""
    names = _yolo_names(folder)
    entries = []
    for path in sorted((folder / "labels").rglob("*.txt")):
        size = sizes[name_of(path.name)]
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        regions = [_yolo_region(line, kind, names, size, keypoints) for line in lines]
        entries.append({"name": path.stem, "regions": regions})
    return entries, {name: number for number, name in enumerate(names)}


def _yolo_names(folder: Path) -> list[str]:
    description = folder / "data.yaml"
    if not description.is_file():
        return (folder / "classes.txt").read_text(encoding="utf-8").splitlines()
    names = yaml.safe_load(description.read_text(encoding="utf-8"))["names"]
    return [names[number] for number in sorted(names)] if isinstance(names, dict) else list(names)


def _yolo_region(
    line: str, kind: str, names: Sequence[str], size: tuple[int, int], keypoints: Sequence[str]
) -> dict[str, Any]:
    number, *rest = line.split()
    label, values = {"label": names[int(number)]}, [float(value) for value in rest]
    if kind == "keypoints":
        assert len(values) == 4 + 3 * len(keypoints), line
        found = zip(keypoints, *(values[4 + place :: 3] for place in range(3)), strict=True)
        return {**label, "points": {name: [x * size[0], y * size[1]] for name, x, y, seen in found if seen}}
    if kind == "boxes" and len(values) == 4:
        x, y, width, height = (value * size[place % 2] for place, value in enumerate(values))
        left, top, right, bottom = x - width / 2, y - height / 2, x + width / 2, y + height / 2
        return {**label, "corners": [[left, top], [right, top], [right, bottom], [left, bottom]]}
    points = [[x * size[0], y * size[1]] for x, y in zip(values[::2], values[1::2], strict=True)]
    if kind == "boxes":
        assert len(points) == 4, line
        return {**label, "corners": points}
    return {**label, "polygon": points}


def voc(folder: Path) -> Entries:
    """Entries of a folder with `Annotations/*.xml`, corners as they stand."""
    return [_voc_entry(path) for path in sorted((folder / "Annotations").rglob("*.xml"))]


def _voc_entry(path: Path) -> dict[str, Any]:
    root = ElementTree.parse(path).getroot()
    regions = []
    for found in root.iter("object"):
        left, top, right, bottom = (
            float(found.findtext(f"bndbox/{side}") or "") for side in ("xmin", "ymin", "xmax", "ymax")
        )
        corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
        regions.append({"label": found.findtext("name"), "corners": corners})
    width, height = (int(root.findtext(f"size/{side}") or "") for side in ("width", "height"))
    return {"name": root.findtext("filename"), "width": width, "height": height, "regions": regions}


def brush_files(folder: Path, names: Mapping[str, str]) -> Entries:
    """Entries of the SDK's brush PNGs or arrays, a file for each region; `names` by the task's id."""
    from pycocotools.mask import encode

    entries: dict[tuple[str, str], dict[str, Any]] = {}
    for path in sorted(folder.iterdir()):
        match = _BRUSH_FILE.fullmatch(path.stem)
        assert match, path
        pixels = np.load(path) if path.suffix == ".npy" else np.asarray(Image.open(path))
        task, annotation, label, _ = match.groups()
        height, width = pixels.shape
        entry = {"name": names[task], "width": width, "height": height, "regions": []}
        entry = entries.setdefault((task, annotation), entry)
        counts = encode(np.asfortranarray(pixels > 0, dtype=np.uint8))["counts"].decode("ascii")
        entry["regions"].append({"label": label, "counts": counts})
    return list(entries.values())


def conll(path: Path) -> Entries:
    """Entries of a file of tokens with BIO tags in the last column: spans by the words in them."""
    entries: Entries = []
    for block in re.split(r"\n\n+", path.read_text(encoding="utf-8")):
        lines = [line for line in block.split("\n") if line and not line.startswith("-DOCSTART-")]
        if not lines:
            continue
        spans: list[dict[str, Any]] = []
        previous = "O"
        for line in lines:
            token, *_, tag = re.split("\t" if "\t" in line else " ", line)
            role, _, label = tag.partition("-")
            if role not in ("B", "I", "O"):
                raise ValueError(f"no tag: {tag!r}")
            if role == "B" or (role == "I" and previous[2:] != label):
                spans.append({"label": label, "words": [token]})
            elif role == "I":
                spans[-1]["words"].append(token)
            previous = tag
        entries.append({"name": "", "regions": spans})
    return entries


def json_min(path: Path) -> Entries:
    """Entries of Label Studio's JSON-MIN: spans by their offsets."""
    return [
        {
            "name": "",
            "content": task["text"],
            "regions": [
                {
                    "label": value["labels"][0],
                    "start": value["start"],
                    "end": value["end"],
                    "text": task["text"][value["start"] : value["end"]],
                }
                for value in task.get("label", [])
            ],
        }
        for task in json.loads(path.read_text(encoding="utf-8"))
    ]
