"""What is left of a text without case, punctuation and blanks, and how far two texts have that in common.

    text -> plain -> shingles of 4 characters -> 96 minima -> 16 keys of 6 minima each

Texts of which nothing else is left are of one class. Those that share 85% of their shingles are
near-duplicates if the numbers in them are the same: `Invoice 17` is no copy of `Invoice 18`. MinHash
(Broder, On the resemblance and containment of documents, 1997) finds whom to compare: a pair at the limit
has no key in common once in 2,000 times, one that shares 90% never in practice. Of long texts the 400 lowest
shingles are compared, which tells their share to two points.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence

import numpy
from numpy.typing import NDArray

_SHINGLE = 4
_KEYS, _MINIMA = 16, 6
_MOST_SHINGLES = 400
_ALIKE = 0.85
_PRIME = numpy.uint64(0x100000001B3)
_NUMBER = re.compile(r"\d+")

_HEAD = 9


class _Plain(dict[int, str | None]):
    """What becomes of a character: letters, marks, digits and symbols stay, the rest parts words."""

    def __missing__(self, code: int) -> str | None:
        kind = unicodedata.category(chr(code))
        kept = chr(code) if kind[0] in "LMNS" else None if kind == "Cf" else " "
        self[code] = kept
        return kept


_PLAIN = _Plain()


def plain(text: str) -> tuple[str, tuple[str, ...]]:
    """A text without case, punctuation and blanks, and the numbers in it in their order."""
    words = unicodedata.normalize("NFKC", text).casefold().translate(_PLAIN)
    return "".join(words.split()) or text.strip(), tuple(_NUMBER.findall(words))


def same(letters: str, numbers: Sequence[str]) -> bytes:
    """What all texts have in common that differ in case, punctuation and blanks alone."""
    return _digest(" ".join((letters, *numbers)), 16)


def signatures(texts: Sequence[tuple[str, Sequence[str]]]) -> tuple[list[bytes], list[bytes]]:
    """Of plain texts, what finds those that are nearly the same, and what compares them."""
    padded = [letters.ljust(_SHINGLE) for letters, _ in texts]
    sizes = numpy.array([len(letters) - _SHINGLE + 1 for letters in padded])
    hashed = _shingles(padded)
    numbers = [_digest(" ".join(found), 8) for _, found in texts]
    starts = numpy.cumsum(sizes) - sizes
    found = _keys(hashed, starts, numpy.frombuffer(b"".join(numbers), numpy.uint64))
    owner = numpy.repeat(numpy.arange(len(texts)), sizes)
    merged = numpy.unique((owner << 32) | (hashed >> numpy.uint64(32)).astype(numpy.int64))
    ends = numpy.searchsorted(merged >> 32, numpy.arange(len(texts)), "right")
    lowest = (merged & 0xFFFFFFFF).astype(numpy.uint32)
    details, begun = [], 0
    for place, end in enumerate(ends.tolist()):
        cut = end - begun > _MOST_SHINGLES
        kept = lowest[begun : min(end, begun + _MOST_SHINGLES)]
        details.append(numbers[place] + bytes([cut]) + kept.tobytes())
        begun = end
    return [row.tobytes() for row in found], details


def keys_of(sketches: Sequence[bytes]) -> NDArray[numpy.uint32]:
    """Uint32 `(N, 16)`: near-duplicates have one or more in common, in the same column."""
    return numpy.frombuffer(b"".join(sketches), numpy.uint32).reshape(len(sketches), _KEYS)


def are_near(one: Sequence[bytes], other: Sequence[bytes]) -> NDArray[numpy.bool_]:
    """Whether texts are near-duplicates, by their details, bool `(P,)`."""
    pairs = _Shingles(one), _Shingles(other)
    # Of a text that is cut, only shingles up to the highest that was kept can be told.
    limit = numpy.minimum(pairs[0].highest, pairs[1].highest)
    marked = [side.marked(limit) for side in pairs]
    merged = numpy.sort(numpy.concatenate(marked))
    twice = merged[1:][merged[1:] == merged[:-1]] >> 32
    common = numpy.bincount(twice, minlength=len(one))
    either = numpy.bincount(merged >> 32, minlength=len(one)) - common
    near: NDArray[numpy.bool_] = (pairs[0].numbers == pairs[1].numbers) & (common >= _ALIKE * either)
    return near


class _Shingles:
    """The shingles of many texts, one text behind the other."""

    def __init__(self, details: Sequence[bytes]) -> None:
        kept = [numpy.frombuffer(detail, numpy.uint32, offset=_HEAD) for detail in details]
        cut = [detail[_HEAD - 1] for detail in details]
        self.numbers = numpy.frombuffer(b"".join(detail[:8] for detail in details), numpy.uint64)
        self.highest = numpy.array(
            [int(each[-1]) if is_cut else 2**32 for each, is_cut in zip(kept, cut, strict=True)]
        )
        self._owner = numpy.repeat(numpy.arange(len(kept)), [len(each) for each in kept])
        self._values = numpy.concatenate([*kept, numpy.zeros(0, numpy.uint32)]).astype(numpy.int64)

    def marked(self, limit: NDArray[numpy.int64]) -> NDArray[numpy.int64]:
        """The owner's number and the shingle in one, of shingles up to the owner's limit."""
        told = self._values <= limit[self._owner]
        return (self._owner[told] << 32) | self._values[told]


def _shingles(texts: Sequence[str]) -> NDArray[numpy.uint64]:
    """A well-mixed hash of every 4 characters of every text, one text behind the other."""
    codes = numpy.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), numpy.uint32).astype(
        numpy.uint64
    )
    rolled: NDArray[numpy.uint64] = numpy.zeros(len(codes) - _SHINGLE + 1, numpy.uint64)
    for place in range(_SHINGLE):
        rolled = rolled * _PRIME + codes[place : place + len(rolled)]
    ends = numpy.cumsum([len(text) for text in texts])
    inside = numpy.ones(len(rolled), bool)
    for back in range(1, _SHINGLE):
        inside[ends[:-1] - back] = False
    return _mixed(rolled[inside])


def _keys(
    hashed: NDArray[numpy.uint64], starts: NDArray[numpy.int64], numbers: NDArray[numpy.uint64]
) -> NDArray[numpy.uint32]:
    chance = numpy.random.Generator(numpy.random.PCG64(0))
    factors = chance.integers(0, 2**63, _KEYS * _MINIMA, numpy.uint64) * numpy.uint64(2) + numpy.uint64(1)
    keys = numpy.empty((len(starts), _KEYS), numpy.uint32)
    for key in range(_KEYS):
        mixed = numbers + numpy.uint64(key)
        for factor in factors[key * _MINIMA : (key + 1) * _MINIMA]:
            mixed = _mixed(mixed ^ numpy.minimum.reduceat(hashed * factor, starts))
        keys[:, key] = mixed >> numpy.uint64(32)
    return keys


def _mixed(values: NDArray[numpy.uint64]) -> NDArray[numpy.uint64]:
    """SplitMix64's finish (Steele, Lea and Flood, 2014): near values come out far apart."""
    values = (values ^ (values >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    return values ^ (values >> numpy.uint64(31))


def _digest(text: str, size: int) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()
