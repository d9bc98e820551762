"""What a pull underway has found so far: staged in the catalog, row by row, so that memory stays flat.

A pull that is killed leaves its arrivals behind; the next attempt from the same inputs takes over those of
parts that have not changed, and reads the rest. Nothing of it can be seen until `settlement` makes it the
catalog's content, in one transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    Connection,
    Table,
    and_,
    delete,
    exists,
    func,
    insert,
    literal,
    literal_column,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from goldloop.catalog import stages
from goldloop.catalog.tables import addresses, arrivals, arrived, parts
from goldloop.errors import LedgerError

PULLING = "pulling"
"""The stage that is there while a pull is not finished."""
FORGOTTEN = {"outcome": "forgotten", "reason": "this content was erased"}
"""What a source has and nobody keeps."""
_CHUNK = 2_000
_NAMES = 500

Begin = Callable[[], AbstractContextManager[Connection]]
"""Opens a transaction on the catalog."""


def part_key(name: str) -> str:
    """What a part of many addresses is called in their rows: 16 hex digits."""
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


@dataclass
class Arrivals:
    """The staged rows of one attempt.

    Args:
        begin: opens a transaction.
        recipe: the recipe's name.
        attempt: from 1, counted while inputs stay the same.
    """

    begin: Begin
    recipe: str
    attempt: int = 1
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _kept: list[tuple[str, str, str]] = field(default_factory=list)

    @classmethod
    def resume(cls, begin: Begin, recipe: str, inputs: str) -> Arrivals:
        """The next attempt of a pull that was killed, if it was one from these inputs; else the first."""
        with begin() as connection:
            before = stages.finished(connection, recipe, PULLING, inputs)
            attempt = 1 if before is None else before["attempt"] + 1
            if before is None:
                clear(connection, recipe)
            else:
                _forget_overtaken(connection, recipe, before["attempt"])
            stages.finish(connection, recipe, PULLING, inputs, {"attempt": attempt})
        return cls(begin, recipe, attempt)

    def add(self, source: str, values: Mapping[str, Any]) -> None:
        """Stage one address: `values` are the columns of its row, as far as they are not null."""
        here = {"recipe": self.recipe, "attempt": self.attempt, "source": source, "kept": False}
        self._rows.append({**_EMPTY, **values, **here})
        if len(self._rows) >= _CHUNK:
            self.flush()

    def keep(self, source: str, address: str, mark: str) -> None:
        """Stage an address that is a part by itself and that `unchanged` said need not be read."""
        self._kept.append((source, address, mark))
        if len(self._kept) >= _CHUNK:
            self.flush()

    def finish_part(self, source: str, part: str, mark: str) -> None:
        """Note that all addresses of a part are staged."""
        self.flush()
        with self.begin() as connection:
            row = self._part_row(source, part_key(part), mark, self.attempt)
            connection.execute(insert(arrived), [row])

    def keep_part(self, source: str, part: str, mark: str) -> int:
        """Stage a part of many addresses that `unchanged` said need not be read; returns how many."""
        key = part_key(part)
        with self.begin() as connection:
            staged = _staged_part(connection, self.recipe, source, key, mark, self.attempt)
            connection.execute(insert(arrived), [self._part_row(source, key, mark, staged or 0)])
            table = addresses if staged is None else arrivals
            count = select(func.count()).where(
                table.c.recipe == self.recipe, table.c.source == source, table.c.part == key
            )
            if staged is not None:
                count = count.where(arrivals.c.attempt == staged)
            return int(connection.execute(count).scalar_one())

    def unchanged(self, source: str, marks: Mapping[str, str], *, many: bool, settled: bool) -> set[str]:
        """Which parts (name -> mark) are as they were when they were last read.

        Args:
            source: the source's name.
            marks: some hundreds at a time.
            many: whether the parts are of many addresses, else addresses themselves.
            settled: whether what the last finished pull found counts too, or only earlier attempts.
        """
        if not settled and self.attempt == 1:
            return set()
        find = self._unchanged_parts if many else self._unchanged_addresses
        with self.begin() as connection:
            return {
                name
                for chunk in _chunks(list(marks), _NAMES)
                for name, mark in find(connection, source, chunk, settled)
                if marks[name] == mark
            }

    def flush(self) -> None:
        """Write what is held back.

        Raises:
            LedgerError: an address comes twice.
        """
        rows, self._rows = self._rows, []
        kept, self._kept = self._kept, []
        if not rows and not kept:
            return
        with self.begin() as connection:
            if rows:
                try:
                    connection.execute(insert(arrivals), rows)
                except IntegrityError as error:
                    raise LedgerError("two outcomes for one subject", where=_twice(rows)) from error
            for source in dict.fromkeys(source for source, _, _ in kept):
                marks = {address: mark for of, address, mark in kept if of == source}
                for chunk in _chunks(list(marks), _NAMES):
                    self._keep(connection, source, {name: marks[name] for name in chunk})

    def _keep(self, connection: Connection, source: str, marks: Mapping[str, str]) -> None:
        columns = arrivals.c
        here = and_(columns.recipe == self.recipe, columns.source == source, columns.uri.in_(list(marks)))
        for former in range(1, self.attempt):
            taken = connection.execute(
                select(columns.uri, columns.mark).where(
                    here, columns.attempt == former, columns.kept.is_(False)
                )
            )
            same = [uri for uri, mark in taken if marks[uri] == mark]
            if same:
                again = and_(here, columns.attempt == former, columns.uri.in_(same))
                connection.execute(update(arrivals).where(again).values(attempt=self.attempt))
        staged = select(columns.uri).where(here, columns.attempt == self.attempt)
        known = select(
            literal(self.recipe), literal(self.attempt), addresses.c.source, addresses.c.uri,
            literal(0), literal(""), literal(""), literal_column("true"),
        ).where(
            addresses.c.recipe == self.recipe, addresses.c.source == source,
            addresses.c.uri.in_(list(marks)), addresses.c.uri.not_in(staged),
        )  # fmt: skip
        names = ["recipe", "attempt", "source", "uri", "number", "outcome", "reason", "kept"]
        connection.execute(insert(arrivals).from_select(names, known))

    def _unchanged_addresses(
        self, connection: Connection, source: str, names: Sequence[str], settled: bool
    ) -> Iterator[tuple[str, str]]:
        for table, more in self._known_in(arrivals, addresses, settled):
            columns = table.c
            found = select(columns.uri, columns.mark).where(
                columns.recipe == self.recipe,
                columns.source == source,
                columns.uri.in_(names),
                columns.mark.is_not(None),
                *more,
            )
            yield from ((row.uri, row.mark) for row in connection.execute(found))

    def _unchanged_parts(
        self, connection: Connection, source: str, names: Sequence[str], settled: bool
    ) -> Iterator[tuple[str, str]]:
        keys = {part_key(name): name for name in names}
        for table, more in self._known_in(arrived, parts, settled):
            columns = table.c
            found = select(columns.part, columns.mark).where(
                columns.recipe == self.recipe, columns.source == source, columns.part.in_(list(keys)), *more
            )
            yield from ((keys[row.part], row.mark) for row in connection.execute(found))

    def _known_in(self, staged: Table, final: Table, settled: bool) -> Iterator[tuple[Table, list[Any]]]:
        for former in range(1, self.attempt):
            yield staged, [staged.c.attempt == former, staged.c.kept.is_(False)]
        if settled:
            yield final, []

    def _part_row(self, source: str, key: str, mark: str, rows_of: int) -> dict[str, Any]:
        return {
            "recipe": self.recipe, "attempt": self.attempt, "source": source, "part": key, "mark": mark,
            "kept": rows_of == 0, "rows_of": rows_of,
        }  # fmt: skip


def forget_content(connection: Connection, recipe: str, key: str) -> None:
    """Of every address with a content, keep the address alone: that it is there, and that it was erased."""
    told = ("key", "grouping", "metadata", "label", "label_use")
    for table in (addresses, arrivals):
        names = (*told, "text") if table is arrivals else told
        values = {**FORGOTTEN, **dict.fromkeys(names)}
        of_content = (table.c.recipe == recipe, table.c.key == key)
        connection.execute(update(table).where(*of_content).values(values))


def clear(connection: Connection, recipe: str) -> None:
    """Forget all arrivals of a recipe."""
    for table in (arrivals, arrived):
        connection.execute(delete(table).where(table.c.recipe == recipe))


def _staged_part(
    connection: Connection, recipe: str, source: str, key: str, mark: str, attempt: int
) -> int | None:
    """The attempt whose rows a part can be taken over from."""
    columns = arrived.c
    return connection.execute(
        select(func.max(columns.rows_of)).where(
            columns.recipe == recipe,
            columns.source == source,
            columns.part == key,
            columns.mark == mark,
            columns.attempt < attempt,
            columns.kept.is_(False),
        )
    ).scalar()


def _forget_overtaken(connection: Connection, recipe: str, attempts: int) -> None:
    """Of an address that several attempts read, only the last one's row counts."""
    later = arrivals.alias()
    for former in range(1, attempts):
        for after in range(former + 1, attempts + 1):
            overtaken = exists().where(
                later.c.recipe == recipe,
                later.c.attempt == after,
                later.c.source == arrivals.c.source,
                later.c.uri == arrivals.c.uri,
            )
            mine = and_(arrivals.c.recipe == recipe, arrivals.c.attempt == former)
            connection.execute(delete(arrivals).where(mine, arrivals.c.part.is_(None), overtaken))


def _twice(rows: Sequence[Mapping[str, Any]]) -> str:
    """Which address it is that comes twice, as far as these rows tell."""
    seen: set[str] = set()
    for row in rows:
        subject = f"{row['source']} {row['uri']}"
        if subject in seen:
            return f"pull: {subject}"
        seen.add(subject)
    return f"pull: an address of {rows[0]['source']} among {len(rows)} from {rows[0]['uri']} on"


def _chunks(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), size):
        yield names[start : start + size]


_EMPTY: dict[str, Any] = {
    "number": 0,
    "outcome": "",
    "reason": "",
    **dict.fromkeys(
        (
            "part", "mark", "key", "grouping", "metadata", "label", "label_use", "modality", "text",
            "media_type", "width", "height",
        )
    ),
}  # fmt: skip
