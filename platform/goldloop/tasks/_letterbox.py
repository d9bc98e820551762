"""Images as squares of one size with their aspect kept, and the way from the square's pixels back.

S = side of the square. A frame is six numbers: scale across and down (square pixels for one of the image),
the place of the image's corner in the square, and the image's own width and height.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from goldloop.tasks._images import ImageProcessor, decode_upright, upright_size

if TYPE_CHECKING:
    import numpy
    import torch
    from numpy.typing import NDArray

    Frame = NDArray[numpy.float64]


def letterbox(content: Any, processor: ImageProcessor) -> tuple[torch.Tensor, Frame]:
    """An image as a network's input, and where in it the image is.

    Args:
        content: a file's bytes, a `datasets.Image` row or a PIL image.
        processor: what the network expects.

    Returns:
        uint8 `(3, S, S)`, the image in the middle and the mean colour around it; a frame, float64 `(6,)`.

    Raises:
        ItemError: the bytes are no image that can be decoded.
    """
    import numpy
    import torch
    from PIL import Image

    side = processor.size
    width, height = upright_size(content)
    scale = side / max(width, height)
    fitted = (max(1, round(width * scale)), max(1, round(height * scale)))
    left, top = (side - fitted[0]) // 2, (side - fitted[1]) // 2
    square = Image.new("RGB", (side, side), tuple(round(255 * value) for value in processor.mean))
    resized = decode_upright(content, side).resize(fitted, Image.Resampling.BILINEAR)
    square.paste(resized, (left, top))
    pixels = torch.from_numpy(numpy.array(square, dtype=numpy.uint8)).permute(2, 0, 1).contiguous()
    frame = numpy.array(
        [fitted[0] / width, fitted[1] / height, left, top, width, height], dtype=numpy.float64
    )
    return pixels, frame


def into_square(points: NDArray[numpy.float64], frame: Frame) -> NDArray[numpy.float64]:
    """Points of an image, `(..., 2)`, as points of its square."""
    moved: NDArray[numpy.float64] = points * frame[:2] + frame[2:4]
    return moved


def out_of_square(points: NDArray[numpy.float64], frame: Frame) -> NDArray[numpy.float64]:
    """Points of a square, `(..., 2)`, as points of its image, within the image."""
    import numpy

    moved: NDArray[numpy.float64] = numpy.clip((points - frame[2:4]) / frame[:2], 0, frame[4:6])
    return moved
