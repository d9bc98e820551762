"""Rows -> items, for every source that has rows: the columns that a recipe names are the same there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from pydantic import Field, model_validator

from goldloop.ahead import ahead, chunks
from goldloop.connectors._content import (
    Limits,
    decode_text,
    image_item,
    joined_texts,
    printable,
    text_item,
    without_secrets,
)
from goldloop.connectors._distinct import Distinct
from goldloop.connectors._locations import Location, file_mark
from goldloop.connectors._values import json_value
from goldloop.connectors.base import (
    Chosen,
    Connector,
    ConnectorConfig,
    Found,
    Kept,
    Known,
    KnownLabel,
    no_field,
)
from goldloop.errors import ItemError
from goldloop.records import Item, Quarantined


class RowsConfig(ConnectorConfig):
    """What a recipe says of rows. `filter` and `group` see the columns."""

    label: KnownLabel | None = None
    text: str | tuple[str, ...] | None = None
    """The column with the text; or a list of columns whose texts are judged together, such as
    `[premise, hypothesis]`: the item's text is then a JSON array of theirs."""
    image: str | None = None
    """The column with an image: its bytes, or its path or address."""
    metadata: tuple[str, ...] = ()
    max_megapixels: float = Field(default=64, gt=0)
    max_text_megabytes: float = Field(default=2, gt=0)

    @model_validator(mode="after")
    def _has_content(self) -> RowsConfig:
        if (self.text is None) == (self.image is None):
            raise ValueError("name the column of the content: `text: COLUMN` or `image: COLUMN`")
        if isinstance(self.text, tuple) and len(self.text) < 2:
            raise ValueError("a list of columns has two or more: `text: [COLUMN, COLUMN]`")
        return self

    @property
    def texts(self) -> tuple[str, ...]:
        """The columns with text."""
        return (self.text,) if isinstance(self.text, str) else self.text or ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row that the filter takes, before its content is looked at.

    Attributes:
        refused: why it cannot be used, if that is known already.
        mark: changes when the row does; None where there is no content elsewhere, and so nothing to save.
    """

    uri: str
    number: int
    values: Mapping[str, Any]
    group: str | None = None
    refused: str | None = None
    mark: str | None = None


class RowsConnector(Connector):
    """A source of rows."""

    Config = RowsConfig

    def __init__(self, config: RowsConfig) -> None:
        super().__init__(config)
        self._limits = Limits(config.max_megapixels, config.max_text_megabytes)
        self.more_metadata: Mapping[str, Any] = {}
        """What the source itself says of each of its items."""

    def candidate(self, uri: str, number: int, values: Mapping[str, Any]) -> Candidate | None:
        """A row, if the filter takes it."""
        chosen = self.choose(uri, values)
        if isinstance(chosen, Chosen):
            return Candidate(uri, number, values, chosen.group)
        return None if chosen is None else Candidate(uri, number, values, refused=chosen.reason)

    def named(
        self, values: Mapping[str, Any], column: str, address: str, place: str, number: int, seen: Distinct
    ) -> Candidate | None:
        """A row that is told from others by a column, if the filter takes it.

        Args:
            values: the row's.
            column: the one that tells rows apart.
            address: the source's.
            place: what the row is called where that column does not tell.
            number: its place among others.
            seen: the names of those before it.
        """
        name = name_of(values.get(column))
        if name is None:
            reason = f"the row has no {column!r} that tells it from others"
            return Candidate(f"{address}#{place}", number, values, refused=reason)
        uri = f"{address}#{name}"
        if not seen.add(name):
            reason = f"a row before it has the {column} {name!r} too; ids tell rows apart"
            return Candidate(f"{uri}@{place}", number, values, refused=reason)
        return self.candidate(uri, number, values)

    def found(self, row: Candidate, part: str | None = None, mark: str | None = None) -> Found:
        """What a row holds in itself."""
        return Found(self._entry(row, self._own_content), row.number, part, mark)

    def found_by_threads(
        self, rows: Iterable[Candidate], beside: Location, part: str, mark: str
    ) -> Iterator[Found]:
        """What rows of a part hold or name."""

        def find(row: Candidate) -> Found:
            return Found(self._entry(row, partial(_fetched, beside)), row.number, part, mark)

        return ahead(find, rows)

    def found_elsewhere(
        self, rows: Iterable[Candidate], beside: Location | None, known: Known
    ) -> Iterator[Found | Kept]:
        """What rows hold or name; what is named is not read again while its store says that it is the same.

        Args:
            rows: those that the filter takes.
            beside: what paths are relative to; None where there are none.
            known: what is known from before.
        """
        for chunk in chunks(rows):
            marked = list(ahead(partial(self._marked, beside), chunk))
            kept = set(known.unchanged({row.uri: row.mark for row in marked if row.mark is not None}))
            yield from ahead(partial(self._read, beside, kept), marked)

    def named_columns(self) -> list[str]:
        """The columns that the recipe names by themselves."""
        config = self.config
        label = config.label.origin if config.label else None
        named = [*config.texts, config.image, getattr(config, "id", None), *config.metadata, label]
        return [column for column in named if column is not None]

    def check_columns(self, known: Collection[str], where: str) -> None:
        """Refuse a source that lacks a column which the recipe names.

        Raises:
            SourceError: names the nearest one.
        """
        for column in self.named_columns():
            if column not in known:
                raise no_field(column, known, where, "column")
        self.check_fields(known, where)

    def _marked(self, beside: Location | None, row: Candidate) -> Candidate:
        """With a mark that says of the row and of the file that it names whether they have changed."""
        value = row.values.get(self.config.image)
        if row.refused is not None or not isinstance(value, str) or not value:
            return row
        try:
            location, path = _named(beside, value)
            mark = file_mark(location.info(path))
        except ItemError:
            return row
        if mark is None:
            return row
        digest = hashlib.sha256(repr(sorted(row.values.items())).encode("utf-8", "surrogatepass"))
        return replace(row, mark=f"{mark} row={digest.hexdigest()[:32]}")

    def _read(self, beside: Location | None, kept: Collection[str], row: Candidate) -> Found | Kept:
        if row.mark is not None and row.uri in kept:
            return Kept(row.uri, row.mark)
        return Found(self._entry(row, partial(_fetched, beside)), row.number, mark=row.mark)

    def _own_content(self, value: Any) -> bytes:
        raise ItemError("a row names a file, and nothing says where it lies", found=repr(value)[:80])

    def _entry(self, row: Candidate, fetch: Callable[[str], bytes]) -> Item | Quarantined:
        if row.refused is not None:
            return Quarantined(uri=row.uri, reason=row.refused)
        try:
            return self._item(row, fetch)
        except ItemError as error:
            return Quarantined(uri=row.uri, reason=str(error))

    def _item(self, row: Candidate, fetch: Callable[[str], bytes]) -> Item:
        config, values = self.config, row.values
        named = {name: json_value(values.get(name)) for name in config.metadata}
        metadata = {**named, **self.more_metadata}
        if config.text is not None:
            texts = [_text_in(values, column) for column in config.texts]
            text = texts[0] if isinstance(config.text, str) else joined_texts(texts)
            item = text_item(text, row.uri, row.group, metadata, self._limits)
        else:
            content = _image_in(values.get(config.image), fetch)
            item = image_item(content, row.uri, row.group, metadata, self._limits)
        label = None if config.label is None else json_value(values.get(config.label.origin))
        if label is None or label == "" or config.label is None:
            return item
        return replace(item, label=label, label_use=config.label.use)


def name_of(value: Any) -> str | None:
    """What tells rows apart, as a text; None where there is nothing."""
    value = json_value(value)
    return None if value is None or value == "" else printable(str(value))


def _text_in(values: Mapping[str, Any], column: str) -> str:
    text = values.get(column)
    if isinstance(text, bytes | memoryview):
        return decode_text(bytes(text))
    if not isinstance(text, str):
        problem = "the text is missing" if text is None else "the text is no text"
        raise ItemError(problem, where=f"column {column!r}", found=repr(text)[:80])
    return text


def _image_in(value: Any, fetch: Callable[[str], bytes]) -> bytes:
    """An image's bytes: as they are, as `datasets` keeps them, or at an address."""
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if not isinstance(value, str) or not value:
        raise ItemError("the image is missing", found=repr(value)[:80])
    return fetch(value)


def _named(beside: Location | None, name: str) -> tuple[Location, str]:
    if beside is None:
        raise ItemError(
            "a row names a file, and nothing says where it lies",
            found=without_secrets(name)[:80],
            remedy="Say what paths are relative to: `beside: FOLDER`",
        )
    return beside.beside(name)


def _fetched(beside: Location | None, name: str) -> bytes:
    location, path = _named(beside, name)
    return location.read(path)
