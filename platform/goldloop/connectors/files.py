"""`kind: files`: images and texts, one per file, at any fsspec URL."""

from __future__ import annotations

import difflib
import posixpath
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator
from typing_extensions import override

from goldloop.ahead import ahead, chunks
from goldloop.connectors._content import (
    IMAGE_EXTENSIONS,
    TEXT_EXTENSIONS,
    Limits,
    decode_text,
    image_item,
    printable,
    text_item,
    without_secrets,
)
from goldloop.connectors._distinct import Distinct
from goldloop.connectors._locations import (
    Location,
    extension_of,
    file_mark,
    listing_digest,
    locate,
    locations,
)
from goldloop.connectors._rows import lines
from goldloop.connectors._walking import Info
from goldloop.connectors.base import Connector, ConnectorConfig, Found, Kept, Known, KnownLabel
from goldloop.errors import ItemError, SourceError
from goldloop.records import Item, Quarantined

_LITTER = frozenset({"thumbs.db", "desktop.ini"})
_FIELDS = ("name", "stem", "extension", "folder", "parent", "size")


class Files(Connector):
    """One item per file. What a file is follows from its bytes; which files are read, from the extension.

    Fields of a file, for `filter` and `group`: `name`, `stem`, `extension`, `folder` (its whole address),
    `parent` (the folder's name), `size` in bytes where it is told.
    """

    class Config(ConnectorConfig):
        """What a recipe says of it."""

        label: KnownLabel | None = None
        url: str | None = Field(default=None, min_length=1)
        """A folder (all that is below it), a glob with `*` and `**`, one file, or an archive: `photos.zip`,
        `zip://*.jpg::s3://bucket/photos.zip`."""
        listing: str | None = Field(default=None, min_length=1)
        """In place of `url`: a text file with an address or a path beside it on each line."""
        max_megapixels: float = Field(default=64, gt=0)
        max_text_megabytes: float = Field(default=2, gt=0)

        @model_validator(mode="after")
        def _has_place(self) -> Files.Config:
            if (self.url is None) == (self.listing is None):
                raise ValueError("say where the files are: `url: ADDRESS` or `listing: ADDRESS`")
            return self

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        if config.label is not None and config.label.origin != "folder":
            raise SourceError(
                "files know no columns",
                found=f"label from {config.label.origin!r}",
                expected="`from: folder`",
            )
        self._limits = Limits(config.max_megapixels, config.max_text_megabytes)

    @classmethod
    @override
    def example(cls, folder: Path) -> dict[str, Any]:
        for name in ("one", "two"):
            (folder / f"{name}.txt").write_text(f"text {name}", encoding="utf-8")
        (folder / "blank.txt").write_text(" ", encoding="utf-8")
        return {"kind": "files", "url": str(folder)}

    @override
    def read(self, known: Known) -> Iterator[Found | Kept]:
        self.check_fields(_FIELDS, self._shown)
        for chunk in chunks(islice(self._candidates(), self.config.limit)):
            if self.config.listing is not None:
                # Each file must be asked for by itself.
                list(ahead(_mark_of, chunk))
            kept = set(known.unchanged({file.uri: file.mark for file in chunk if file.mark is not None}))
            yield from ahead(partial(self._found, kept), chunk)

    @override
    def fingerprint(self) -> str | None:
        if self.config.listing is not None:
            return None
        files = (
            (file.uri, file.info)
            for file in islice(self._listed(), self.config.limit if self.config.filter is None else None)
        )
        return listing_digest(files)

    @property
    def _shown(self) -> str:
        return without_secrets(self.config.url or self.config.listing)

    def _candidates(self) -> Iterator[_File]:
        """Every file that the filter takes, by address, with its group."""
        for file in self._listed():
            chosen = self.choose(file.uri, file.fields)
            if isinstance(chosen, Quarantined):
                yield replace(file, refused=chosen.reason)
            elif chosen is not None:
                yield replace(file, group=chosen.group)

    def _listed(self) -> Iterator[_File]:
        """Every file that is looked at.

        Raises:
            SourceError: there is none.
        """
        empty = True
        for file in self._named() if self.config.listing is not None else self._there():
            empty = False
            yield file
        if empty:
            raise SourceError(
                "no file is there",
                where=self._shown,
                expected="images or texts",
                remedy=_nearest(self.config.url or self.config.listing),
            )

    def _there(self) -> Iterator[_File]:
        for location in locations(self.config.url):
            for path, info in location.walk():
                if not _is_litter(path):
                    yield _File(location, path, location.shown(path), info, refused=_refused(path, info))

    def _named(self) -> Iterator[_File]:
        """The files of a listing; one that is named twice comes once."""
        listing = locate(self.config.listing)
        seen = Distinct()
        for name in lines(listing):
            try:
                location, path = listing.beside(name)
            except ItemError as error:
                yield _File(listing, name, printable(without_secrets(name)), {}, refused=str(error))
                continue
            uri = location.shown(path)
            if seen.add(uri):
                yield _File(location, path, uri, None)

    def _found(self, kept: Collection[str], file: _File) -> Found | Kept:
        if file.mark is not None and file.uri in kept:
            return Kept(file.uri, file.mark)
        if file.refused is not None:
            return Found(Quarantined(uri=file.uri, reason=file.refused), mark=file.mark)
        try:
            content = file.location.read(file.path)
        except ItemError as error:
            return Found(Quarantined(uri=file.uri, reason=str(error)))
        try:
            return Found(self._item(file, content), mark=file.mark)
        except ItemError as error:
            return Found(Quarantined(uri=file.uri, reason=str(error)), mark=file.mark)

    def _item(self, file: _File, content: bytes) -> Item:
        if extension_of(file.path) in TEXT_EXTENSIONS:
            item = text_item(decode_text(content), file.uri, file.group, {}, self._limits)
        else:
            item = image_item(content, file.uri, file.group, {}, self._limits)
        label = self.config.label
        parent = posixpath.basename(posixpath.dirname(file.path))
        return item if label is None else replace(item, label=parent, label_use=label.use)


