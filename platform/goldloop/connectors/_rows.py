"""Rows of tables, streamed: strings stay the strings that are in the file."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, Any

from goldloop.connectors._locations import Location, extension_of
from goldloop.errors import GoldloopError, SourceError

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
    extension = extension_of(location.path)
    packed = extension == ".gz"
    if packed:
        extension = extension_of(location.path[: location.path.lower().rindex(".gz")])
    readers: dict[str, Any] = {
        ".csv": _csv,
        ".tsv": _tsv,
        ".jsonl": _jsonl,
        ".ndjson": _jsonl,
        ".parquet": _parquet,
    }
    if extension not in readers:
        raise SourceError(
            "not a kind of table that is read",
            where=location.shown(location.path),
            expected=", ".join(sorted(readers)),
        )
    try:
        with ExitStack() as opened:
            file = opened.enter_context(location.system.open(location.path, "rb"))
            if packed:
                file = opened.enter_context(gzip.GzipFile(fileobj=file))
            yield from readers[extension](file, location)
    except GoldloopError:
        raise
    except FileNotFoundError as error:
        raise SourceError("no file is there", where=location.shown(location.path)) from error
    except Exception as error:
        # Drivers raise what their services do, and a cut archive EOFError or zlib.error.
        raise location.failure(error) from error


def lines(location: Location) -> Iterator[str]:
    """The lines of a text file that say something: no blank ones, and none that begin with `#`.

    Raises:
        SourceError: it cannot be read, or is no UTF-8.
    """
    try:
        with location.system.open(location.path, "rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    name = line.decode("utf-8-sig").strip()
                except UnicodeDecodeError as error:
                    where = f"{location.shown(location.path)}, line {number}"
                    raise SourceError("a listing is UTF-8 text", where=where, found=str(error)) from error
                if name and not name.startswith("#"):
                    yield name
    except GoldloopError:
        raise
    except FileNotFoundError as error:
        raise SourceError("no file is there", where=location.shown(location.path)) from error
    except Exception as error:
        # As above.
        raise location.failure(error) from error


def _csv(file: IO[bytes], location: Location, delimiter: str = ",") -> Iterator[Row | Unreadable]:
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(_lines(file), delimiter=delimiter, strict=True)
    try:
        columns = tuple(next(reader, ()))
    except csv.Error as error:
        where = location.shown(location.path)
        raise SourceError("this is no CSV", where=where, found=str(error)) from error
    _check_header(columns, location)
    number = 0
    while True:
        first = reader.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Unreadable(reader.line_num, _why_unreadable(error, first, reader.line_num))
            number += 1
            continue
        if not values:
            continue
        number += 1
        yield _record(values, columns, number - 1, reader.line_num)


def _why_unreadable(error: csv.Error, first: int, last: int) -> str:
    if "unexpected end of data" in str(error):
        return f"a quote in the row that begins on line {first} is never closed: all to line {last} is lost"
    return f"the row cannot be read: {error}"


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
        raise SourceError("the table is empty", where=location.shown(location.path))
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise SourceError(
            "two columns have one name", where=location.shown(location.path), found=", ".join(twice)
        )


def _jsonl(file: IO[bytes], location: Location) -> Iterator[Row | Unreadable]:
    number = -1
    for line, content in enumerate(file, start=1):
        if not content.strip():
            continue
        number += 1
        try:
            values = json.loads(content.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            yield Unreadable(line, f"the line is not JSON: {error}")
            continue
        if not isinstance(values, dict):
            yield Unreadable(line, f"the line is no JSON object but {type(values).__name__}")
            continue
        yield Row(number, line, values, None)


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
        where = location.shown(location.path)
        raise SourceError("this is no Parquet file", where=where, found=str(error)) from error
