"""What is known of an item besides what it shows: size, brightness, length, folder, source, metadata."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from goldloop.records import Item

_SIDE = 64
_TAKEN_AT = 0x9003
_DETAILS = 0x8769
_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)


def circumstances(row: Mapping[str, Any], item: Item | None, classes: Sequence[str] = ()) -> dict[str, Any]:
    """Name -> value of one item; None where it is not known.

    Args:
        row: of a version: its content and `uri`.
        item: what the catalog knows of it; None where it knows nothing.
        classes: a folder that is called like one tells the label on purpose.
    """
    found: dict[str, Any] = {"folder": _folder(row["uri"], classes)}
    if item is not None:
        found["source"] = item.source
        found |= {f"metadata {name}": value for name, value in item.metadata.items() if _plain(value)}
    if "text" in row:
        text = row["text"]
        return found | {"length": len(text), "words": len(text.split())}
    return found | _of_image(row["image"]["bytes"])


def _folder(uri: str, classes: Sequence[str]) -> str:
    parts = PurePosixPath(uri.partition("#")[0]).parent.parts
    return "/".join(part for part in parts if part not in classes) or "."


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _of_image(content: bytes) -> dict[str, Any]:
    from PIL import Image, ImageStat

    with Image.open(io.BytesIO(content)) as image:
        details, kind, (width, height) = image.getexif(), image.format, image.size
        taken = details.get_ifd(_DETAILS).get(_TAKEN_AT)
        if details.get(_ORIENTATION, 1) in _ON_ITS_SIDE:
            width, height = height, width
        image.draft("L", (_SIDE, _SIDE))
        small = image.convert("L").resize((_SIDE, _SIDE))
    shades = ImageStat.Stat(small)
    return {
        "file size": len(content),
        "format": kind,
        "width": width,
        "height": height,
        "aspect": round(width / height, 4),
        "brightness": shades.mean[0],
        "contrast": shades.stddev[0],
        "taken at": _moment(taken),
    }


def _moment(exif: Any) -> str | None:
    """EXIF writes `2026:11:25 17:00:00`."""
    if not isinstance(exif, str) or len(exif) < len("2026:11:25"):
        return None
    return exif[:10].replace(":", "-") + exif[10:19].replace(" ", "T")
