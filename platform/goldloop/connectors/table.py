"""`kind: table`: texts or images in the rows of a CSV, TSV, JSONL or Parquet file, or named there."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import Field
from typing_extensions import override

from goldloop.connectors._distinct import Distinct
from goldloop.connectors._locations import Location, locate
from goldloop.connectors._row_items import Candidate, RowsConfig, RowsConnector
from goldloop.connectors._rows import Row, read_rows
from goldloop.connectors.base import Found, Kept, Known
from goldloop.errors import SourceError


class Table(RowsConnector):
    """One item per row; values are taken as they stand in the file, never guessed into numbers or dates."""

    class Config(RowsConfig):
        """What a recipe says of it. Images lie beside the table, or at addresses of any kind."""

        url: str = Field(min_length=1)
        """A .csv, .tsv, .jsonl or .parquet file; the first three also as .gz."""
        id: str | None = None
        """A column that tells rows apart; by default their number, from 0."""

    @classmethod
    @override
    def example(cls, folder: Path) -> dict[str, Any]:
        (folder / "example.csv").write_text('text\none\ntwo\n" "\n', encoding="utf-8")
        return {"kind": "table", "url": str(folder / "example.csv"), "text": "text"}

    @override
    def read(self, known: Known) -> Iterator[Found | Kept]:
        location = locate(self.config.url)
        address = location.shown(location.path)
        rows = islice(self._candidates(location, address), self.config.limit)
        if self.config.image is not None:
            yield from self.found_elsewhere(rows, location, known)
            return
        mark = self._digest(location)
        if self.config.limit is None and known.unchanged({address: mark}, many=True):
            yield Kept(address, mark, many=True)
            return
        yield from (self.found(row, address, mark) for row in rows)

    @override
    def fingerprint(self) -> str | None:
        # Images beside the table can change without it, so only a table of texts can be told by itself.
        location = locate(self.config.url)
        return self._digest(location) if self.config.image is None else None

    def _digest(self, location: Location) -> str:
        try:
            with location.system.open(location.path, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError as error:
            raise SourceError("no file is there", where=location.shown(location.path)) from error
        except Exception as error:
            # Drivers raise what their services do: OSError, ClientError, HTTP errors.
            raise location.failure(error) from error

    def _candidates(self, location: Location, address: str) -> Iterator[Candidate]:
        """Every row that the filter takes, and what is none.

        Raises:
            SourceError: there are no rows, or none has a column that the recipe names.
        """
        seen = Distinct() if self.config.id is not None else None
        columns: dict[str, None] = {}
        empty, missing = True, True
        for row in read_rows(location):
            empty = False
            if not isinstance(row, Row):
                yield Candidate(f"{address}#line-{row.line}", row.line, {}, refused=row.reason)
                continue
            if missing:
                columns |= dict.fromkeys(row.values)
                missing = self._lacks(columns)
                if missing and row.columns is not None:
                    break
            named = self._named(row, address, seen)
            if named is not None:
                yield named
        if empty:
            raise SourceError("the table has no rows", where=address)
        if columns:
            self.check_columns(list(columns), address)

    def _lacks(self, columns: Collection[str]) -> bool:
        """Whether the recipe names a column that was not among those of any row so far."""
        return any(column not in columns for column in self.named_columns()) or bool(
            self.unknown_fields(columns)
        )

    def _named(self, row: Row, address: str, seen: Distinct | None) -> Candidate | None:
        if seen is None:
            return self.candidate(f"{address}#{row.number}", row.number, row.values)
        return self.named(row.values, self.config.id, address, f"line-{row.line}", row.number, seen)
