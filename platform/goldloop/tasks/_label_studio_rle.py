"""Label Studio's brush masks: the packed runs of `@thi.ng/rle-pack` over RGBA pixels, row by row.

    32 bits: number of words | 5: word size - 1 | 4 x 4: count sizes - 1 | blocks ...
    block: 1 bit: a run? | 2: which count size | count - 1 | one word for a run, else `count` words

A word is one channel of one pixel, and a pixel is in the mask where its alpha is over 0, whatever its colour.
An RGBA image of 4096 x 4096 would be 64 MiB; neither direction ever holds one. Masks are read a few
thousand blocks at a time, and written from the runs of the mask, which are a quarter as long as RGBA's.
"""

from __future__ import annotations

import functools
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from goldloop.errors import AnnotationError

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Mask = NDArray[numpy.bool_]
    Integers = NDArray[numpy.int64]

_CHANNELS = 4
_ALPHA = 3
_HEADER_BITS = 32 + 5 + 4 * 4
_KIND_BITS = 1 + 2
_LONGEST_COUNT = 16
_WORD_SIZE = 8
_COUNT_SIZES = (3, 4, 8, 16)
_LONGEST_RUN = 1 << _COUNT_SIZES[-1]
_BLOCKS_AT_ONCE = 1 << 14
_PIXELS_AT_ONCE = 1 << 16
_SEARCHED_AT_ONCE = 1 << 20
_REMEDY = "Draw the region again with the brush, or give the RLE as Label Studio exports it"


@dataclass(frozen=True, slots=True)
class _Header:
    words: int
    word_size: int
    count_sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Blocks in order: whether each is a run, its words [start, end), and the bit of its first value."""

    is_run: Mask
    starts: Integers
    ends: Integers
    values: Integers


def from_label_studio(rle: Sequence[int], width: int, height: int, where: str | None = None) -> Mask:
    """The pixels of a brush region, bool `(height, width)`: those whose alpha is over 0.

    Args:
        rle: bytes in [0, 255], as in a region's `value.rle`.
        width: the region's `original_width`.
        height: its `original_height`.
        where: how an error names the region.

    Raises:
        AnnotationError: no such stream, a broken one, or one of another size.
    """
    import numpy

    data = _bytes_of(rle, where)
    header = _header_of(data, where)
    if header.words != _CHANNELS * width * height:
        raise AnnotationError(
            "a brush mask has another size than its image",
            where=where,
            found=f"{header.words} values",
            expected=f"{_CHANNELS} x {width} x {height} = {_CHANNELS * width * height}",
            remedy=_REMEDY,
        )
    # Reads of 64 bits may begin in the last byte.
    padded = numpy.concatenate([data, numpy.zeros(8, numpy.uint8)])
    pixels = numpy.zeros(width * height, dtype=numpy.bool_)
    done = 0
    for blocks in _blocks(padded, 8 * len(data), header):
        _paint(pixels, blocks, padded, header.word_size)
        done = int(blocks.ends[-1])
    if done < header.words:
        raise AnnotationError(
            "a brush mask breaks off",
            where=where,
            found=f"{done} of {header.words} values",
            remedy=_REMEDY,
        )
    return pixels.reshape(height, width)


def _bytes_of(rle: Any, where: str | None) -> NDArray[numpy.uint8]:
    import numpy

    try:
        return numpy.frombuffer(bytes(bytearray(rle)), dtype=numpy.uint8)
    except (TypeError, ValueError) as error:
        shown = repr(rle)
        raise AnnotationError(
            "a brush mask is no list of bytes",
            where=where,
            found=shown if len(shown) <= 60 else f"{shown[:60]}…",
            expected="numbers from 0 to 255",
            remedy=_REMEDY,
        ) from error


def _header_of(data: NDArray[numpy.uint8], where: str | None) -> _Header:
    if 8 * len(data) < _HEADER_BITS:
        raise AnnotationError(
            "a brush mask has no header", where=where, found=f"{len(data)} bytes", remedy=_REMEDY
        )
    first = int.from_bytes(data[:7].tobytes(), "big") >> (7 * 8 - _HEADER_BITS)
    return _Header(
        words=first >> 21,
        word_size=(first >> 16 & 0x1F) + 1,
        count_sizes=tuple((first >> shift & 0xF) + 1 for shift in (12, 8, 4, 0)),
    )


@functools.lru_cache(maxsize=4)
def _block_lengths(word_size: int, count_sizes: tuple[int, ...]) -> memoryview:
    """A block's length in bits by its first 19 bits, which hold its kind and the longest count."""
    import numpy

    heads = numpy.arange(1 << (_KIND_BITS + _LONGEST_COUNT), dtype=numpy.int32)
    sizes = numpy.array(count_sizes, dtype=numpy.int32)[heads >> _LONGEST_COUNT & 3]
    counts = (heads & ((1 << _LONGEST_COUNT) - 1)) >> (_LONGEST_COUNT - sizes)
    is_run = heads >> (_LONGEST_COUNT + 2) == 1
    lengths = _KIND_BITS + sizes + word_size * numpy.where(is_run, 1, counts + 1)
    return memoryview(lengths.astype(numpy.int32))


