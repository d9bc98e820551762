"""Images by content: each stored once, in the bytes that it came in.

A file is written aside and renamed, so that one which is there is whole. Formats that browsers cannot
show (TIFF) get a PNG twin beside them for annotators; models always see the original.
"""

from __future__ import annotations

import hashlib
import io
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from goldloop import durable
from goldloop.errors import WorkspaceError
from goldloop.records import Item, content_key

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
_ORIENTATION, _TURNS = 0x0112, range(2, 9)
_QUALITY = 95


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

    def upright(self, item: Item) -> tuple[Path, str]:
        """A file that every browser shows as it is meant, and its media type.

        The original, unless its EXIF data turn it or browsers cannot show it: then a turned copy, which is
        made the first time and tells nothing of where and when a picture was taken.

        Raises:
            WorkspaceError: the original is gone.
        """
        lossy = item.media_type == "image/jpeg"
        turned = self._file(item, ".upright.jpg" if lossy else ".preview.png")
        kind = "image/jpeg" if lossy else "image/png"
        if turned.exists():
            return turned, kind
        if item.media_type not in _NOT_IN_BROWSERS and not _is_turned(self.path(item)):
            return self.path(item), item.media_type
        content = self.read(item)
        _write_once(turned, _as_jpeg(content) if lossy else _as_png(content))
        return turned, kind

    def keep(self, item: Item, pieces: Iterable[bytes], most: int) -> bool:
        """Keep an image that comes in pieces, in the memory of one; False if it is not the item's content.

        Args:
            item: which image it should be.
            pieces: its bytes.
            most: how many bytes at most.
        """
        path = self.path(item)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        digest, size = hashlib.sha256(), 0
        try:
            with aside.open("wb") as file:
                for piece in pieces:
                    size += len(piece)
                    if size > most:
                        return False
                    digest.update(piece)
                    file.write(piece)
            if digest.hexdigest() != item.key:
                return False
            durable.flush(aside)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
        return True

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

    def find(self, key: str) -> bytes | None:
        """The original bytes of an image by its key; None where they are not here, or not what they were."""
        for extension in EXTENSIONS.values():
            with suppress(OSError):
                content = (self.root / key[:2] / f"{key}{extension}").read_bytes()
                if content_key(content) == key:
                    return content
        return None

    def _file(self, item: Item, extension: str) -> Path:
        return self.root / item.key[:2] / f"{item.key}{extension}"


def _write_once(path: Path, content: bytes) -> None:
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    durable.replace(path, content)


def _is_turned(path: Path) -> bool:
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.getexif().get(_ORIENTATION, 1) in _TURNS
    except FileNotFoundError:
        # Who asks for it tells so.
        return False


def _as_png(content: bytes) -> bytes:
    return _upright(content, format="PNG")


def _as_jpeg(content: bytes) -> bytes:
    return _upright(content, format="JPEG", quality=_QUALITY, subsampling=0)


def _upright(content: bytes, **options: Any) -> bytes:
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(content)) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    # A copy without what else the file told.
    bare = Image.new("RGB", upright.size)
    bare.paste(upright)
    buffer = io.BytesIO()
    bare.save(buffer, **options)
    return buffer.getvalue()
