"""The ledger of a version: what became of every item, in files of which the last word on an item counts.

Each is an Arrow file, sorted by key and not compressed, so that it is mapped into memory and searched where
it lies: looking up some items costs what they cost, however many there are.

    key      SHA-256 of the content (32 bytes)
    outcome  labelled, imported, open ...; null where the item is no longer considered
    reason   why
    split    of its row
    row      its leaf in the digest (32 bytes), zeros if it has no row
    number   its row's in the shards, -1 if it has none
    mark     64 bits of all that is known of the item; they change when anything of it does
    group    what it is in one split with; null where it is alone, under its own key
    policy   by which of the version's policies that group was placed, and
    basis    by what, beside its name; null where it is by that alone
    held     of an item without a row, the split that it was in when it had one: it comes back there, or not
             at all; such a line stays even when the item is no longer considered

Beside its lines a file has the buckets of the digest that they changed.
"""

from __future__ import annotations

import base64
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from goldloop.dataset.digest import bucket_digest, bucket_digests, digits_for

if TYPE_CHECKING:
    import pyarrow
    from numpy.typing import NDArray

NO_ROW = bytes(32)
WITH_ROW = frozenset({"labelled", "imported"})
"""The outcomes of items that have a row."""
FORGOTTEN = "forgotten"
"""The outcome of an item that was erased: it may have a leaf in the digest, which stays, but no row."""
LEDGER_SUFFIX = ".arrow"

_KEY = 32


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


class Ledger:
    """The lines of a version.

    Args:
        paths: its files, oldest first.

    Raises:
        OSError, ValueError: one of them cannot be read.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._files = [_File(path) for path in paths]

    def find(self, keys: Iterable[str]) -> dict[str, Line]:
        """The lines of those items that are considered."""
        return {key: line for key, line in self.last_lines(keys).items() if line.outcome is not None}

    def last_lines(self, keys: Iterable[str]) -> dict[str, Line]:
        """The lines of those items that have one, considered or not."""
        found = {}
        for key in keys:
            wanted = bytes.fromhex(key)
            for file in reversed(self._files):
                place = file.place(wanted)
                if file.key(place) == wanted:
                    found[key] = file.line(place)
                    break
        return found

    def states(self) -> dict[str, State]:
        """What the lines of all items say, in short."""
        table = self.table()
        columns = (table[name].to_pylist() for name in ("key", "row", "number", "mark"))
        return {key.hex(): State(*rest) for key, *rest in zip(*columns, strict=True)}

    def lines(self) -> Iterator[Line]:
        """Every item's line, in the order of the keys."""
        for batch in self.table().to_batches(max_chunksize=10_000):
            keys, *others = (batch[name].to_pylist() for name in _schema().names)
            for key, *fields in zip(keys, *others, strict=True):
                yield Line(key.hex(), *fields)

    def table(self) -> pyarrow.Table:
        """The lines of all items that are considered as columns, in the order of the keys."""
        from pyarrow import compute

        functions: Any = compute
        table = self.whole_table()
        return table.filter(functions.is_valid(table["outcome"]))

    def whole_table(self) -> pyarrow.Table:
        """As `table`, with items that are no longer considered and once had a row."""
        return last_words([file.table for file in self._files])

    def with_outcome(self, outcome: str) -> list[str]:
        """The keys of the items that have an outcome; where few files know of it, few lines are looked at."""
        keys = {key for file in self._files for key in file.told_as(outcome)}
        return [key for key, line in self.find(sorted(keys)).items() if line.outcome == outcome]

    def of_groups(self, names: Collection[str]) -> dict[str, Line]:
        """A line of each of these groups that has one, of an item that is considered or held a place."""
        found: dict[str, Line] = {}
        for file in self._files:
            keys = file.in_groups(names)
            for line in self.last_lines(keys).values():
                if line.group in names:
                    found.setdefault(str(line.group), line)
        return found

    def tree(self) -> Tree:
        """The buckets as the files have them."""
        import numpy

        digits = self._files[0].digits if self._files else 0
        buckets = numpy.zeros(16**digits, dtype=f"V{_KEY}")
        for file in self._files:
            told = numpy.frombuffer(file.told(), dtype=[("number", ">u4"), ("digest", f"V{_KEY}")])
            buckets[told["number"]] = told["digest"]
        return Tree(digits, buckets.tobytes(), {})

    def tree_after(self, lines: Sequence[Line], rows: int) -> Tree:
        """The buckets once these lines are added, and the version has so many rows."""
        before = self.tree()
        if not self._files or digits_for(rows) != before.digits:
            return self._new_tree(lines, rows)
        touched: dict[str, dict[bytes, bytes]] = defaultdict(dict)
        for line in lines:
            touched[line.key[: before.digits]][bytes.fromhex(line.key)] = line.row
        buckets = bytearray(before.buckets)
        changed = {}
        for name, over in touched.items():
            number = int(name or "0", 16)
            changed[number] = self._bucket(name, over)
            buckets[_KEY * number : _KEY * (number + 1)] = changed[number]
        return Tree(before.digits, bytes(buckets), changed)

    def _bucket(self, name: str, over: Mapping[bytes, bytes]) -> bytes:
        rows: dict[bytes, bytes] = {}
        low, high = bytes.fromhex(name.ljust(64, "0")), bytes.fromhex(name.ljust(64, "f"))
        for file in self._files:
            for place in range(file.place(low), len(file)):
                key = file.key(place)
                if key > high:
                    break
                rows[key] = file.row(place)
        rows.update(over)
        return bucket_digest([row for _, row in sorted(rows.items()) if row != NO_ROW])

    def _new_tree(self, lines: Sequence[Line], rows: int) -> Tree:
        table = self.table() if self._files else None
        leaves = (
            {}
            if table is None
            else dict(zip(*(table[name].to_pylist() for name in ("key", "row")), strict=True))
        )
        leaves |= {bytes.fromhex(line.key): line.row for line in lines}
        return tree_of(((key, row) for key, row in leaves.items() if row != NO_ROW), rows)


