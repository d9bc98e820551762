"""Files of a data set: which there are, what split a name means, what an image's size is."""

from __future__ import annotations

import io
import re
import shutil
import warnings
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from goldloop.errors import ItemError, SourceError
from goldloop.media import EXTENSIONS

IMAGE_EXTENSIONS = frozenset({*EXTENSIONS.values(), ".jpeg", ".tif"})
CLASSES = "classes.txt"
"""Class names in the order of their ids, a line each: for formats that have no list of their own."""

_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
_SPLIT_IN_NAME = re.compile(r"(?<![a-z])(train|training|val|valid|validation|dev|test|testing)(?![a-z])")


def split_named(name: str) -> str | None:
    """The split that a folder's name means: `val` is `validation`."""
    return _SPLITS.get(name.lower())


def split_within(name: str) -> str | None:
    """The split that a file's name mentions, as `instances_train2017` and `emerging.dev` do."""
    found = _SPLIT_IN_NAME.search(name.lower())
    return _SPLITS[found[1]] if found else None


def files(folder: Path, extensions: Collection[str] | None = None) -> list[Path]:
    """Every file below a folder by path, hidden ones left out; those with an extension, in lower case.

    Raises:
        SourceError: there is no such folder.
    """
    if not folder.is_dir():
        raise SourceError("no folder is there", where=folder)
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [
        path
        for path in found
        if (extensions is None or path.suffix.lower() in extensions)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def images(folder: Path) -> dict[str, Path]:
    """Every image below a folder by its relative path without the extension.

    Raises:
        SourceError: there is none, or two that differ in their extension alone.
    """
    found: dict[str, Path] = {}
    for path in files(folder, IMAGE_EXTENSIONS):
        stem = path.relative_to(folder).with_suffix("").as_posix()
        if stem in found:
            raise SourceError(
                "two images differ in their extension alone, so that labels could be of either",
                where=folder,
                found=f"{found[stem].name} and {path.name}",
            )
        found[stem] = path
    if not found:
        raise SourceError("no image is there", where=folder, expected=", ".join(sorted(IMAGE_EXTENSIONS)))
    return found


def upright_size(content: Path | bytes | str) -> tuple[int, int]:
    """Width and height of an image in pixels, after its EXIF orientation; only its header is read.

    Raises:
        ItemError: it is no image.
    """
    from PIL import Image

    if isinstance(content, str):
        raise ItemError("this is no image but a text")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content) if isinstance(content, bytes) else content) as image:
                width, height = image.size
                turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    except Exception as error:
        # Pillow raises whatever a broken file drives it to: OSError, SyntaxError, struct.error.
        raise ItemError("this is no image", found=str(error) or type(error).__name__) from error
    return (height, width) if turned else (width, height)


def check_size(declared: tuple[int, int], actual: tuple[int, int]) -> None:
    """Hold the size that a label file tells against the image's.

    Raises:
        ItemError: they differ.
    """
    if declared == actual:
        return
    turned = declared == actual[::-1]
    raise ItemError(
        "the labels are of an image of another size",
        found="{} x {}".format(*declared),
        expected="{} x {}{}".format(*actual, ", upright by its EXIF orientation" if turned else ""),
    )


def put(path: Path, content: Path | bytes | str) -> None:
    """Write a content as it is; an image's bytes are copied, never encoded anew."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, Path):
        shutil.copyfile(content, path)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content, encoding="utf-8", newline="")


def read_classes(folder: Path) -> tuple[str, ...]:
    """The class names in `classes.txt`; none where there is no such file."""
    path = folder / CLASSES
    if not path.is_file():
        return ()
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError("not UTF-8 text", where=path) from error
    return tuple(line.removesuffix("\r") for line in text.split("\n") if line.strip())


def write_classes(folder: Path, classes: Sequence[str]) -> None:
    """Write `classes.txt`."""
    put(folder / CLASSES, "".join(f"{name}\n" for name in classes))


def classes_of(folder: Path, names: Iterable[str], where: object = None) -> list[str]:
    """The classes of `classes.txt`, else the names that were found, sorted.

    Raises:
        SourceError: there are neither.
    """
    found = list(read_classes(folder)) or sorted(set(names))
    if not found:
        raise SourceError("no class is named anywhere", where=where or folder)
    return found
