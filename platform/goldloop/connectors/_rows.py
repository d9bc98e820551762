"""Rows of tables, streamed: strings stay the strings that are in the file."""

from __future__ import annotations

import csv
import gzip
import io
import json
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

from goldloop.connectors._locations import Location
from goldloop.errors import SourceError

_LONGEST_FIELD = 2**27
_ROWS_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its number from 0, the line that it ends on, its values.

    `columns` are named where all rows have the same ones.
    """

    number: int
    line: int
    values: Mapping[str, Any]
    columns: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that cannot be read, and why."""

    line: int
    reason: str


def read_rows(location: Location) -> Iterator[Row | Unreadable]:
    """Every row of a table, in order and in bounded memory.

    Raises:
        SourceError: it cannot be opened, or is of no kind that is read.
    """
    name, packed = posixpath.splitext(location.path.lower())
    extension = posixpath.splitext(name)[1] if packed == ".gz" else packed
    readers: dict[str, Any] = {
        ".csv": _csv,
        ".tsv": _tsv,
        ".jsonl": _jsonl,
        ".ndjson": _jsonl,
        ".parquet": _parquet,
    }
    if extension not in readers:
        raise SourceError(
            "not a kind of table that is read", where=location.path, expected=", ".join(sorted(readers))
        )
    try:
        with location.system.open(location.path, "rb") as opened:
            file = gzip.GzipFile(fileobj=opened) if packed == ".gz" else opened
            yield from readers[extension](file, location)
    except FileNotFoundError as error:
        raise SourceError("no file is there", where=location.uri(location.path)) from error
    except OSError as error:
        raise location.failure(error) from error


def _csv(file: IO[bytes], location: Location, delimiter: str = ",") -> Iterator[Row | Unreadable]:
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(_lines(file), delimiter=delimiter, strict=True)
    try:
        columns = tuple(next(reader, ()))
    except csv.Error as error:
        raise SourceError("this is no CSV", where=location.path, found=str(error)) from error
    _check_header(columns, location)
    number = 0
    while True:
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Unreadable(reader.line_num, f"the row cannot be read: {error}")
            continue
        if not values:
            continue
        number += 1
        yield _record(values, columns, number - 1, reader.line_num)


def _tsv(file: IO[bytes], location: Location) -> Iterator[Row | Unreadable]:
    yield from _csv(file, location, "\t")


def _record(values: list[str], columns: tuple[str, ...], number: int, line: int) -> Row | Unreadable:
    if len(values) != len(columns):
        return Unreadable(line, f"the row has {len(values)} fields, the header {len(columns)}")
    for column, value in zip(columns, values, strict=True):
        if any("\udc80" <= character <= "\udcff" for character in value):
            return Unreadable(line, f"the row is not UTF-8, in column {column!r}")
    return Row(number, line, dict(zip(columns, values, strict=True)), columns)


def _lines(file: IO[bytes]) -> Iterator[str]:
    """Text lines with their ends as they are; bytes that are no UTF-8 become lone surrogates."""
    with io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        yield from text


def _check_header(columns: tuple[str, ...], location: Location) -> None:
    if not columns:
        raise SourceError("the table is empty", where=location.uri(location.path))
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise SourceError(
            "two columns have one name", where=location.uri(location.path), found=", ".join(twice)
        )


def _jsonl(file: IO[bytes], location: Location) -> Iterator[Row | Unreadable]:
    number = 0
    for line, content in enumerate(file, start=1):
        if not content.strip():
            continue
        try:
            values = json.loads(content.decode("utf-8-sig"))
        except ValueError as error:
            yield Unreadable(line, f"the line is not JSON: {error}")
            continue
        if not isinstance(values, dict):
            yield Unreadable(line, f"the line is no JSON object but {type(values).__name__}")
            continue
        yield Row(number, line, values, tuple(values) if number == 0 else None)
        number += 1


def _parquet(file: IO[bytes], location: Location) -> Iterator[Row | Unreadable]:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(file)
        columns = tuple(table.schema_arrow.names)
        number = 0
        for batch in table.iter_batches(_ROWS_AT_ONCE):
            for values in batch.to_pylist():
                yield Row(number, number, values, columns)
                number += 1
    except pyarrow.ArrowException as error:
        raise SourceError("this is no Parquet file", where=location.path, found=str(error)) from error