def _blocks(padded: NDArray[numpy.uint8], bits: int, header: _Header) -> Iterator[_Blocks]:
    """The whole blocks of a stream, some thousand at a time, up to the last word."""
    import numpy

    lengths = _block_lengths(header.word_size, header.count_sizes)
    sizes_by_kind = numpy.array(header.count_sizes, dtype=numpy.int64)
    data, at, word = padded.tobytes(), _HEADER_BITS, 0
    while word < header.words:
        places = array("q")
        # Where a block begins is known only from the one before it; all else is done for many at once.
        while len(places) < _BLOCKS_AT_ONCE:
            byte = at >> 3
            head = int.from_bytes(data[byte : byte + 4], "big") >> (13 - (at & 7)) & 0x7FFFF
            following = at + lengths[head]
            if following > bits:
                break
            places.append(at)
            at = following
        if not places:
            return
        heads = numpy.frombuffer(places, dtype=numpy.int64)
        kinds = _read(padded, heads, _KIND_BITS)
        sizes = sizes_by_kind[kinds & 3]
        counts = _read(padded, heads + _KIND_BITS, sizes) + 1
        ends = word + numpy.cumsum(counts)
        # What follows the last word fills up a byte.
        used = slice(int(numpy.searchsorted(ends, header.words)) + 1)
        starts, word = (ends - counts)[used], int(ends[-1])
        ends = ends[used].clip(max=header.words)
        yield _Blocks((kinds >> 2 == 1)[used], starts, ends, (heads + _KIND_BITS + sizes)[used])


def _read(padded: NDArray[numpy.uint8], places: Integers, sizes: Integers | int) -> Integers:
    """The numbers of `sizes` bits, up to 32, that begin at the bits `places`."""
    import numpy

    first = places >> 3
    window = numpy.zeros(len(places), dtype=numpy.int64)
    for byte in range(5):
        window = window << 8 | padded[first + byte]
    return window >> (40 - (places & 7) - sizes) & ((1 << numpy.asarray(sizes, dtype=numpy.int64)) - 1)


