"""Masks of images, bool `(H, W)`, in every form that they come in; each form and back is exact to the pixel.

- Label Studio's brush RLE: `from_label_studio`, `to_label_studio`;
- the counts of COCO's compressed RLE, the form of targets and rows: `from_counts`, `to_counts`;
- PNG files: `from_png`, `to_png`;
- the outline of a polygon, one way only: `polygon_mask`.

A mask is one object however many parts and holes it has.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from goldloop.errors import AnnotationError
from goldloop.tasks._label_studio_rle import from_label_studio, to_label_studio

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    from goldloop.tasks._label_studio_rle import Mask

__all__ = [
    "from_counts",
    "from_label_studio",
    "from_png",
    "polygon_mask",
    "to_counts",
    "to_label_studio",
    "to_png",
]

_FIRST_SIGN = ord("0")
_MOST_SIGNS = 6
_MASK_MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")


def to_counts(mask: Mask) -> str:
    """A mask as the `counts` of COCO's compressed RLE, down the columns; one string per set of pixels."""
    import numpy
    from pycocotools.mask import encode

    counts: bytes = encode(numpy.asfortranarray(mask, dtype=numpy.uint8))["counts"]
    return counts.decode("ascii")


def from_counts(counts: str, width: int, height: int, where: str | None = None) -> Mask:
    """The mask, bool `(height, width)`, of COCO's compressed counts.

    Raises:
        AnnotationError: no such string, or one of another size. (pycocotools would write past its memory.)
    """
    import numpy

    runs = _runs(counts, width * height, where)
    inside = numpy.zeros(len(runs), dtype=numpy.bool_)
    inside[1::2] = True
    columns = numpy.repeat(inside, runs).reshape(width, height)
    return numpy.ascontiguousarray(columns.T)


def _runs(counts: Any, pixels: int, where: str | None) -> NDArray[numpy.int32]:
    """Lengths of the runs, outside and inside by turns, of a mask of so many pixels.

    A number is written in signs of 5 bits from the lowest, a sixth bit says that more follow; from the
    fourth on, it is the difference from the number two before.
    """
    import numpy

    problem = AnnotationError(
        "a mask is no compressed RLE of COCO's",
        where=where,
        found=repr(counts)[:60],
        expected="the `counts` that pycocotools writes, as text",
    )
    if not isinstance(counts, str) or not counts.isascii() or not counts:
        raise problem
    signs = numpy.frombuffer(counts.encode("ascii"), dtype=numpy.uint8) - numpy.uint8(_FIRST_SIGN)
    last = (signs & 0x20) == 0
    if signs.max() > 0x3F or not last[-1]:
        raise problem
    ends = numpy.flatnonzero(last).astype(numpy.int32)
    sizes = numpy.diff(ends, prepend=numpy.int32(-1))
    if sizes.max() > _MOST_SIGNS:
        raise problem
    numbers = numpy.where(signs[ends] & 0x10, numpy.int32(-1), numpy.int32(0))
    for back in range(int(sizes.max())):
        has = sizes > back
        numbers[has] = (numbers[has] << 5) | (signs[ends[has] - back] & 0x1F)
    for first in (1, 2):
        numpy.cumsum(numbers[first::2], out=numbers[first::2])
    # Sums that overflowed have a negative number among them, or make another total.
    if numbers.min() < 0:
        raise problem
    total = int(numbers.sum(dtype=numpy.int64))
    if total != pixels:
        raise AnnotationError(
            "a mask has another size than its image", where=where, found=f"{total} pixels", expected=pixels
        )
    return numbers


def to_png(mask: Mask) -> bytes:
    """A mask as a PNG file of one bit per pixel, white in it."""
    import numpy
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(numpy.asarray(mask, dtype=numpy.bool_)).save(buffer, format="PNG")
    return buffer.getvalue()


def from_png(content: bytes, where: str | None = None) -> Mask:
    """The mask, bool `(H, W)`, in an image file: pixels over 0, or of alpha over 0 where there is alpha.

    Raises:
        AnnotationError: no image, or one of colours without alpha.
    """
    import numpy
    from PIL import Image

    try:
        picture: Image.Image = Image.open(io.BytesIO(content))
        picture.load()
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise AnnotationError(
            "a mask is no image that can be decoded",
            where=where,
            found=type(error).__name__,
            expected="a whole PNG file",
        ) from error
    if picture.mode in ("LA", "RGBA"):
        picture = picture.getchannel("A")
    if picture.mode not in _MASK_MODES:
        raise AnnotationError(
            "an image of colours is no mask",
            where=where,
            found=picture.mode,
            expected="one channel, or alpha",
        )
    return numpy.asarray(picture) > 0


def polygon_mask(points: Sequence[Sequence[float]], width: int, height: int) -> Mask:
    """The pixels of a polygon, bool `(height, width)`: those whose centre lies inside.

    Pixel (column, row) has its centre at (column + 0.5, row + 0.5). Inside is what the canvas of a browser
    fills, a winding number other than 0, so a polygon that crosses itself has no holes. A centre on a left
    or upper edge is inside, on a right or lower one outside: neighbours along an edge share no pixel and
    leave none out. What lies beyond the image is cut off.

    Args:
        points: corners (x, y) in pixels, in order; the last is joined to the first.
        width: the image's, in pixels.
        height: the image's, in pixels.
    """
    import numpy

    corners = numpy.asarray(points, dtype=numpy.float64).reshape(-1, 2)
    mask = numpy.zeros((height, width), dtype=numpy.bool_)
    # The first centre at or after a coordinate, in columns or rows.
    left, top = numpy.ceil(corners.min(0) - 0.5).astype(int).clip(0, (width, height))
    right, bottom = numpy.ceil(corners.max(0) - 0.5).astype(int).clip(0, (width, height))
    if left == right or top == bottom:
        return mask
    # How much the winding number grows where a row, from left to right, crosses the outline.
    steps = numpy.zeros((bottom - top, right - left + 1), dtype=numpy.int32)
    for start, end in zip(corners.tolist(), numpy.roll(corners, -1, axis=0).tolist(), strict=True):
        # Always downwards, so that two polygons find the same crossings of the edge they share.
        (low_x, low), (high_x, high) = sorted((start, end), key=lambda corner: (corner[1], corner[0]))
        rows = numpy.arange(max(top, math.ceil(low - 0.5)), min(bottom, math.ceil(high - 0.5)))
        if len(rows):
            crossings = low_x + (rows + 0.5 - low) / (high - low) * (high_x - low_x)
            columns = numpy.ceil(crossings - 0.5).clip(left, right).astype(int)
            steps[rows - top, columns - left] += 1 if start[1] < end[1] else -1
    mask[top:bottom, left:right] = numpy.cumsum(steps, axis=1, out=steps)[:, :-1] != 0
    return mask
