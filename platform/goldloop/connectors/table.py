"""`kind: table`: texts or images named in the rows of a CSV, TSV, JSONL or Parquet file."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator
from typing_extensions import override

from goldloop.connectors._content import Limits, image_item, joined_texts, printable, text_item
from goldloop.connectors._locations import Location, locate
from goldloop.connectors._rows import Row, Unreadable, json_value, read_rows
from goldloop.connectors.base import Connector, ConnectorConfig, KnownLabel
from goldloop.errors import ItemError, SourceError
from goldloop.records import Item, Quarantined


class Table(Connector):
    """One item per row; values are taken as they stand in the file, never guessed into numbers or dates."""

    class Config(ConnectorConfig):
        """What a recipe says of it."""

        label: KnownLabel | None = None
        url: str = Field(min_length=1)
        """A .csv, .tsv, .jsonl or .parquet file; the first three also as .gz."""
        text: str | tuple[str, ...] | None = None
        """The column with the text; or a list of columns whose texts are judged together, such as
        `[premise, hypothesis]`: the item's text is then a JSON array of theirs."""
        image: str | None = None
        """The column with an image's path, relative to the table's folder, or address."""
        id: str | None = None
        """A column that tells rows apart; by default their number, from 0."""
        group: str | None = None
        """The column whose equal values belong in one split."""
        metadata: tuple[str, ...] = ()
        max_megapixels: float = Field(default=64, gt=0)
        max_text_megabytes: float = Field(default=2, gt=0)

        @model_validator(mode="after")
        def _has_content(self) -> Table.Config:
            if (self.text is None) == (self.image is None):
                raise ValueError("name the column of the content: `text: COLUMN` or `image: COLUMN`")
            if isinstance(self.text, tuple) and len(self.text) < 2:
                raise ValueError("a list of columns has two or more: `text: [COLUMN, COLUMN]`")
            return self

        @property
        def texts(self) -> tuple[str, ...]:
            """The columns with text."""
            return (self.text,) if isinstance(self.text, str) else self.text or ()

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._limits = Limits(config.max_megapixels, config.max_text_megabytes)

    @classmethod
    @override
    def example(cls, folder: Path) -> dict[str, Any]:
        (folder / "example.csv").write_text('text\none\ntwo\n" "\n', encoding="utf-8")
        return {"kind": "table", "url": str(folder / "example.csv"), "text": "text"}

    @override
    def items(self) -> Iterator[Item | Quarantined]:
        location = locate(self.config.url)
        address = location.shown(location.path)
        seen: set[bytes] = set()
        unseen, found = set(self._columns()), ""
        empty = True
        for row in islice(read_rows(location), self.config.limit):
            empty = False
            if unseen and isinstance(row, Row):
                found = found or ", ".join(row.values)
                unseen -= row.values.keys()
                if unseen and row.columns is not None:
                    break
            yield self._entry(row, location, address, seen)
        if empty:
            raise SourceError("the table has no rows", where=address)
        if found:
            self._check_columns(unseen, found, address)

    @override
    def fingerprint(self) -> str | None:
        # Images beside the table can change without it, so only a table of texts can be told by itself.
        location = locate(self.config.url)
        if self.config.image is not None:
            return None
        try:
            with location.system.open(location.path, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError as error:
            raise SourceError("no file is there", where=location.shown(location.path)) from error
        except Exception as error:
            # Drivers raise what their services do: OSError, ClientError, HTTP errors.
            raise location.failure(error) from error

    def _columns(self) -> list[str]:
        """The columns that the recipe names."""
        config = self.config
        label = config.label.origin if config.label else None
        named = [*config.texts, config.image, config.id, config.group, *config.metadata, label]
        return [column for column in named if column is not None]

    def _check_columns(self, unseen: set[str], found: str, address: str) -> None:
        """Refuse a table in which no row has a column that the recipe names."""
        for column in self._columns():
            if column in unseen:
                near = difflib.get_close_matches(column, found.split(", "), n=1)
                raise SourceError(
                    f"the table has no column {column!r}",
                    where=address,
                    found=found,
                    remedy=f"Did you mean {near[0]!r}?" if near else None,
                )

    def _entry(
        self, row: Row | Unreadable, location: Location, address: str, seen: set[bytes]
    ) -> Item | Quarantined:
        if isinstance(row, Unreadable):
            return Quarantined(uri=f"{address}#line-{row.line}", reason=row.reason)
        name = row.number if self.config.id is None else _name(row.values.get(self.config.id))
        if name is None:
            reason = f"the row has no {self.config.id!r} that tells it from others"
            return Quarantined(uri=f"{address}#line-{row.line}", reason=reason)
        uri = f"{address}#{name}"
        digest = hashlib.sha256(uri.encode()).digest()[:16]
        if digest in seen:
            reason = f"a row before it has the {self.config.id} {name!r} too; ids tell rows apart"
            return Quarantined(uri=f"{uri}@line-{row.line}", reason=reason)
        seen.add(digest)
        try:
            return self._item(row.values, uri, location)
        except ItemError as error:
            return Quarantined(uri=uri, reason=str(error))

    def _item(self, values: Mapping[str, Any], uri: str, location: Location) -> Item:
        config = self.config
        group = None if config.group is None else _name(values.get(config.group))
        metadata = {name: json_value(values.get(name)) for name in config.metadata}
        if config.text is not None:
            texts = [_text_in(values, column) for column in config.texts]
            text = texts[0] if isinstance(config.text, str) else joined_texts(texts)
            item = text_item(text, uri, group, metadata, self._limits)
        else:
            path = values.get(config.image)
            if not isinstance(path, str) or not path:
                raise ItemError("the image's path is missing", found=repr(path))
            item = image_item(location.read_beside(path), uri, group, metadata, self._limits)
        label = None if config.label is None else json_value(values.get(config.label.origin))
        if label is None or label == "" or config.label is None:
            return item
        return replace(item, label=label, label_use=config.label.use)


def _text_in(values: Mapping[str, Any], column: str) -> str:
    text = values.get(column)
    if not isinstance(text, str):
        problem = "the text is missing" if text is None else "the text is no text"
        raise ItemError(problem, where=f"column {column!r}", found=repr(text)[:80])
    return text


def _name(value: Any) -> str | None:
    """What tells rows or groups apart, as a text; None where there is nothing."""
    value = json_value(value)
    return None if value is None or value == "" else printable(str(value))
