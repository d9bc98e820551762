"""`kind: documents`: pages of PDF files, each an image or its text; those of one file stay in one split."""

from __future__ import annotations

import io
import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from typing_extensions import override

from goldloop.ahead import ahead, chunks
from goldloop.connectors._content import Limits, image_item, printable, text_item, without_secrets
from goldloop.connectors._locations import (
    Location,
    extension_of,
    file_mark,
    listing_digest,
    locations,
)
from goldloop.connectors._walking import Info
from goldloop.connectors.base import Connector, ConnectorConfig, Found, Kept, Known
from goldloop.errors import ItemError, SourceError
from goldloop.records import Item, Quarantined

if TYPE_CHECKING:
    import pypdfium2

_POINTS_PER_INCH = 72
_FIELDS = ("name", "stem", "folder", "parent", "size", "page", "pages")


class Documents(Connector):
    """One item per page, at `file.pdf#page=3`; its metadata: `page`, `pages` and, of an image, `page_text`.

    Fields of a page, for `filter` and `group`: `name`, `stem`, `folder`, `parent` and `size` of its file,
    `page` from 1, `pages`.
    """

    class Config(ConnectorConfig):
        """What a recipe says of it."""

        url: str = Field(min_length=1)
        """A folder, a glob, an archive or one file; of what is there, `.pdf` files are read."""
        content: Literal["image", "text"] = "image"
        dpi: int = Field(default=150, ge=36, le=600)
        """Dots per inch of a page's image."""
        password_from: str | None = None
        """The environment variable with the password of encrypted files."""
        max_megabytes: float = Field(default=200, gt=0)
        """Of a file, which is in memory while its pages are read."""
        max_megapixels: float = Field(default=64, gt=0)
        max_text_megabytes: float = Field(default=2, gt=0)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._limits = Limits(config.max_megapixels, config.max_text_megabytes)

    @classmethod
    @override
    def example(cls, folder: Path) -> dict[str, Any]:
        import pypdfium2

        document = pypdfium2.PdfDocument.new()
        for width in (90, 60):
            document.new_page(width, 120)
        document.save(folder / "example.pdf")
        (folder / "broken.pdf").write_bytes(b"%PDF-1.7 and no more")
        return {"kind": "documents", "url": str(folder), "dpi": 72}

    @override
    def read(self, known: Known) -> Iterator[Found | Kept]:
        self.check_fields(_FIELDS, without_secrets(self.config.url))
        yield from islice(self._read(known), self.config.limit)

    @override
    def fingerprint(self) -> str | None:
        return listing_digest((file.uri, file.info) for file in self._files())

    def _read(self, known: Known) -> Iterator[Found | Kept]:
        for chunk in chunks(self._files()):
            marks = {file.uri: file.mark for file in chunk if file.mark is not None}
            kept = set(known.unchanged(marks, many=True)) if self.config.limit is None else set()
            # Bytes are fetched beforehand; PDFium itself is for one thread at a time.
            waiting = (file for file in chunk if file.uri not in kept)
            contents = ahead(self._fetched, waiting, threads=2)
            for file in chunk:
                if file.uri in kept and file.mark is not None:
                    yield Kept(file.uri, file.mark, many=True)
                else:
                    yield from self._pages(file, next(contents))

    def _files(self) -> Iterator[_File]:
        empty = True
        for location in locations(self.config.url):
            for path, info in location.walk():
                if extension_of(path) == ".pdf":
                    empty = False
                    yield _File(location, path, location.shown(path), info)
        if empty:
            raise SourceError(
                "no document is there", where=without_secrets(self.config.url), expected="files named *.pdf"
            )

    def _fetched(self, file: _File) -> bytes | ItemError:
        size = file.info.get("size") or 0
        try:
            if size > self.config.max_megabytes * 1e6:
                raise ItemError(
                    "the document is too large",
                    found=f"{size / 1e6:.0f} MB",
                    expected=f"at most {self.config.max_megabytes:g} MB",
                    remedy="Split it, or raise max_megabytes",
                )
            return file.location.read(file.path)
        except ItemError as error:
            return error

    def _pages(self, file: _File, content: bytes | ItemError) -> Iterator[Found]:
        if isinstance(content, ItemError):
            # What failed to be read may be read the next time.
            yield Found(Quarantined(uri=file.uri, reason=str(content)))
            return
        try:
            document = self._opened(content)
        except ItemError as error:
            yield Found(Quarantined(uri=file.uri, reason=str(error)), 0, file.uri, file.mark)
            return
        with document:
            pages = len(document)
            for number in range(1, pages + 1):
                uri = f"{file.uri}#page={number}"
                fields = {**file.fields, "page": number, "pages": pages}
                entry = self.entry(uri, fields, partial(self._item, document, file, number))
                if entry is not None:
                    yield Found(entry, number, file.uri, file.mark)

    def _opened(self, content: bytes) -> pypdfium2.PdfDocument:
        import pypdfium2

        password = os.environ.get(self.config.password_from) if self.config.password_from else None
        try:
            return pypdfium2.PdfDocument(content, password=password)
        except pypdfium2.PdfiumError as error:
            if "password" in str(error).lower():
                raise ItemError(
                    "the document is encrypted",
                    found="a wrong password" if password else "no password",
                    remedy="Name the environment variable that has it: `password_from: VARIABLE`",
                ) from error
            raise ItemError("this is no PDF, or a broken one", found=str(error)) from error

    def _item(self, document: pypdfium2.PdfDocument, file: _File, number: int, group: str | None) -> Item:
        import pypdfium2

        group = file.uri if self.config.group is None else group
        uri = f"{file.uri}#page={number}"
        metadata: dict[str, Any] = {"page": number, "pages": len(document)}
        try:
            page = document[number - 1]
            words = page.get_textpage().get_text_range().replace("\0", "")
            if self.config.content == "text":
                return text_item(words, uri, group, metadata, self._limits)
            self._check_size(page.get_size())
            drawn = page.render(scale=self.config.dpi / _POINTS_PER_INCH).to_pil()
        except pypdfium2.PdfiumError as error:
            raise ItemError("the page cannot be read", found=str(error)) from error
        buffer = io.BytesIO()
        drawn.convert("RGB").save(buffer, format="PNG")
        return image_item(
            buffer.getvalue(), uri, group, {**metadata, "page_text": printable(words)}, self._limits
        )

    def _check_size(self, points: tuple[float, float]) -> None:
        width, height = (side * self.config.dpi / _POINTS_PER_INCH for side in points)
        if width * height > self._limits.megapixels * 1e6:
            raise ItemError(
                "the page is too large",
                found=f"{width:.0f} x {height:.0f} pixels",
                expected=f"at most {self._limits.megapixels:g} megapixels",
                remedy="Lower dpi, or raise max_megapixels",
            )


@dataclass(frozen=True)
class _File:
    location: Location
    path: str
    uri: str
    info: Info

    @property
    def mark(self) -> str | None:
        return file_mark(self.info)

    @property
    def fields(self) -> dict[str, Any]:
        name, folder = posixpath.basename(self.path), posixpath.dirname(self.path)
        return {
            "name": printable(name),
            "stem": printable(posixpath.splitext(name)[0]),
            "folder": self.location.shown(folder),
            "parent": printable(posixpath.basename(folder)),
            "size": self.info.get("size"),
        }
