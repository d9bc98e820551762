"""label-studio-sdk's converter on the cases: `with_label_studio_sdk.py OUT.json FOLDER...`.

Each case is converted to every training format that `Converter.supported_formats` offers for its labelling
interface, by `Converter.convert`, and read back by a strict reader.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import readers
from adapter import Found, main, stem_sizes
from cases import KEYPOINTS, label_config

FORMATS = {
    "boxes": ("COCO", "COCO_WITH_IMAGES", "YOLO", "YOLO_WITH_IMAGES", "YOLO_OBB", "VOC"),
    "polygons": ("COCO", "COCO_WITH_IMAGES", "YOLO", "BRUSH_TO_COCO"),
    "masks": ("BRUSH_TO_PNG", "BRUSH_TO_NUMPY", "BRUSH_TO_COCO"),
    "keypoints": ("COCO", "COCO_WITH_IMAGES", "YOLO"),
    "spans": ("CONLL2003",),
    "offsets": ("JSON_MIN",),
}


def convert(folder: Path, case: Mapping[str, Any]) -> dict[str, Found]:
    """Format -> what came back."""
    from label_studio_sdk.converter import Converter

    names = FORMATS["offsets" if case["offsets"] else case["kind"]]
    offered = Converter(case["config"], str(folder)).supported_formats
    found: dict[str, Found] = {}
    for name in names[: case["most_formats"]]:
        if name not in offered:
            continue
        try:
            entries, ids = _converted(folder, case, case["config"], name)
            found[name] = {"entries": entries, "ids": ids}
            if case["before"]:
                earlier = label_config(case["kind"], case["before"], alone=case["alone"])
                found[name]["ids_before"] = _converted(folder, case, earlier, name)[1]
        except Exception as error:
            found[name] = {"problem": f"{type(error).__name__}: {error}"[:60]}
    return found


def _converted(
    folder: Path, case: Mapping[str, Any], config: str, name: str
) -> tuple[readers.Entries, dict[str, int]]:
    from label_studio_sdk.converter import Converter

    with tempfile.TemporaryDirectory() as place:
        out = Path(place)
        converter = Converter(config, str(folder), local_files_resolver=lambda path: str(folder / path))
        converter.convert(str(folder / "export.json"), str(out), name, is_dir=False)
        kind = case["kind"]
        if name in ("COCO", "COCO_WITH_IMAGES", "BRUSH_TO_COCO"):
            (path,) = out.glob("*.json")
            return readers.coco(path, kind)
        if name.startswith("YOLO"):
            return readers.yolo(out, kind, stem_sizes(folder), KEYPOINTS)
        if name == "VOC":
            return readers.voc(out), {}
        if name == "CONLL2003":
            return readers.conll(out / "result.conll"), {}
        if name == "JSON_MIN":
            return readers.json_min(out / "result.json"), {}
        return readers.brush_files(out, case["names"]), {}


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    main(convert, sys.argv[1:])
