"""Small pictures inside a page, as data URIs: a page loads nothing from elsewhere."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image


def small_copy(image: bytes, side: int) -> tuple[Image.Image, float] | None:
    """A small upright copy, and its pixels for one of the image's; None if it cannot be drawn."""
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(image)) as opened:
            longest = max(opened.size)
            opened.draft("RGB", (side * 2, side * 2))
            small = ImageOps.exif_transpose(opened).convert("RGB")
        small.thumbnail((side, side))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return small, max(small.size) / longest


def jpeg_uri(picture: Image.Image) -> str:
    """A picture as JPEG."""
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=80)
    return data_uri("image/jpeg", buffer.getvalue())


def data_uri(media_type: str, data: bytes) -> str:
    """Bytes as an address that holds them."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