@dataclass(frozen=True)
class _File:
    """A file before it is read.

    Attributes:
        info: what its store tells of it; None where it was not asked yet.
        refused: why it is not read.
    """

    location: Location
    path: str
    uri: str
    told: Info | None
    group: str | None = None
    refused: str | None = None

    @cached_property
    def info(self) -> Info:
        """What its store tells of it; nothing where it does not answer."""
        if self.told is not None:
            return self.told
        try:
            return self.location.info(self.path)
        except ItemError:
            return {}

    @property
    def mark(self) -> str | None:
        """Its mark of change."""
        return file_mark(self.info)

    @property
    def fields(self) -> dict[str, Any]:
        """What `filter` and `group` see of it."""
        name = posixpath.basename(self.path.partition("?")[0] if "://" in self.path else self.path)
        folder = posixpath.dirname(self.path)
        stem, extension = posixpath.splitext(name)
        return {
            "name": printable(name),
            "stem": printable(stem),
            "extension": extension.lower(),
            "folder": self.location.shown(folder),
            "parent": printable(posixpath.basename(folder)),
            "size": None if self.told is None else self.told.get("size"),
        }


def _mark_of(file: _File) -> str | None:
    return file.mark


def _refused(path: str, info: Info) -> str | None:
    """Why a file that happens to be there is not read."""
    extension = extension_of(path)
    if extension not in IMAGE_EXTENSIONS | TEXT_EXTENSIONS:
        return str(
            ItemError(
                "not a kind of file that is read",
                found=extension or "no extension",
                expected=", ".join(sorted(IMAGE_EXTENSIONS | TEXT_EXTENSIONS)),
            )
        )
    if info.get("type") == "other":
        return str(ItemError("not a regular file", found="a pipe, a socket, a device or a broken link"))
    return None


def _is_litter(path: str) -> bool:
    """Hidden files, and what operating systems leave lying about."""
    name = posixpath.basename(path)
    return name.startswith(".") or name.lower() in _LITTER


def _nearest(url: str) -> str:
    """A remedy: what is there instead, as far as a local path tells."""
    if "://" in url:
        return "Check the address, and that the credentials may list it"
    part = Path(url.partition("*")[0])
    existing = next(folder for folder in (part, *part.absolute().parents) if folder.is_dir())
    inside = sorted(path.name for path in existing.iterdir() if not path.name.startswith("."))
    if part.is_dir():
        return f"Nothing in {existing.absolute()} fits"
    near = difflib.get_close_matches(part.name, inside, n=1)
    return f"Did you mean {existing / near[0]}?" if near else f"Look in {existing.absolute()}"
