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

from goldloop.connectors._content import Limits, image_item, text_item, without_secrets
from goldloop.connectors._locations import Location, locate
from goldloop.connectors._rows import Row, Unreadable, read_rows
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
        text: str | None = None
        """The column with the text."""
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
            return self

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
        address = without_secrets(location.uri(location.path))
        seen: set[bytes] = set()
        empty = True
        for row in islice(read_rows(location), self.config.limit):
            if empty:
                self._check_columns(row, address)
                empty = False
            yield self._entry(row, location, address, seen)
        if empty:
            raise SourceError("the table has no rows", where=address)

    @override
    def fingerprint(self) -> str | None:
        # Images beside the table can change without it, so only a table of texts can be told by itself.
        location = locate(self.config.url)
        if self.config.image is not None:
            return None
        if not location.find():
            raise SourceError("no file is there", where=without_secrets(self.config.url))
        return hashlib.sha256(location.read(location.path)).hexdigest()

    def _check_columns(self, row: Row | Unreadable, address: str) -> None:
        if isinstance(row, Unreadable) or row.columns is None:
            return
        label = self.config.label
        wanted = [
            self.config.text,
            self.config.image,
            self.config.id,
            self.config.group,
            *self.config.metadata,
        ]
        for column in [*wanted, label.origin if label else None]:
            if column is not None and column not in row.columns:
                near = difflib.get_close_matches(column, row.columns, n=1)
                raise SourceError(
                    f"the table has no column {column!r}",
                    where=address,
                    found=", ".join(row.columns),
                    remedy=f"Did you mean {near[0]!r}?" if near else None,
                )

    def _entry(
        self, row: Row | Unreadable, location: Location, address: str, seen: set[bytes]
    ) -> Item | Quarantined:
        if isinstance(row, Unreadable):
            return Quarantined(uri=f"{address}#line-{row.line}", reason=row.reason)
        name = row.number if self.config.id is None else row.values.get(self.config.id)
        uri = f"{address}#{name}"
        digest = hashlib.sha256(str(name).encode("utf-8", "surrogatepass")).digest()[:16]
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
        group = None if config.group is None else _text(values.get(config.group))
        metadata = {name: values.get(name) for name in config.metadata}
        if config.text is not None:
            text = values.get(config.text)
            if not isinstance(text, str):
                raise ItemError(
                    "the text is no text" if text is not None else "the text is missing", found=text
                )
            item = text_item(text, uri, group, metadata, self._limits)
        else:
            path = values.get(config.image)
            if not isinstance(path, str) or not path:
                raise ItemError("the image's path is missing", found=repr(path))
            item = image_item(location.read(location.beside(path)), uri, group, metadata, self._limits)
        label = None if config.label is None else values.get(config.label.origin)
        if label is None or label == "" or config.label is None:
            return item
        return replace(item, label=label, label_use=config.label.use)


def _text(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)
