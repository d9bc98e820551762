"""Texts that were written again: in other case, with other punctuation and blanks, with a few other words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy
from numpy.typing import NDArray
from typing_extensions import override

from goldloop.duplicates import shingles
from goldloop.duplicates.joins import equal
from goldloop.duplicates.likeness import Candidates, Content, Likeness, Places, Trace

_AT_ONCE = 4_000


class SameTexts(Likeness):
    """Texts that differ in case, punctuation and blanks alone."""

    name = "texts-same-1"
    at_once = 500_000
    most_pairs = 1
    remedy = ""

    @override
    def trace(self, contents: Sequence[Content]) -> list[Trace]:
        return [Trace(shingles.same(*shingles.plain(str(text))), b"", b"") for text in contents]

    @override
    def candidates(self, new: Sequence[bytes], known: Sequence[bytes]) -> Iterator[Candidates]:
        yield from ()

    @override
    def compare(self, one: Sequence[bytes], other: Sequence[bytes], hint: Places) -> NDArray[numpy.bool_]:
        return numpy.zeros(len(one), bool)


class NearTexts(Likeness):
    """Texts that have 85% of their letters in common, four at a time, and the same numbers."""

    name = "texts-near-1"
    at_once = 500_000
    most_pairs = 20_000_000
    remedy = (
        "`dataset: {duplicates: {texts: exact}}` joins only those that differ in case, punctuation and blanks"
    )

    @override
    def trace(self, contents: Sequence[Content]) -> list[Trace]:
        if not contents:
            return []
        plain = [shingles.plain(str(text)) for text in contents]
        same = [shingles.same(*each) for each in plain]
        return [Trace(*each) for each in zip(same, *shingles.signatures(plain), strict=True)]

    @override
    def candidates(self, new: Sequence[bytes], known: Sequence[bytes]) -> Iterator[Candidates]:
        few, many = shingles.keys_of(new), shingles.keys_of(known)
        found = numpy.zeros(0, numpy.int64)
        for column in range(few.shape[1]):
            for one, other in equal(few[:, column], many[:, column]):
                found = numpy.unique(numpy.concatenate([found, (one << 32) | other]))
                if len(found) > self.most_pairs:
                    break
        yield Candidates(found >> 32, found & 0xFFFFFFFF, numpy.zeros_like(found))

    @override
    def compare(self, one: Sequence[bytes], other: Sequence[bytes], hint: Places) -> NDArray[numpy.bool_]:
        found: list[NDArray[numpy.bool_]] = [numpy.zeros(0, bool)]
        for start in range(0, len(one), _AT_ONCE):
            chosen = slice(start, start + _AT_ONCE)
            found.append(shingles.are_near(one[chosen], other[chosen]))
        return numpy.concatenate(found)
