"""goldloop on the cases: `with_goldloop.py OUT.json FOLDER...`.

The export is read by the `label-studio` format and by the task that the case is of, written to every format
that holds it, and read back by the same strict readers as the other tools' files; JSONL, which no other tool
writes, by goldloop itself.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import readers
import yaml
from adapter import Found, main, stem_sizes
from cases import KEYPOINTS

from goldloop.formats import formats
from goldloop.formats._tables import TASK
from goldloop.formats.base import Sample
from goldloop.records import Quarantined
from goldloop.tasks import tasks
from goldloop.tasks._geometry import corners
from goldloop.tasks.base import Task

TASKS = {
    "boxes": "object-detection",
    "polygons": "instance-segmentation",
    "masks": "instance-segmentation",
    "keypoints": "keypoints",
    "spans": "token-classification",
}
FORMATS = {
    "boxes": ("coco", "yolo", "pascal-voc", "jsonl"),
    "polygons": ("coco", "yolo", "jsonl"),
    "masks": ("coco", "jsonl"),
    "keypoints": ("coco", "yolo", "jsonl"),
    "spans": ("conll",),
    "offsets": ("jsonl",),
}


def convert(folder: Path, case: Mapping[str, Any]) -> dict[str, Found]:
    """Format -> what came back."""
    found: dict[str, Found] = {}
    for name in FORMATS["offsets" if case["offsets"] else case["kind"]][: case["most_formats"]]:
        try:
            found[name] = _converted(folder, case, name)
        except Exception as error:
            found[name] = {"problem": f"{type(error).__name__}: {error}"[:60]}
    return found


def _converted(folder: Path, case: Mapping[str, Any], name: str) -> Found:
    task, form = _task(case, case["classes"]), formats.create({"kind": name})
    with tempfile.TemporaryDirectory() as place:
        read = list(_read_export(Path(place) / "in", folder, task))
        refused = [entry.reason for entry in read if isinstance(entry, Quarantined)]
        if refused:
            return {"problem": f"refused: {refused[0].rpartition(': ')[2].partition(' (')[0]}"}
        samples = [sample for sample in read if isinstance(sample, Sample) and sample.target is not None]
        named = list(_named(samples))
        out = Path(place) / "out"
        form.write(out, task, named)
        found = _read(name, out, task, case, folder)
        # What `goldloop export` says, and why it writes nothing unless it is told to.
        found["losses"] = form.losses(task, named)
    if case["before"] and found["ids"]:
        earlier = _task({**case, "before": ()}, case["before"]).classes
        found["ids_before"] = {label: number for number, label in enumerate(earlier)}
    return found


def _read_export(place: Path, folder: Path, task: Task[Any]) -> Iterator[Sample | Quarantined]:
    """The export as the task of a recipe reads it, which the format takes from a file beside it."""
    place.mkdir()
    section = task.config.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    (place / TASK).write_text(yaml.safe_dump(section, allow_unicode=True), encoding="utf-8")
    shutil.copyfile(folder / "export.json", place / "tasks.json")
    if (folder / "images").is_dir():
        shutil.copytree(folder / "images", place / "images")
    yield from formats.create({"kind": "label-studio"}).read(place, task.config.kind)


def _task(case: Mapping[str, Any], classes: Sequence[str]) -> Task[Any]:
    """The task of a recipe with these classes, in the order of ids that its versions give them."""
    section: dict[str, Any] = {"kind": TASKS[case["kind"]], "classes": list(classes)}
    if case["kind"] == "keypoints":
        section["keypoints"] = list(KEYPOINTS)
    if case["kind"] == "boxes":
        section["rotated"] = True
    if case["kind"] == "spans":
        section["overlaps"] = "keep"
    task = tasks.create(section)
    return task.with_classes(task.registry(case["before"])) if case["before"] else task


def _named(samples: Sequence[Sample]) -> Iterator[Sample]:
    """Samples by the names of their files, as `goldloop export` gives them: no two have the same stem."""
    stems = Counter(Path(str(sample.content)).stem for sample in samples if isinstance(sample.content, Path))
    for number, sample in enumerate(samples):
        if isinstance(sample.content, Path):
            path = sample.content
            name = path.name if stems[path.stem] == 1 else f"{path.stem}-{number}{path.suffix}"
            yield replace(sample, name=name, metadata={})
        else:
            yield replace(sample, metadata={})


def _read(name: str, out: Path, task: Task[Any], case: Mapping[str, Any], folder: Path) -> Found:
    kind = case["kind"]
    ids = {label: number for number, label in enumerate(task.classes)}
    if name == "coco":
        (path,) = out.rglob("*.json")
        entries, numbers = readers.coco(path, kind)
        # Categories of COCO count from 1.
        return {"entries": entries, "ids": {label: number - 1 for label, number in numbers.items()}}
    if name == "yolo":
        sizes = {path.stem: size for path, size in _sizes(out)}
        entries, ids = readers.yolo(out, kind, {**stem_sizes(folder), **sizes}, KEYPOINTS)
        return {"entries": entries, "ids": ids}
    if name == "pascal-voc":
        return {"entries": readers.voc(out), "ids": {}}
    if name == "conll":
        (path,) = out.glob("*.conll")
        return {"entries": readers.conll(path), "ids": ids}
    back = list(formats.create({"kind": name}).read(out, task.config.kind))
    return {"entries": [_entry(sample, kind) for sample in back if isinstance(sample, Sample)], "ids": ids}


def _sizes(out: Path) -> Iterator[tuple[Path, tuple[int, int]]]:
    from goldloop.formats._folders import upright_size

    for path in out.rglob("*.jpg"):
        yield path, upright_size(path)


def _entry(sample: Sample, kind: str) -> dict[str, Any]:
    target = sample.target
    if isinstance(sample.content, str):
        return {"name": "", "content": sample.content, "regions": target}
    regions = target if isinstance(target, list) else target["objects"]
    name = PurePosixPath(sample.name).name
    if isinstance(sample.content, Path):
        name = sample.content.name
    entry: dict[str, Any] = {"name": name, "regions": [_region(region, kind) for region in regions]}
    return entry


def _region(region: Mapping[str, Any], kind: str) -> dict[str, Any]:
    label = {"label": region["label"]}
    if kind == "boxes":
        return {**label, "corners": corners(region).tolist()}  # type: ignore[arg-type]
    if kind == "keypoints":
        return {**label, "points": {point["name"]: [point["x"], point["y"]] for point in region["points"]}}
    return {**label, **{name: region[name] for name in ("polygon", "counts") if name in region}}


if __name__ == "__main__":
    main(convert, sys.argv[1:])