class _File:
    """One file of the chain, mapped into memory."""

    def __init__(self, path: Path) -> None:
        import pyarrow

        source = pyarrow.memory_map(str(path))
        batch, told = pyarrow.ipc.open_file(source).get_batch_with_custom_metadata(0)
        if batch.schema != _schema():
            raise ValueError("its columns are not those of a ledger")
        self.table = pyarrow.Table.from_batches([batch])
        self._batch = batch
        self._keys, self._rows = (memoryview(batch[name].buffers()[1] or b"") for name in ("key", "row"))
        self.digits = int(told["digits"])
        self._buckets = told["buckets"]

    def __len__(self) -> int:
        return int(self._batch.num_rows)

    def key(self, place: int) -> bytes:
        return bytes(self._keys[_KEY * place : _KEY * (place + 1)])

    def row(self, place: int) -> bytes:
        return bytes(self._rows[_KEY * place : _KEY * (place + 1)])

    def place(self, key: bytes) -> int:
        """Of the first line whose key is not below this one."""
        return bisect_left(range(len(self)), key, key=self.key)

    def line(self, place: int) -> Line:
        fields = {name: self._batch[name][place].as_py() for name in self._batch.schema.names}
        return Line(**{**fields, "key": fields["key"].hex()})

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
        told = self.told()
        for start in range(0, len(told), 4 + _KEY):
            yield int.from_bytes(told[start : start + 4], "big"), told[start + 4 : start + 4 + _KEY]


def tree_of(leaves: Iterable[tuple[bytes, bytes]], rows: int) -> Tree:
    """The buckets of so many rows, of key and leaf of each."""
    digits = digits_for(rows)
    changed = bucket_digests(list(leaves), digits)
    every = bytearray(_KEY * 16**digits)
    for number, digest in changed.items():
        every[_KEY * number : _KEY * (number + 1)] = digest
    return Tree(digits, bytes(every), changed, is_new=True)


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
    heads = numpy.ascontiguousarray(keys.view(">u8").reshape(len(keys), -1)[:, 0]).astype(numpy.uint64)
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
    files = [_File(each) for each in paths]
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

    file = _File(source)
    place = file.place(bytes.fromhex(key))
    line = file.line(place)
    told = {
        "key": bytes.fromhex(key), "outcome": None if line.outcome is None else FORGOTTEN,
        "reason": line.split or "", "split": None, "row": line.row, "number": -1, "mark": 0,
    }  # fmt: skip
    # As plain texts: a dictionary would keep the reason that nothing refers to any more.
    plain = pyarrow.schema(
        [(name, _plain_type(kind)) for name, kind in zip(_schema().names, _schema().types, strict=True)]
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
        name: [getattr(line, name) for line in ordered] for name in _schema().names
    }
    columns["key"] = [bytes.fromhex(key) for key in columns["key"]]
    write_table(path, pyarrow.table(columns, schema=_schema()), tree)
    return len(ordered)


def write_table(path: Path, table: pyarrow.Table, tree: Tree) -> None:
    """Write lines in the order of their keys as one file, with the buckets that they changed."""
    import pyarrow

    told = b"".join(number.to_bytes(4, "big") + digest for number, digest in sorted(tree.changed.items()))
    (batch,) = table.cast(_schema()).combine_chunks().to_batches()
    metadata = {"digits": str(tree.digits), "buckets": base64.b64encode(told).decode()}
    with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_file(file, _schema()) as writer:
        writer.write_batch(batch, custom_metadata=metadata)


def _plain_type(kind: pyarrow.DataType) -> pyarrow.DataType:
    import pyarrow

    return kind.value_type if pyarrow.types.is_dictionary(kind) else kind


def _schema() -> pyarrow.Schema:
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
