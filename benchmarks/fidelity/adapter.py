"""What the three adapters share: cases in, findings out, through files."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

Found = dict[str, Any]
"""`entries`, perhaps `ids` and `ids_before`; or `problem`: why there are none."""
Convert = Callable[[Path, Mapping[str, Any]], dict[str, Found]]

_PEAK = re.compile(r"VmHWM:\s*(\d+) kB")


def main(convert: Convert, arguments: Sequence[str]) -> None:
    """Convert each case of FOLDER... and write what came back, seconds and peak memory to OUT.json."""
    out, *folders = (Path(argument) for argument in arguments)
    findings = {}
    for folder in folders:
        case = json.loads((folder / "case.json").read_text(encoding="utf-8"))
        began = time.perf_counter()
        found = convert(folder, case)
        findings[folder.name] = {
            "formats": found,
            "seconds": time.perf_counter() - began,
            "megabytes": _peak(),
        }
    out.write_text(json.dumps(findings), encoding="utf-8")


def _peak() -> float:
    """The most memory that this process has held, in MB; Linux keeps `ru_maxrss` across exec."""
    return int(_PEAK.search(Path("/proc/self/status").read_text())[1]) / 1024  # type: ignore[index]


def stem_sizes(folder: Path) -> dict[str, tuple[int, int]]:
    """Stem of each image's name -> its width and height, upright; formats in parts of a length need them."""
    sizes = {}
    for path in sorted((folder / "images").rglob("*.jpg")):
        with Image.open(path) as picture:
            sizes[path.stem] = ImageOps.exif_transpose(picture).size
    return sizes
