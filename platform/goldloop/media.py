"""Images by content: each stored once, in the bytes that it came in.

A file is written aside and renamed, so that one which is there is whole. Formats that browsers cannot
show (TIFF) get a PNG twin beside them for annotators; models always see the original.
"""

from __future__ import annotations

import io
from pathlib import Path

from goldloop import durable
from goldloop.errors import WorkspaceError
from goldloop.records import Item

EXTENSIONS = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "image/bmp": ".bmp",
    "image/gif": ".gif",
    "image/tiff": ".tiff",
}
"""The media types that goldloop takes, by what is in the bytes, and the extension it keeps them under."""

_NOT_IN_BROWSERS = {"image/tiff"}


class MediaStore:
    """A folder of images by content key."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, item: Item) -> Path:
        """Where an item's original bytes lie."""
        return self._file(item, EXTENSIONS[item.media_type])

    def preview(self, item: Item) -> Path:
        """Where the bytes lie that a browser is shown: the original wherever a browser can show it."""
        if item.media_type in _NOT_IN_BROWSERS:
            return self._file(item, ".preview.png")
        return self.path(item)

    def put(self, item: Item, content: bytes) -> None:
        """Keep an image's bytes; those already there are not written again."""
        _write_once(self.path(item), content)
        if item.media_type in _NOT_IN_BROWSERS and not self.preview(item).exists():
            _write_once(self.preview(item), _as_png(content))

    def read(self, item: Item) -> bytes:
        """An item's original bytes.

        Raises:
            WorkspaceError: they are gone.
        """
        try:
            return self.path(item).read_bytes()
        except OSError as error:
            raise WorkspaceError(
                "an image is missing from the workspace",
                where=self.path(item),
                found=error.strerror,
                remedy=f"Run `goldloop pull` with `--full`; it came from {item.uri}",
            ) from error

    def _file(self, item: Item, extension: str) -> Path:
        return self.root / item.key[:2] / f"{item.key}{extension}"


def _write_once(path: Path, content: bytes) -> None:
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    durable.replace(path, content)


def _as_png(content: bytes) -> bytes:
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(content)) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    buffer = io.BytesIO()
    upright.save(buffer, format="PNG")
    return buffer.getvalue()
