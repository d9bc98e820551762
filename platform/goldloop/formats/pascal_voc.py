"""`pascal-voc`: an XML file of boxes for each image.

    Annotations/NAME.xml   JPEGImages/NAME.jpg   ImageSets/Main/{train,val,test}.txt   classes.txt

Corners are taken as they stand: x = xmin, width = xmax - xmin, in pixels from 0. So labelImg, CVAT, Roboflow
and most others write them. In the original VOC data sets pixels count from 1 and xmax is the last one inside;
`corners: inclusive` reads and writes that (x = xmin - 1, width = xmax - xmin + 1). Either way what is read
comes back equal when it is written, fractions to three decimals.

An image without an XML file has no label; one whose file lists no object has none in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree as Xml

from typing_extensions import override

from goldloop.errors import ItemError, SourceError
from goldloop.formats._boxes import ROTATED, enclosing
from goldloop.formats._folders import (
    IMAGE_EXTENSIONS,
    check_size,
    classes_of,
    files,
    images,
    put,
    split_named,
    upright_size,
    write_classes,
)
from goldloop.formats.base import Format, FormatConfig, Sample, bad
from goldloop.records import Quarantined
from goldloop.tasks.base import Task

_LABELS, _IMAGES, _SETS = "Annotations", "JPEGImages", "ImageSets/Main"
_FLAGS = ("difficult", "truncated", "occluded")
_SET_NAMES = {"train": "train", "validation": "val", "test": "test"}


class PascalVoc(Format):
    """Boxes in XML."""

    kinds = frozenset({"object-detection"})

    class Config(FormatConfig):
        """What a recipe says of it."""

        corners: Literal["continuous", "inclusive"] = "continuous"

    @override
    def task_fields(self, folder: Path, kind: str) -> dict[str, Any]:
        names = (
            box["label"]
            for entry in self.read(folder, kind)
            if isinstance(entry, Sample)
            for box in entry.target or ()
        )
        return {"classes": classes_of(folder, names)}

    @override
    def read(self, folder: Path, kind: str) -> Iterator[Sample | Quarantined]:
        for part in (_LABELS, _IMAGES):
            if not (folder / part).is_dir():
                raise SourceError(
                    "this is no Pascal VOC data set",
                    where=folder,
                    expected=f"the folders {_LABELS} and {_IMAGES}",
                )
        found = images(folder / _IMAGES)
        splits = dict(_splits(folder))
        labelled = set()
        for path in files(folder / _LABELS, {".xml"}):
            name = path.relative_to(folder).as_posix()
            try:
                root = _parsed(path)
                stem = _stem(path, folder, root, found)
                if stem in labelled:
                    raise ItemError("another file labels the same image", found=stem)
                target, metadata = self._boxes(root, upright_size(found[stem]))
            except ItemError as error:
                yield bad(name, error)
                labelled.add(path.relative_to(folder / _LABELS).with_suffix("").as_posix())
                continue
            labelled.add(stem)
            yield Sample(
                name=found[stem].relative_to(folder).as_posix(),
                content=found[stem],
                target=target,
                split=splits.get(stem),
                metadata=metadata,
            )
        for stem in sorted(found.keys() - labelled):
            image = found[stem]
            yield Sample(
                name=image.relative_to(folder).as_posix(), content=image, target=None, split=splits.get(stem)
            )

    def _boxes(self, root: Xml.Element, size: tuple[int, int]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        declared = root.find("size")
        if declared is not None:
            width, height = (_number(declared, side) for side in ("width", "height"))
            if width or height:
                check_size((int(width), int(height)), size)
        boxes = []
        flags: dict[str, int] = {}
        for number, entry in enumerate(root.iter("object"), start=1):
            label, place = entry.findtext("name"), entry.find("bndbox")
            if label is None or place is None:
                raise ItemError(
                    f"object {number} has no name or no bndbox", found=[part.tag for part in entry]
                )
            boxes.append({"label": label, **self._box(place), "rotation": 0.0})
            for flag in _FLAGS:
                if (entry.findtext(flag) or "0").strip() not in ("0", "Unspecified"):
                    flags[flag] = flags.get(flag, 0) + 1
        return boxes, flags

    def _box(self, place: Xml.Element) -> dict[str, float]:
        left, top, right, bottom = (_number(place, name) for name in ("xmin", "ymin", "xmax", "ymax"))
        first = 1 if self.config.corners == "inclusive" else 0
        x, y = round(left - first, 3), round(top - first, 3)
        return {"x": x, "y": y, "width": round(right - x, 3), "height": round(bottom - y, 3)}

    @override
    def lost(self, task: Task[Any], sample: Sample) -> Iterator[str]:
        if any(box["rotation"] for box in sample.target):
            yield f"{ROTATED}, of which the upright box around it is written"

    @override
    def write_into(self, folder: Path, task: Task[Any], samples: Iterable[Sample]) -> None:
        write_classes(folder, task.classes)
        (folder / _LABELS).mkdir()
        sets = folder / _SETS
        sets.mkdir(parents=True)
        for sample in samples:
            put(folder / _IMAGES / sample.name, sample.content)
            stem = Path(sample.name).stem
            root = self._xml(sample)
            Xml.indent(root)
            put(folder / _LABELS / f"{stem}.xml", Xml.tostring(root, encoding="utf-8") + b"\n")
            if sample.split is not None:
                with (sets / f"{_SET_NAMES[sample.split]}.txt").open("a", encoding="utf-8") as file:
                    file.write(f"{stem}\n")

    def _xml(self, sample: Sample) -> Xml.Element:
        width, height = upright_size(sample.content)
        root = Xml.Element("annotation")
        _add(root, {"folder": _IMAGES, "filename": sample.name})
        _add(Xml.SubElement(root, "size"), {"width": width, "height": height, "depth": 3})
        _add(root, {"segmented": 0})
        first = 1 if self.config.corners == "inclusive" else 0
        for box in sample.target:
            x, y, across, down = enclosing(box)
            entry = Xml.SubElement(root, "object")
            _add(entry, {"name": box["label"], "pose": "Unspecified", "truncated": 0, "difficult": 0})
            corners = {"xmin": x + first, "ymin": y + first, "xmax": x + across, "ymax": y + down}
            _add(Xml.SubElement(entry, "bndbox"), {name: f"{_plain(at)}" for name, at in corners.items()})
        return root


def _parsed(path: Path) -> Xml.Element:
    from defusedxml import DefusedXmlException, ElementTree

    try:
        root: Xml.Element = ElementTree.parse(path).getroot()
    except (Xml.ParseError, DefusedXmlException, OSError, ValueError, LookupError) as error:
        raise ItemError("the XML cannot be read", found=str(error) or type(error).__name__) from error
    if root.tag != "annotation":
        raise ItemError("this is no annotation", found=f"<{root.tag}>", expected="<annotation>")
    return root


def _stem(path: Path, folder: Path, root: Xml.Element, found: Mapping[str, Path]) -> str:
    """Which image a file labels: that of its own name; where there is none, the one that it names."""
    own = path.relative_to(folder / _LABELS).with_suffix("").as_posix()
    if own in found:
        return own
    named = (root.findtext("filename") or "").strip()
    stem = str(Path(named).with_suffix("")) if Path(named).suffix.lower() in IMAGE_EXTENSIONS else named
    if stem in found:
        return stem
    raise ItemError("the image is missing", found=f"neither {own} nor {named!r} in {_IMAGES}")


def _number(parent: Xml.Element, name: str) -> float:
    text = parent.findtext(name)
    try:
        value = round(float(text or ""), 3)
    except ValueError as error:
        raise ItemError(f"{parent.tag} has no number {name}", found=repr(text)) from error
    if not abs(value) < 1e9:
        raise ItemError(f"{parent.tag} has an impossible {name}", found=text)
    return value


def _splits(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted((folder / _SETS).glob("*.txt")):
        split = split_named(path.stem)
        for line in path.read_text(encoding="utf-8").splitlines() if split else ():
            yield line.removesuffix("\n"), str(split)


def _add(parent: Xml.Element, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        Xml.SubElement(parent, name).text = str(value)


def _plain(value: float) -> str:
    """A number to three decimals, none of them in vain."""
    return f"{value:.3f}".rstrip("0").rstrip(".")
