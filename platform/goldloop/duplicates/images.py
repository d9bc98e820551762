"""Images that were stored again: another encoding, another size, a crop, a mirror image, or all of it.

On real photos with copies made of them, a crop to 80% of each side is found 98 times in 100, any other copy
practically always; among 66,000 pairs of different photos one was taken for a copy, and is one. The
crop-resistant hash of `imagehash` takes half a second for an image and confuses half of all pairs of photos
of hands.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy
from numpy.typing import NDArray
from typing_extensions import override

from goldloop.duplicates import perceptual
from goldloop.duplicates.alignment import are_copies
from goldloop.duplicates.joins import equal
from goldloop.duplicates.likeness import Candidates, Content, Likeness, Places, Trace

_MOST_BITS_APART = 9
_AT_ONCE = 256
_THREADS = 4
_MIRRORED, _TURNED = 1 << 10, 1 << 11
"""A hint is the window, and whether it is of the mirror image, and of the new image rather than the known."""


class Images(Likeness):
    """Copies of images, and of parts of them."""

    name = "images-1"
    at_once = 16_384
    most_pairs = 5_000_000
    remedy = "`dataset: {duplicates: {images: off}}` lets them be; groups of the source still stay together"

    @override
    def trace(self, contents: Sequence[Content]) -> list[Trace]:
        # What Pillow has to say of odd files was heard when they were pulled.
        with warnings.catch_warnings(), ThreadPoolExecutor(_THREADS) as pool:
            warnings.simplefilter("ignore")
            return list(pool.map(_trace, contents))

    @override
    def candidates(self, new: Sequence[bytes], known: Sequence[bytes]) -> Iterator[Candidates]:
        new_windows, known_windows = perceptual.window_hashes(new), perceptual.window_hashes(known)
        for mirrored in (False, True):
            hint = _MIRRORED if mirrored else 0
            image, owner, window = _alike(new, known_windows, mirrored)
            yield Candidates(image, owner, window | hint)
            image, owner, window = _alike(known, new_windows, mirrored)
            yield Candidates(owner, image, window | hint | _TURNED)

    @override
    def compare(self, one: Sequence[bytes], other: Sequence[bytes], hint: Places) -> NDArray[numpy.bool_]:
        found: list[NDArray[numpy.bool_]] = [numpy.zeros(0, bool)]
        for start in range(0, len(one), _AT_ONCE):
            chosen = slice(start, start + _AT_ONCE)
            found.append(_compare(one[chosen], other[chosen], hint[chosen]))
        return numpy.concatenate(found)


def _trace(content: Content) -> Trace:
    octets = content.encode() if isinstance(content, str) else content
    same = hashlib.sha256(octets).digest()
    planes = perceptual.planes(octets)
    if planes is None:
        return Trace(same, b"", b"")
    grey, color = planes
    return Trace(same, perceptual.sketch(grey), grey.tobytes() + color.tobytes())


def _alike(
    whole: Sequence[bytes], windows: NDArray[numpy.uint64], mirrored: bool
) -> tuple[Places, Places, Places]:
    """Images that look in whole as others do in a window, those others, and in which window most."""
    looks, keys = perceptual.probes(whole, mirrored=mirrored)
    flat = windows.ravel()
    found = [numpy.zeros((3, 0), numpy.int64)]
    for band in range(perceptual.BANDS):
        probed, searched = keys[:, band].ravel(), perceptual.band_of(flat, band)
        for probe, place in equal(probed, searched, below=1 << perceptual.BAND_BITS):
            image = probe // keys.shape[2]
            apart = numpy.bitwise_count(looks[image] ^ flat[place]).astype(numpy.int64)
            close = apart <= _MOST_BITS_APART
            found.append(numpy.stack([image[close], place[close], apart[close]]))
    image, place, apart = numpy.concatenate(found, axis=1)
    owner, window = numpy.divmod(place, windows.shape[1])
    order = numpy.lexsort((window, apart, owner, image))
    image, owner, window = image[order], owner[order], window[order]
    first = numpy.ones(len(order), bool)
    first[1:] = (image[1:] != image[:-1]) | (owner[1:] != owner[:-1])
    return image[first], owner[first], window[first]


def _compare(one: Sequence[bytes], other: Sequence[bytes], hint: Places) -> NDArray[numpy.bool_]:
    turned = (hint & _TURNED) > 0
    whole = [b if is_turned else a for a, b, is_turned in zip(one, other, turned, strict=True)]
    cut = [a if is_turned else b for a, b, is_turned in zip(one, other, turned, strict=True)]
    grey, color = perceptual.planes_of(whole)
    mirrored = (hint & _MIRRORED) > 0
    grey[mirrored], color[mirrored] = grey[mirrored][:, :, ::-1], color[mirrored][:, :, ::-1]
    other_grey, other_color = perceptual.planes_of(cut)
    windows = perceptual.WINDOWS[hint & (_MIRRORED - 1)]
    return are_copies(grey, other_grey, color, other_color, windows)
