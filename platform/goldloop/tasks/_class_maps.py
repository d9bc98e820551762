"""Maps of classes, uint8 `(H, W)`: the class id of each pixel, 255 where it is void, that is of no class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from goldloop.tasks._masks import from_counts, to_counts
from goldloop.tasks._regions import colour

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray
    from PIL import Image

    ClassMap = NDArray[numpy.uint8]

VOID = 255
MOST_CLASSES = 255


class ClassMask(TypedDict):
    """The pixels of one class: `counts` of COCO's compressed RLE."""

    label: str
    counts: str


class SemanticMasks(TypedDict):
    """The class of each pixel of an image: a mask for each class that appears, by class id, none overlapping.

    A pixel that lies in none is void: nobody says what it shows.
    """

    width: int
    height: int
    masks: list[ClassMask]


def void_map(width: int, height: int) -> ClassMap:
    """A map whose every pixel is void."""
    import numpy

    return numpy.full((height, width), VOID, dtype=numpy.uint8)


def map_of(target: Mapping[str, Any], classes: Sequence[str]) -> ClassMap:
    """A target as a map; where masks overlap, which those of a target do not, the later one wins."""
    width, height = target["width"], target["height"]
    pixels = void_map(width, height)
    for mask in target["masks"]:
        pixels[from_counts(mask["counts"], width, height)] = classes.index(mask["label"])
    return pixels


def target_of(pixels: ClassMap, classes: Sequence[str]) -> SemanticMasks:
    """A map as a target."""
    import numpy

    height, width = pixels.shape
    present = numpy.flatnonzero(numpy.bincount(pixels.reshape(-1), minlength=VOID + 1)[:VOID])
    masks: list[ClassMask] = [
        {"label": classes[number], "counts": to_counts(pixels == number)} for number in present.tolist()
    ]
    return {"width": width, "height": height, "masks": masks}


def mean_overlap(a: ClassMap, b: ClassMap) -> float:
    """Intersection over union, averaged over the classes that either map has; 1 where neither has any."""
    import numpy

    sizes_a, sizes_b, common = (
        numpy.bincount(pixels, minlength=VOID + 1)[:VOID]
        for pixels in (a.reshape(-1), b.reshape(-1), a[a == b])
    )
    union = sizes_a + sizes_b - common
    present = union > 0
    return float((common[present] / union[present]).mean()) if present.any() else 1.0


def majority(maps: Sequence[ClassMap]) -> ClassMap | None:
    """Each pixel's most frequent answer, void among them; void at a tie, None where every pixel is a tie."""
    import numpy

    most = numpy.zeros(maps[0].shape, dtype=numpy.int32)
    chosen = numpy.full(maps[0].shape, VOID, dtype=numpy.uint8)
    tied = numpy.zeros(maps[0].shape, dtype=numpy.bool_)
    answers = numpy.unique(numpy.concatenate([numpy.unique(pixels) for pixels in maps]))
    for answer in answers.tolist():
        votes = numpy.zeros_like(most)
        for pixels in maps:
            votes += pixels == answer
        tied = (tied & (votes <= most)) | ((votes == most) & (votes > 0))
        chosen[votes > most] = answer
        numpy.maximum(most, votes, out=most)
    chosen[tied] = VOID
    return None if tied.all() else chosen


def painted(pixels: ClassMap, picture: Image.Image) -> Image.Image:
    """A picture, perhaps smaller than its map, with each class painted over it in its colour; void stays."""
    import numpy
    from PIL import Image, ImageColor

    ids = numpy.asarray(Image.fromarray(pixels).resize(picture.size, Image.Resampling.NEAREST))
    shades = numpy.array([ImageColor.getrgb(colour(number)) for number in range(MOST_CLASSES + 1)])
    seen = numpy.asarray(picture)
    mixed = (seen.astype(numpy.int64) + shades[ids]) // 2
    return Image.fromarray(numpy.where((ids < MOST_CLASSES)[..., None], mixed, seen).astype(numpy.uint8))


def discs_and_bars(variant: int, classes: int, *, void: bool) -> tuple[ClassMap, Image.Image]:
    """A map for examples, and the picture that it belongs to: a ring and a bar under a strip that is void.

    Args:
        variant: moves them.
        classes: how many there are: the ground, the ring, the bar.
        void: the whole map.
    """
    import numpy
    from PIL import Image

    width, height = 56, 40
    down, right = numpy.mgrid[:height, :width]
    pixels = void_map(width, height)
    if not void:
        pixels[6:] = 0
        disc = (right - 12 - 6 * variant) ** 2 + (down - 20) ** 2
        # A ring: what lies in its hole is ground.
        pixels[(disc < 11**2) & (disc > 4**2)] = 1
        pixels[30:36, 3 + 2 * variant : 40] = min(2, classes - 1)
    colours = numpy.array([[90, 140, 60], [220, 60, 40], [40, 60, 200]], dtype=numpy.uint8)
    picture = numpy.full((height, width, 3), 235 - 5 * variant, dtype=numpy.uint8)
    for number, colour_ in enumerate(colours):
        picture[pixels == number] = colour_
    return pixels, Image.fromarray(picture)
