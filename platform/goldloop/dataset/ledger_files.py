"""The files of a ledger: mapped into memory and searched where they lie, written whole, merged."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop.dataset.ledger_lines import FORGOTTEN, Line, Tree

if TYPE_CHECKING:
    import pyarrow
    from numpy.typing import NDArray

LEDGER_SUFFIX = ".arrow"
_KEY = 32


class LedgerFile:
    """One file of the chain, mapped into memory."""

    def __init__(self, path: Path) -> None:
        import pyarrow

        source = pyarrow.memory_map(str(path))
        batch, told = pyarrow.ipc.open_file(source).get_batch_with_custom_metadata(0)
        if batch.schema != schema_of_lines():
            raise ValueError("its columns are not those of a ledger")
        self.table = pyarrow.Table.from_batches([batch])
        self._batch = batch
        self._keys, self._rows = (memoryview(batch[name].buffers()[1] or b"") for name in ("key", "row"))
        self.digits = int(told["digits"])
        self._buckets = told["buckets"]

    def __len__(self) -> int:
        return int(self._batch.num_rows)

    def key(self, place: int) -> bytes:
        """Of a line, 32 bytes."""
        return bytes(self._keys[_KEY * place : _KEY * (place + 1)])

    def row(self, place: int) -> bytes:
        """The leaf that a line tells."""
        return bytes(self._rows[_KEY * place : _KEY * (place + 1)])

    @cached_property
    def heads(self) -> NDArray[Any]:
        """The first 8 bytes of each key, as numbers `(N,)`, ascending."""
        import numpy

        if not len(self):
            return numpy.empty(0, dtype=numpy.uint64)
        whole = numpy.frombuffer(self._keys, dtype=">u8", count=len(self) * _KEY // 8)
        return whole.reshape(-1, _KEY // 8)[:, 0].astype(numpy.uint64)

    def places(self, keys: Sequence[bytes]) -> dict[bytes, int]:
        """Where the lines of those of these keys are that it has."""
        import numpy

        if not keys:
            return {}
        wanted = numpy.frombuffer(b"".join(key[:8] for key in keys), dtype=">u8").astype(numpy.uint64)
        found = {}
        for key, first in zip(keys, numpy.searchsorted(self.heads, wanted).tolist(), strict=True):
            # Keys that begin alike stand beside each other.
            place = first
            while place < len(self) and self.key(place) < key:
                place += 1
            if self.key(place) == key:
                found[key] = place
        return found

    def lines(self, places: Sequence[int]) -> Iterator[Line]:
        """All that the lines at these places tell."""
        import pyarrow

        batch = self._batch.take(pyarrow.array(places, pyarrow.int64()))
        keys, *others = (batch[name].to_pylist() for name in batch.schema.names)
        for key, *fields in zip(keys, *others, strict=True):
            yield Line(key.hex(), *fields)

    def spans(self, starts: NDArray[Any], ends: NDArray[Any]) -> Iterator[tuple[int, int, int]]:
        """Which lines have heads between each start and each end, both included: number, first, last + 1."""
        import numpy

        first = numpy.searchsorted(self.heads, starts, side="left")
        last = numpy.searchsorted(self.heads, ends, side="right")
        for number in numpy.flatnonzero(last > first).tolist():
            yield number, int(first[number]), int(last[number])

    def told_as(self, outcome: str) -> Iterator[str]:
        """The keys of items with an outcome; where no line has it, none is looked at."""
        from pyarrow import compute

        functions: Any = compute
        words = self._batch["outcome"]
        if outcome in words.dictionary.to_pylist():
            lines = self.table.filter(functions.equal(words.dictionary_decode(), outcome))
            yield from (key.hex() for key in lines["key"].to_pylist())

    def in_groups(self, names: Collection[str]) -> list[str]:
        """The keys of items that a line puts into one of these groups."""
        import pyarrow
        from pyarrow import compute

        functions: Any = compute
        wanted = pyarrow.array(sorted(names), pyarrow.string())
        lines = self.table.filter(functions.is_in(self.table["group"], wanted))
        return [key.hex() for key in lines["key"].to_pylist()]

    def told(self) -> bytes:
        """The buckets that it has: the number of each in 4 bytes, then its digest."""
        return base64.b64decode(self._buckets)

    def buckets(self) -> Iterator[tuple[int, bytes]]:
        """Number and digest of each bucket that it has."""
        told = self.told()
        for start in range(0, len(told), 4 + _KEY):
            yield int.from_bytes(told[start : start + 4], "big"), told[start + 4 : start + 4 + _KEY]


def last_words(tables: Sequence[pyarrow.Table], *, whole: bool = True) -> pyarrow.Table:
    """The last line on each item, in the order of the keys.

    Args:
        tables: oldest first.
        whole: nothing is before them, so that items which are no longer considered, and never had a row, can
            be left out.
    """
    import pyarrow
    from pyarrow import compute

    functions: Any = compute
    table = pyarrow.concat_tables(tables).unify_dictionaries().combine_chunks()
    if len(tables) > 1:
        table = table.take(pyarrow.array(_last_places([each["key"] for each in tables])))
    if not whole:
        return table
    return table.filter(
        functions.or_(functions.is_valid(table["outcome"]), functions.is_valid(table["held"]))
    )


def _last_places(columns: Sequence[Any]) -> NDArray[Any]:
    """Where the last line on each key is among all lines, in the order of the keys.

    The first file, which has most, is not sorted again: the lines of the others are put between its own, by
    the first 8 bytes of keys. Where two keys begin with the same ones, whole keys are compared.
    """
    import numpy

    keys = numpy.concatenate([_bytes_of(column) for column in columns])
    first = len(columns[0])
    after: dict[bytes, int] = {key.tobytes(): first + place for place, key in enumerate(keys[first:])}
    later = numpy.array([after[key] for key in sorted(after)], dtype=numpy.int64)
    heads = numpy.ascontiguousarray(keys.view(">u8").reshape(-1, _KEY // 8)[:, 0]).astype(numpy.uint64)
    before = heads[:first]
    where = numpy.searchsorted(before, heads[later])
    inside = numpy.minimum(where, max(first - 1, 0))
    meets = (before[inside] == heads[later]) if first else numpy.zeros(len(later), dtype=bool)
    if (before[1:] == before[:-1]).any() or (keys[inside[meets]] != keys[later[meets]]).any():
        last = {key.tobytes(): place for place, key in enumerate(keys)}
        return numpy.array([last[key] for key in sorted(last)], dtype=numpy.int64)
    stays = numpy.ones(first, dtype=bool)
    stays[where[meets]] = False
    place = where - numpy.searchsorted(where[meets], where, side="left")
    found: NDArray[Any] = numpy.insert(numpy.flatnonzero(stays), place, later)
    return found


def _bytes_of(column: Any) -> NDArray[Any]:
    """A column of 32 bytes each, as they lie in memory."""
    import numpy

    chunks = [numpy.frombuffer(chunk.buffers()[1] or b"", dtype=f"V{_KEY}") for chunk in column.chunks]
    whole = [
        chunk[part.offset : part.offset + len(part)]
        for chunk, part in zip(chunks, column.chunks, strict=True)
    ]
    return numpy.concatenate(whole) if whole else numpy.empty(0, dtype=f"V{_KEY}")


def merge_ledger(path: Path, paths: Sequence[Path], *, whole: bool) -> int:
    """Write the last words of some files that follow each other as one; returns how many lines that makes.

    Args:
        path: of the new file.
        paths: oldest first.
        whole: nothing is before them.
    """
    files = [LedgerFile(each) for each in paths]
    digits = files[-1].digits
    changed = dict(each for file in files if file.digits == digits for each in file.buckets())
    table = last_words([file.table for file in files], whole=whole)
    write_table(path, table, Tree(digits, b"", changed))
    return len(table)


def ledger_without(path: Path, source: Path, key: str) -> int:
    """Write a file anew in which an item is `forgotten`: no reason, no row but its leaf; returns its lines.

    Args:
        path: of the new file.
        source: the file, which has a line on the item.
        key: the item's.
    """
    import pyarrow

    file = LedgerFile(source)
    place = file.places([bytes.fromhex(key)])[bytes.fromhex(key)]
    (line,) = file.lines([place])
    told = {
        "key": bytes.fromhex(key), "outcome": None if line.outcome is None else FORGOTTEN,
        "reason": line.split or "", "split": None, "row": line.row, "number": -1, "mark": 0,
    }  # fmt: skip
    # As plain texts: a dictionary would keep the reason that nothing refers to any more.
    plain = pyarrow.schema(
        [
            (name, _plain_type(kind))
            for name, kind in zip(schema_of_lines().names, schema_of_lines().types, strict=True)
        ]
    )
    table = file.table.cast(plain)
    stone = pyarrow.Table.from_pylist([told], schema=plain)
    table = pyarrow.concat_tables([table.slice(0, place), stone, table.slice(place + 1)])
    write_table(path, table, Tree(file.digits, b"", dict(file.buckets())))
    return len(table)


def write_lines(path: Path, lines: Iterable[Line], tree: Tree) -> int:
    """Write lines as one file, with the buckets that they changed; returns how many there are."""
    import pyarrow

    ordered = sorted(lines, key=lambda line: line.key)
    columns: dict[str, list[Any]] = {
        name: [getattr(line, name) for line in ordered] for name in schema_of_lines().names
    }
    columns["key"] = [bytes.fromhex(key) for key in columns["key"]]
    write_table(path, pyarrow.table(columns, schema=schema_of_lines()), tree)
    return len(ordered)


def write_table(path: Path, table: pyarrow.Table, tree: Tree) -> None:
    """Write lines in the order of their keys as one file, with the buckets that they changed."""
    import pyarrow

    told = b"".join(number.to_bytes(4, "big") + digest for number, digest in sorted(tree.changed.items()))
    (batch,) = table.cast(schema_of_lines()).combine_chunks().to_batches()
    metadata = {"digits": str(tree.digits), "buckets": base64.b64encode(told).decode()}
    with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_file(file, schema_of_lines()) as writer:
        writer.write_batch(batch, custom_metadata=metadata)


def _plain_type(kind: pyarrow.DataType) -> pyarrow.DataType:
    import pyarrow

    return kind.value_type if pyarrow.types.is_dictionary(kind) else kind


@cache
def schema_of_lines() -> pyarrow.Schema:
    """The columns of a file."""
    import pyarrow

    word = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    return pyarrow.schema(
        {
            "key": pyarrow.binary(_KEY),
            "outcome": word,
            "reason": word,
            "split": word,
            "row": pyarrow.binary(_KEY),
            "number": pyarrow.int64(),
            "mark": pyarrow.uint64(),
            "group": pyarrow.string(),
            "policy": pyarrow.int16(),
            "basis": word,
            "held": word,
        }
    )
