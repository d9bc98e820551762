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

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop.dataset.digest import bucket_digest, digits_for
from goldloop.dataset.ledger_files import LedgerFile, last_words, schema_of_lines
from goldloop.dataset.ledger_lines import NO_ROW, Line, State, Tree, tree_of

if TYPE_CHECKING:
    import pyarrow

_KEY = 32


class Ledger:
    """The lines of a version.

    Args:
        paths: its files, oldest first.

    Raises:
        OSError, ValueError: one of them cannot be read.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._files = [LedgerFile(path) for path in paths]

    def find(self, keys: Iterable[str]) -> dict[str, Line]:
        """The lines of those items that are considered."""
        return {key: line for key, line in self.last_lines(keys).items() if line.outcome is not None}

    def last_lines(self, keys: Iterable[str]) -> dict[str, Line]:
        """The lines of those items that have one, considered or not."""
        found: dict[str, Line] = {}
        left = {bytes.fromhex(key): key for key in keys}
        for file in reversed(self._files):
            places = file.places(list(left))
            for line in file.lines(list(places.values())) if places else ():
                found[line.key] = line
                del left[bytes.fromhex(line.key)]
        return found

    def states(self) -> dict[str, State]:
        """What the lines of all items say, in short."""
        table = self.table()
        columns = (table[name].to_pylist() for name in ("key", "row", "number", "mark"))
        return {key.hex(): State(*rest) for key, *rest in zip(*columns, strict=True)}

    def lines(self) -> Iterator[Line]:
        """Every item's line, in the order of the keys."""
        for batch in self.table().to_batches(max_chunksize=10_000):
            keys, *others = (batch[name].to_pylist() for name in schema_of_lines().names)
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
        touched: dict[int, dict[bytes, bytes]] = defaultdict(dict)
        for line in lines:
            number = int(line.key[: before.digits] or "0", 16)
            touched[number][bytes.fromhex(line.key)] = line.row
        buckets = bytearray(before.buckets)
        changed = {}
        for number, leaves in self._leaves(list(touched), before.digits):
            leaves.update(touched[number])
            changed[number] = bucket_digest([leaf for _, leaf in sorted(leaves.items()) if leaf != NO_ROW])
            buckets[_KEY * number : _KEY * (number + 1)] = changed[number]
        return Tree(before.digits, bytes(buckets), changed)

    def _leaves(self, numbers: Sequence[int], digits: int) -> Iterator[tuple[int, dict[bytes, bytes]]]:
        """The leaves of some buckets by key, those among them that say that there is no row."""
        import numpy

        width = 64 - 4 * digits
        starts = numpy.array([number << width for number in numbers], dtype=numpy.uint64)
        ends = starts + numpy.uint64((1 << width) - 1)
        found: list[dict[bytes, bytes]] = [{} for _ in numbers]
        for file in self._files:
            for place, first, last in file.spans(starts, ends):
                found[place].update((file.key(line), file.row(line)) for line in range(first, last))
        yield from zip(numbers, found, strict=True)

    def _new_tree(self, lines: Sequence[Line], rows: int) -> Tree:
        table = self.table() if self._files else None
        leaves = (
            {}
            if table is None
            else dict(zip(*(table[name].to_pylist() for name in ("key", "row")), strict=True))
        )
        leaves |= {bytes.fromhex(line.key): line.row for line in lines}
        return tree_of(((key, row) for key, row in leaves.items() if row != NO_ROW), rows)
