"""What a ledger says of one item, and the buckets of the digest that its lines make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from goldloop.dataset.digest import bucket_digests, digits_for

NO_ROW = bytes(32)
WITH_ROW = frozenset({"labelled", "imported"})
"""The outcomes of items that have a row."""
FORGOTTEN = "forgotten"
"""The outcome of an item that was erased: it may have a leaf in the digest, which stays, but no row."""


@dataclass(frozen=True, slots=True)
class Line:
    """What became of one item; the fields are the file's columns.

    `outcome` is None where the item is no longer considered.
    """

    key: str
    outcome: str | None
    reason: str = ""
    split: str | None = None
    row: bytes = NO_ROW
    number: int = -1
    mark: int = 0
    group: str | None = None
    policy: int | None = None
    basis: str | None = None
    held: str | None = None


class State(NamedTuple):
    """What tells whether anything about an item is new."""

    row: bytes
    number: int
    mark: int


@dataclass(frozen=True, slots=True)
class Tree:
    """The buckets of a version's digest.

    Attributes:
        digits: how many digits of a key name its bucket.
        buckets: all of them in order, 32 bytes each.
        changed: those that are not as they were, by number.
        is_new: all of them are, as the version before has none, or others.
    """

    digits: int
    buckets: bytes
    changed: Mapping[int, bytes]
    is_new: bool = False


def tree_of(leaves: Iterable[tuple[bytes, bytes]], rows: int) -> Tree:
    """The buckets of so many rows, of key and leaf of each."""
    digits = digits_for(rows)
    changed = bucket_digests(list(leaves), digits)
    every = bytearray(len(NO_ROW) * 16**digits)
    for number, digest in changed.items():
        every[len(NO_ROW) * number : len(NO_ROW) * (number + 1)] = digest
    return Tree(digits, bytes(every), changed, is_new=True)
