"""Bytes -> item: what a file is follows from its bytes, and what cannot be used says why."""

from __future__ import annotations

import io
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from goldloop.errors import ItemError
from goldloop.media import EXTENSIONS
from goldloop.records import Item, content_key

IMAGE_EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
TEXT_EXTENSIONS = frozenset({".txt", ".md"})
_ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://")
_WITHOUT_QUERY = frozenset({"file", "local", "memory", "s3", "s3a", "gs", "gcs", "zip", "tar"})


@dataclass(frozen=True, slots=True)
class Limits:
    """What is too large to be used.

    Attributes:
        megapixels: of an image, by its header, so that a larger one is never decoded.
        text_megabytes: of a text, in UTF-8: every page of Label Studio's task list carries it whole.
    """

    megapixels: float
    text_megabytes: float


def image_item(
    content: bytes, uri: str, group: str | None, metadata: Mapping[str, Any], limits: Limits
) -> Item:
    """An item of an image's bytes, its `content` attached.

    Raises:
        ItemError: empty, no image of a kind that is taken, cut off, or too large.
    """
    media_type, width, height, frames = _look(content, limits.megapixels)
    key = content_key(content)
    return Item(
        key=key,
        modality="image",
        uri=uri,
        group=group or key,
        source="",
        metadata={**metadata, "frames": frames} if frames > 1 else dict(metadata),
        media_type=media_type,
        width=width,
        height=height,
        content=content,
    )


def decode_text(content: bytes) -> str:
    """UTF-8 bytes as text, to the character but for a byte-order mark.

    Raises:
        ItemError: another encoding; names the first byte that does not fit.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ItemError(
            "not UTF-8 text",
            found=f"byte 0x{content[error.start]:02x} at offset {error.start}",
            expected="UTF-8",
            remedy="Convert the file, with `iconv -t UTF-8` for example",
        ) from error


def text_item(text: str, uri: str, group: str | None, metadata: Mapping[str, Any], limits: Limits) -> Item:
    """An item of a text, kept to the character.

    Raises:
        ItemError: blank, too large, or with characters that neither a database nor a browser can keep.
    """
    encoded = _checked(text)
    if len(encoded) > limits.text_megabytes * 1e6:
        raise ItemError(
            "the text is too large",
            found=f"{len(encoded) / 1e6:.1f} MB",
            expected=f"at most {limits.text_megabytes:g} MB",
            remedy="Split it, or raise max_text_megabytes",
        )
    key = content_key(encoded)
    return Item(
        key=key,
        modality="text",
        uri=uri,
        group=group or key,
        source="",
        metadata=dict(metadata),
        text=text,
        media_type="text/plain",
    )


def joined_texts(texts: Sequence[str]) -> str:
    """The text of an item that is made of several: a JSON array, always in the same form.

    Raises:
        ItemError: one of them is blank, or has characters that neither a database nor a browser can keep.
    """
    for text in texts:
        # JSON would hide them in escapes.
        _checked(text)
    return json.dumps(list(texts), ensure_ascii=False)


def _checked(text: str) -> bytes:
    """A text in UTF-8, once it is sure that there is something in it and that all can be kept."""
    if not text.strip():
        raise ItemError("the text is empty" if not text else "the text is blank")
    if "\0" in text:
        raise ItemError("the text has a NUL character", found=f"at offset {text.index(chr(0))}")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ItemError("the text has half a surrogate pair", found=f"at offset {error.start}") from error


def without_secrets(uri: str) -> str:
    """An address, or a message with some in it, without users, passwords and queries: tokens live there.

    In a path of this machine or of an object store a question mark is a sign like others.
    """
    uri = re.sub(r"(?<=://)[^/\s]*@", "", uri)
    for address in _ADDRESS.finditer(uri):
        if address["scheme"].lower() not in _WITHOUT_QUERY:
            return uri[: address.end()] + uri[address.end() :].partition("?")[0]
    return uri


def printable(text: str) -> str:
    """A text that any database takes: what is no character, such as a byte in a file name, is escaped."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def _look(content: bytes, megapixels: float) -> tuple[str, int, int, int]:
    """Media type, upright width and height, and number of frames of an image that decodes whole."""
    from PIL import Image, UnidentifiedImageError

    if not content:
        raise ItemError("the file is empty", found="0 bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content)) as image:
                media_type = Image.MIME.get(image.format or "", "unknown")
                _check_header(media_type, image.size, megapixels)
                frames = int(getattr(image, "n_frames", 1))
                turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
                width, height = image.size
                image.load()
    except UnidentifiedImageError as error:
        raise ItemError("this is no image", found=_guess(content), expected=_kinds()) from error
    except Image.DecompressionBombError as error:
        raise ItemError("the image is too large", found=str(error)) from error
    except ItemError:
        raise
    except Exception as error:
        # Pillow's decoders raise whatever a broken file drives them to: OSError, SyntaxError, struct.error.
        raise ItemError("the image cannot be decoded", found=str(error) or type(error).__name__) from error
    return media_type, *((height, width) if turned else (width, height)), frames


def _check_header(media_type: str, size: tuple[int, int], megapixels: float) -> None:
    if media_type not in EXTENSIONS:
        raise ItemError("an image of a kind that is not taken", found=media_type, expected=_kinds())
    if size[0] * size[1] > megapixels * 1e6:
        raise ItemError(
            "the image is too large",
            found=f"{size[0]} x {size[1]} = {size[0] * size[1] / 1e6:.0f} megapixels",
            expected=f"at most {megapixels:g}",
            remedy="Scale it down, or raise max_megapixels",
        )


def _guess(content: bytes) -> str:
    """What some bytes seem to be, for a message."""
    start = content[:512].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if start.startswith(b"%pdf"):
        return "a PDF"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer"
    return f"{len(content)} bytes that begin with {content[:8]!r}"


def _kinds() -> str:
    return ", ".join(sorted(EXTENSIONS))