def _paint(pixels: Mask, blocks: _Blocks, padded: NDArray[numpy.uint8], word_size: int) -> None:
    """Set the pixels whose alpha lies in these blocks."""
    import numpy

    # Alpha is word 3 of its pixel, so a block has the alpha of the pixels that end in it.
    firsts, ends = blocks.starts // _CHANNELS, blocks.ends // _CHANNELS
    opaque = blocks.is_run & (_read(padded, blocks.values, word_size) > 0)
    pixels[firsts[0] : ends[-1]] = numpy.repeat(opaque, ends - firsts)
    listed = numpy.flatnonzero(~blocks.is_run & (ends > firsts))
    portions = numpy.cumsum((ends - firsts)[listed]) // _PIXELS_AT_ONCE
    for some in numpy.split(listed, numpy.flatnonzero(numpy.diff(portions)) + 1):
        spans = (ends - firsts)[some]
        before = numpy.cumsum(spans) - spans
        places = numpy.arange(spans.sum()) + numpy.repeat(firsts[some] - before, spans)
        words = _CHANNELS * places + _ALPHA - numpy.repeat(blocks.starts[some], spans)
        bits = numpy.repeat(blocks.values[some], spans) + word_size * words
        pixels[places] = _read(padded, bits, word_size) > 0


def to_label_studio(mask: Mask) -> list[int]:
    """A mask as Label Studio keeps it: white and opaque in it, black and transparent outside.

    Args:
        mask: bool `(H, W)`.
    """
    import numpy

    pixels = numpy.ascontiguousarray(mask, dtype=numpy.bool_).reshape(-1)
    parts, rest = [], _header_bits(_CHANNELS * pixels.size)
    for lengths, inside in _runs(pixels):
        for start in range(0, len(lengths), _BLOCKS_AT_ONCE):
            some = slice(start, start + _BLOCKS_AT_ONCE)
            bits = numpy.concatenate([rest, _block_bits(lengths[some], inside[some])])
            whole = len(bits) // 8 * 8
            parts.append(numpy.packbits(bits[:whole]))
            rest = bits[whole:]
    parts.append(numpy.packbits(rest))
    stream: list[int] = numpy.concatenate(parts).tolist()
    return stream


def _runs(pixels: Mask) -> Iterator[tuple[Integers, Mask]]:
    """Lengths of the runs of pixels, none longer than a block holds, and which are in the mask."""
    import numpy

    longest, start = _LONGEST_RUN // _CHANNELS, 0
    while start < len(pixels):
        stop = min(start + _SEARCHED_AT_ONCE, len(pixels))
        changes = start + 1 + numpy.flatnonzero(pixels[start + 1 : stop] != pixels[start : stop - 1])
        # The last run goes on in the next stretch, unless nothing does, or it is the whole of this one.
        if stop < len(pixels) and len(changes):
            stop, changes = int(changes[-1]), changes[:-1]
        starts = numpy.concatenate([[start], changes])
        spans = numpy.diff(starts, append=stop)
        pieces = -(-spans // longest)
        lengths = numpy.full(pieces.sum(), longest, dtype=numpy.int64)
        lengths[numpy.cumsum(pieces) - 1] = spans - longest * (pieces - 1)
        yield lengths, numpy.repeat(pixels[starts], pieces)
        start = stop


def _header_bits(words: int) -> NDArray[numpy.uint8]:
    import numpy

    sizes = "".join(f"{size - 1:04b}" for size in _COUNT_SIZES)
    text = f"{words:032b}{_WORD_SIZE - 1:05b}{sizes}"
    return numpy.frombuffer(text.encode(), dtype=numpy.uint8) - ord("0")


def _block_bits(lengths: Integers, inside: Mask) -> NDArray[numpy.uint8]:
    """The bits, one per entry, of a block for each run of pixels."""
    import numpy

    counts = _CHANNELS * lengths - 1
    kinds = numpy.searchsorted([1 << size for size in _COUNT_SIZES], counts, side="right")
    sizes = numpy.array(_COUNT_SIZES)[kinds]
    codes = (((4 | kinds) << sizes | counts) << _WORD_SIZE) | numpy.where(inside, 255, 0)
    bits = _KIND_BITS + sizes + _WORD_SIZE
    ends = numpy.cumsum(bits)
    to_the_right = numpy.repeat(ends, bits) - numpy.arange(bits.sum()) - 1
    single: NDArray[numpy.uint8] = (numpy.repeat(codes, bits) >> to_the_right & 1).astype(numpy.uint8)
    return single
