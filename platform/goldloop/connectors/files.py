"""`kind: files`: images and texts, one per file, at any fsspec URL."""

from __future__ import annotations

import difflib
import hashlib
import posixpath
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from typing_extensions import override

from goldloop.connectors._content import (
    IMAGE_EXTENSIONS,
    TEXT_EXTENSIONS,
    Limits,
    decode_text,
    image_item,
    text_item,
    without_secrets,
)
from goldloop.connectors._locations import Location, extension_of, file_mark, locate
from goldloop.connectors.base import Connector, ConnectorConfig, KnownLabel
from goldloop.errors import ItemError, SourceError
from goldloop.records import Item, Quarantined

_THREADS = 8
_AHEAD = 32
"""Files that are read before they are asked for: hides a remote store's latency, bounds the memory."""
_LITTER = frozenset({"thumbs.db", "desktop.ini"})


class Files(Connector):
    """One item per file. What a file is follows from its bytes; which files are read, from the extension."""

    class Config(ConnectorConfig):
        """What a recipe says of it."""

        label: KnownLabel | None = None
        url: str = Field(min_length=1)
        """A folder (all that is below it), a glob with `*` and `**`, or one file."""
        group: Literal["folder"] | None = None
        """`folder` keeps the files of one folder in one split."""
        max_megapixels: float = Field(default=64, gt=0)
        max_text_megabytes: float = Field(default=2, gt=0)

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
    def items(self) -> Iterator[Item | Quarantined]:
        location = locate(self.config.url)
        paths = iter(self._paths(location))
        with ThreadPoolExecutor(_THREADS) as pool:
            ahead = [pool.submit(self._read, location, path) for path in islice(paths, _AHEAD)]
            while ahead:
                yield ahead.pop(0).result()
                ahead += [pool.submit(self._read, location, path) for path in islice(paths, 1)]

    @override
    def fingerprint(self) -> str:
        location = locate(self.config.url)
        digest = hashlib.sha256()
        for path in self._paths(location):
            mark = f"{path}\0{file_mark(location.listing[path])}\0"
            digest.update(mark.encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def _paths(self, location: Location) -> list[str]:
        """Every file that is looked at, by path.

        Raises:
            SourceError: there is none.
        """
        paths = sorted(path for path in location.find() if not _is_litter(path))
        if not paths:
            raise SourceError(
                "no file is there",
                where=without_secrets(self.config.url),
                expected="images or texts",
                remedy=_nearest(self.config.url),
            )
        return paths[: self.config.limit]

    def _read(self, location: Location, path: str) -> Item | Quarantined:
        uri = location.shown(path)
        folder = posixpath.dirname(path)
        try:
            extension = extension_of(path)
            if extension not in IMAGE_EXTENSIONS | TEXT_EXTENSIONS:
                raise ItemError(
                    "not a kind of file that is read",
                    found=extension or "no extension",
                    expected=", ".join(sorted(IMAGE_EXTENSIONS | TEXT_EXTENSIONS)),
                )
            if location.listing[path].get("type") == "other":
                raise ItemError("not a regular file", found="a pipe, socket or device")
            content = location.read(path)
            group = location.shown(folder) if self.config.group == "folder" else None
            if extension in TEXT_EXTENSIONS:
                item = text_item(decode_text(content), uri, group, {}, self._limits)
            else:
                item = image_item(content, uri, group, {}, self._limits)
        except ItemError as error:
            return Quarantined(uri=uri, reason=str(error))
        label = self.config.label
        return item if label is None else replace(item, label=posixpath.basename(folder), label_use=label.use)


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
