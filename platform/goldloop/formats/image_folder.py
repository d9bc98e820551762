"""`image-folder`: an image's class is its folder's name, as torchvision and `datasets` read it.

    CLASS/NAME.jpg                 or, split:      train/CLASS/NAME.jpg  validation/...  test/...
    classes.txt                    class names in the order of their ids; without it they are sorted

The folders at the top are splits if each is named like one and classes lie below them. A class whose name
cannot be a folder's has `%2F` and the like in it, which `classes.txt` undoes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from typing_extensions import override

from goldloop.errors import SourceError
from goldloop.formats._folders import (
    CLASSES,
    IMAGE_EXTENSIONS,
    classes_of,
    files,
    put,
    read_classes,
    split_named,
    write_classes,
)
from goldloop.formats.base import Format, Sample, bad
from goldloop.records import Quarantined
from goldloop.tasks.base import Task


class ImageFolder(Format):
    """A folder for each class."""

    kinds = frozenset({"image-classification"})

    @override
    def task_fields(self, folder: Path, kind: str) -> dict[str, Any]:
        entries = [(relative, *_place(relative, _is_split(folder))) for relative in _relatives(folder)]
        names = (
            name for relative, _, name in entries if name and relative.suffix.lower() in IMAGE_EXTENSIONS
        )
        return {"classes": classes_of(folder, names)}

    @override
    def read(self, folder: Path, kind: str) -> Iterator[Sample | Quarantined]:
        classes = {_folder_name(name): name for name in read_classes(folder)}
        is_split = _is_split(folder)
        for relative in _relatives(folder):
            split, name = _place(relative, is_split)
            if relative.suffix.lower() not in IMAGE_EXTENSIONS:
                yield bad(str(relative), "not a kind of image that is read")
            elif name is None and split is None:
                yield bad(str(relative), "the image lies in no class's folder")
            else:
                target = None if name is None else classes.get(name, name)
                yield Sample(name=str(relative), content=folder / relative, target=target, split=split)

    @override
    def write_into(self, folder: Path, task: Task[Any], samples: Iterable[Sample]) -> None:
        write_classes(folder, task.classes)
        for sample in samples:
            place = folder / (sample.split or "") / _folder_name(sample.target)
            put(place / sample.name, sample.content)


def _relatives(folder: Path) -> list[PurePosixPath]:
    found = [PurePosixPath(path.relative_to(folder).as_posix()) for path in files(folder)]
    found = [path for path in found if path != PurePosixPath(CLASSES)]
    if not found:
        raise SourceError("no image is there", where=folder, expected="a folder for each class")
    return found


def _is_split(folder: Path) -> bool:
    """Whether the folders at the top are splits: named so, with folders of classes below them."""
    places = [path.parts for path in _relatives(folder) if len(path.parts) > 1]
    return any(len(parts) > 2 for parts in places) and all(split_named(parts[0]) for parts in places)


def _place(path: PurePosixPath, is_split: bool) -> tuple[str | None, str | None]:
    """Split and folder of the class of an image."""
    folders = path.parts[:-1]
    split = split_named(folders[0]) if is_split and folders else None
    inner = folders[1:] if split else folders
    return split, inner[0] if inner else None


def _folder_name(name: str) -> str:
    """A class's name as a folder's."""
    for sign in "%/\\":
        name = name.replace(sign, f"%{ord(sign):02X}")
    return f"%2E{name[1:]}" if name.startswith(".") else name
