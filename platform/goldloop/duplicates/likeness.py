"""What a kind of content must tell, so that near-duplicates can be found among many."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy
from numpy.typing import NDArray

Content = bytes | str
Places = NDArray[numpy.int64]


@dataclass(frozen=True, slots=True)
class Trace:
    """What is kept of one content; never the content itself.

    Attributes:
        same: contents with the same are near-duplicates without another look.
        sketch: of fixed size, to find whom to compare; empty where nothing can be near it.
        detail: to compare.
    """

    same: bytes
    sketch: bytes
    detail: bytes


@dataclass(frozen=True, slots=True)
class Candidates:
    """Pairs to be compared.

    Attributes:
        one: places among those that are new, `(P,)`.
        other: places among those that they are held against, `(P,)`.
        hint: what the kind has found out about each already, `(P,)`.
    """

    one: Places
    other: Places
    hint: Places


class Likeness(ABC):
    """When contents of a kind are near-duplicates."""

    name: ClassVar[str]
    """Names the cache; it is another one wherever the rule is another one."""
    at_once: ClassVar[int]
    """How many sketches lie in memory on either side."""
    most_pairs: ClassVar[int]
    """With more candidates than this, contents are too alike to be told apart in a reasonable time."""
    remedy: ClassVar[str]
    """What to do then."""

    @abstractmethod
    def trace(self, contents: Sequence[Content]) -> list[Trace]:
        """What is to be kept of contents, in their order."""

    @abstractmethod
    def candidates(self, new: Sequence[bytes], known: Sequence[bytes]) -> Iterator[Candidates]:
        """Pairs of a new sketch and a known one that may be near-duplicates; a pair may come again."""

    @abstractmethod
    def compare(self, one: Sequence[bytes], other: Sequence[bytes], hint: Places) -> NDArray[numpy.bool_]:
        """Whether candidates are near-duplicates, by their details, bool `(P,)`."""
