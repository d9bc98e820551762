"""`png-masks`: for each image a PNG whose pixels are class ids.

    images/NAME.jpg  masks/NAME.png  classes.txt       or, split: images/train/NAME.jpg  masks/train/NAME.png

A pixel of no class is 255, or 65535 where there are more than 255 classes and the PNG has 16 bits. A data set
without `classes.txt` needs `classes` from the recipe, and `void` if other numbers stand for no class.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from goldloop.errors import ItemError, SourceError
from goldloop.formats._folders import (
    check_size,
    files,
    images,
    put,
    read_classes,
    split_named,
    upright_size,
    write_classes,
)
from goldloop.formats.base import Format, FormatConfig, Sample, bad
from goldloop.records import Quarantined
from goldloop.tasks._masks import from_counts, to_counts
from goldloop.tasks.base import Task

if TYPE_CHECKING:
    import numpy as np

_BYTE_VOID, _WORD_VOID = 255, 65_535


class PngMasks(Format):
    """Class ids as pixels."""

    kinds = frozenset({"semantic-segmentation"})

    class Config(FormatConfig):
        """What a recipe says of it."""

        images: str = "images"
        masks: str = "masks"
        suffix: str = ""
        """What the name of a mask has after its image's, such as `_L`."""
        classes: tuple[str, ...] = ()
        """Class names by id; by default those of `classes.txt`."""
        void: tuple[int, ...] | None = None
        """The pixels that are of no class; by default 255, in PNGs of 16 bits 65535."""

    @override
    def task_fields(self, folder: Path, kind: str) -> dict[str, Any]:
        return {"classes": list(self._classes(folder))}

    def _classes(self, folder: Path) -> tuple[str, ...]:
        classes = self.config.classes or read_classes(folder)
        if not classes:
            raise SourceError(
                "nothing tells what the pixels of the masks mean",
                where=folder,
                remedy="Put a classes.txt beside the masks, or name them: `classes=[sky, road]`, by id",
            )
        return tuple(classes)

    @override
    def read(self, folder: Path, kind: str) -> Iterator[Sample | Quarantined]:
        classes = self._classes(folder)
        pictures, masks = folder / self.config.images, folder / self.config.masks
        found = images(pictures)
        known = {path.relative_to(masks).with_suffix("").as_posix(): path for path in files(masks, {".png"})}
        for stem, image in found.items():
            name = image.relative_to(folder).as_posix()
            split = split_named(stem.partition("/")[0]) if "/" in stem else None
            mask = known.pop(f"{stem}{self.config.suffix}", None)
            try:
                target = None if mask is None else self._target(mask, upright_size(image), classes)
            except ItemError as error:
                yield bad(name, f"{mask.relative_to(folder).as_posix() if mask else ''}: {error}")
                continue
            yield Sample(name=name, content=image, target=target, split=split)
        for path in known.values():
            yield bad(path.relative_to(folder).as_posix(), "there is no image of this name")

    def _target(self, path: Path, size: tuple[int, int], classes: Sequence[str]) -> dict[str, Any]:
        import numpy as np

        pixels = _pixels(path)
        check_size((pixels.shape[1], pixels.shape[0]), size)
        void = self.config.void
        if void is None:
            void = (_BYTE_VOID,) if pixels.dtype.itemsize == 1 else (_WORD_VOID,)
        ids = [int(number) for number in np.unique(pixels) if int(number) not in void]
        if ids and ids[-1] >= len(classes):
            raise ItemError(
                "a pixel is of no class",
                found=f"{ids[-1]}",
                expected=f"0 to {len(classes) - 1}, or void {', '.join(map(str, void))}",
                remedy="Name all classes by id, and in `void` the numbers that stand for none",
            )
        masks = [{"label": classes[number], "counts": to_counts(pixels == number)} for number in ids]
        return {"width": size[0], "height": size[1], "masks": masks}

    @override
    def write_into(self, folder: Path, task: Task[Any], samples: Iterable[Sample]) -> None:
        write_classes(folder, task.classes)
        for sample in samples:
            split = sample.split or ""
            put(folder / self.config.images / split / sample.name, sample.content)
            name = f"{Path(sample.name).stem}{self.config.suffix}.png"
            put(folder / self.config.masks / split / name, _png(sample.target, task))


def _pixels(path: Path) -> np.ndarray[Any, Any]:
    import numpy as np
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode not in ("L", "P", "1", "I", "I;16"):
                raise ItemError(
                    "the mask is a colour picture", found=image.mode, expected="one number for each pixel"
                )
            pixels = np.asarray(image)
    except ItemError:
        raise
    except Exception as error:
        # Pillow raises whatever a broken file drives it to: OSError, SyntaxError, struct.error.
        raise ItemError("the mask cannot be decoded", found=str(error) or type(error).__name__) from error
    return pixels


def _png(target: Any, task: Task[Any]) -> bytes:
    import numpy as np
    from PIL import Image

    width, height = target["width"], target["height"]
    wide = len(task.classes) > _BYTE_VOID
    kind = np.uint16 if wide else np.uint8
    pixels = np.full((height, width), _WORD_VOID if wide else _BYTE_VOID, kind)
    for mask in target["masks"]:
        pixels[from_counts(mask["counts"], width, height)] = task.classes.index(mask["label"])
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()
