"""Which items two ledgers do not say the same of, found without reading what they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from goldloop.dataset.ledger_files import last_words
from goldloop.dataset.manifest import Manifest, Part
from goldloop.errors import VersionError

if TYPE_CHECKING:
    import pyarrow
    from numpy.typing import NDArray

_BYTES = 32
"""Of a key, and of a row's digest."""


class Spot(NamedTuple):
    """Where the row of an item is."""

    key: str
    split: str
    number: int


class Pair(NamedTuple):
    """The rows of an item that is in both versions."""

    before: Spot
    after: Spot


@dataclass(frozen=True, slots=True)
class Differing:
    """Items whose rows are not the same.

    Attributes:
        removed, added: those that have a row in one version alone, by key.
        pairs: those that have one in both, by split and key.
    """

    removed: Sequence[Spot]
    added: Sequence[Spot]
    pairs: Sequence[Pair]


def compare(before: Path, after: Path, old: Manifest, new: Manifest, by_digest: bool) -> Differing:
    """The items whose rows differ between two versions.

    Args:
        before: the folder of the one.
        after: that of the other.
        old: the files of the one.
        new: those of the other.
        by_digest: rows with the same digest are the same; if not, all that are in both are told of.

    Raises:
        VersionError: a ledger cannot be read.
    """
    import numpy

    shared = _shared(old.ledger, new.ledger) if by_digest else 0
    try:
        chains = [_tables(before, old.ledger), _tables(after, new.ledger)]
        told, said = (_Lines.of(chain) for chain in _among(chains, shared))
    except (OSError, ValueError) as error:
        raise VersionError(
            "the ledger of a version cannot be read",
            where=f"{before}, {after}",
            found=str(error),
            remedy="`goldloop verify` tells which of its files is broken",
        ) from error
    both, here, there = numpy.intersect1d(told.keys, said.keys, assume_unique=True, return_indices=True)
    if by_digest:
        differ = told.rows[here] != said.rows[there]
        here, there = here[differ], there[differ]
    pairs = [Pair(*each) for each in zip(told.spots(here), said.spots(there), strict=True)]
    return Differing(
        removed=told.spots(numpy.flatnonzero(~numpy.isin(told.keys, both))),
        added=said.spots(numpy.flatnonzero(~numpy.isin(said.keys, both))),
        # As rows lie in files, so that a portion of them is in few of these.
        pairs=sorted(pairs, key=lambda pair: (pair.after.split, pair.after.key)),
    )


@dataclass(frozen=True, slots=True)
class _Lines:
    """The lines of items that have a row, by key; keys and digests are `S32`, which orders them as bytes."""

    keys: NDArray[Any]
    rows: NDArray[Any]
    table: pyarrow.Table

    @classmethod
    def of(cls, tables: Sequence[pyarrow.Table]) -> _Lines:
        from pyarrow import compute

        functions: Any = compute
        table = last_words(tables)
        table = table.filter(functions.greater_equal(table["number"], 0)).combine_chunks()
        return cls(_fixed(table, "key"), _fixed(table, "row"), table)

    def spots(self, places: NDArray[Any]) -> list[Spot]:
        chosen = self.table.select(["key", "split", "number"]).take(places)
        columns = (chosen[name].to_pylist() for name in chosen.schema.names)
        return [Spot(key.hex(), split, number) for key, split, number in zip(*columns, strict=True)]


def _shared(old: Sequence[Part], new: Sequence[Part]) -> int:
    """With how many of the same files two chains begin."""
    count = 0
    for one, other in zip(old, new, strict=False):
        if one.sha256 != other.sha256:
            break
        count += 1
    return count


def _tables(folder: Path, parts: Sequence[Part]) -> list[pyarrow.Table]:
    """The files of a ledger, mapped into memory."""
    import pyarrow

    return [pyarrow.ipc.open_file(pyarrow.memory_map(str(folder / part.path))).read_all() for part in parts]


def _among(chains: Sequence[list[pyarrow.Table]], shared: int) -> list[list[pyarrow.Table]]:
    """Of both chains the lines of items that a file which they do not share tells of."""
    import pyarrow
    from pyarrow import compute

    if not shared:
        return list(chains)
    functions: Any = compute
    told = [table["key"] for chain in chains for table in chain[shared:]]
    chunks = [chunk for column in told for chunk in column.chunks]
    keys = pyarrow.chunked_array(chunks, type=pyarrow.binary(_BYTES)).combine_chunks()
    return [[table.filter(functions.is_in(table["key"], keys)) for table in chain] for chain in chains]


def _fixed(table: pyarrow.Table, name: str) -> NDArray[Any]:
    import numpy

    column = table[name].combine_chunks()
    if not len(column):
        return numpy.empty(0, dtype=f"S{_BYTES}")
    return numpy.frombuffer(
        column.buffers()[1], dtype=f"S{_BYTES}", count=len(column), offset=column.offset * _BYTES
    )
