"""`csv`: a row for each text or image, its answer in a column.

    data.csv    text,label,split,group           or `image`, a path relative to the table
    classes.txt task.yaml                        written for goldloop itself; neither is needed

Several classes, as `image-multilabel` has, are a JSON list in a cell; on reading also names with `|` between
them. An empty cell is no answer. Cells are taken as they stand, never guessed into numbers.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from typing_extensions import override

from goldloop.errors import ItemError, SourceError
from goldloop.formats._tables import Row, Table, TableConfig
from goldloop.formats.base import Sample
from goldloop.tasks.base import Task

_LONGEST_FIELD = 2**27
_SETS = frozenset({"image-multilabel", "text-multilabel"})
_NUMBERS = frozenset({"text-similarity"})


class Csv(Table):
    """Rows of cells."""

    kinds = frozenset(
        {
            "image-classification",
            "image-multilabel",
            "image-captioning",
            "text-classification",
            "text-multilabel",
            "text-pairs",
            "text-similarity",
            "text-preference",
            "text-generation",
        }
    )
    extensions = frozenset({".csv"})

    class Config(TableConfig):
        """What a recipe says of it."""

        separator: str = "|"
        """What stands between several classes in a cell."""

    config: Config

    @override
    def rows(self, path: Path) -> Iterator[Row]:
        csv.field_size_limit(_LONGEST_FIELD)
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            reader = csv.reader(file, strict=True)
            try:
                header = next(reader, [])
            except csv.Error as error:
                raise SourceError("this is no CSV", where=path, found=str(error)) from error
            if len(set(header)) < len(header) or not header:
                raise SourceError("the columns cannot be told apart", where=path, found=", ".join(header))
            while True:
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    yield Row(reader.line_num, f"the row cannot be read: {error}")
                    continue
                if cells:
                    yield Row(reader.line_num, _values(header, cells))

    @override
    def label_of(self, value: Any, kind: str) -> Any:
        if value == "":
            return None
        if kind in _SETS:
            return _names(value, self.config.separator)
        return _number(value) if kind in _NUMBERS else value

    @override
    def lost(self, task: Task[Any], sample: Sample) -> Iterator[str]:
        if sample.target == "":
            yield "empty answers, which are read as none"

    @override
    def write_rows(self, path: Path, rows: Iterator[Mapping[str, Any]], columns: list[str]) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(
                {column: value if isinstance(value, str) else _cell(value) for column, value in row.items()}
                for row in rows
            )


def _values(header: list[str], cells: list[str]) -> Mapping[str, Any] | str:
    if len(cells) != len(header):
        return f"the row has {len(cells)} fields, the header {len(header)}"
    for column, cell in zip(header, cells, strict=True):
        if any("\udc80" <= sign <= "\udcff" for sign in cell):
            return f"the row is not UTF-8, in column {column!r}"
    return dict(zip(header, cells, strict=True))


def _cell(value: Any) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _names(cell: str, separator: str) -> list[str]:
    if not cell.lstrip().startswith("["):
        return [name.strip() for name in cell.split(separator) if name.strip()]
    try:
        names = json.loads(cell)
    except ValueError as error:
        raise ItemError("a list of classes is not JSON", found=repr(cell[:60])) from error
    if not all(isinstance(name, str) for name in names):
        raise ItemError("a list of classes has something else in it", found=repr(cell[:60]))
    return [str(name) for name in names]


def _number(cell: str) -> Any:
    """A score; what is none is left for the task to refuse."""
    try:
        return float(cell)
    except ValueError:
        return cell
