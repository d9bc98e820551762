"""Requests that the prediction server kept, as a source: no recipe names it, it is there where any were.

<folder>/<day>/<key>.text or .image; see `serving/samples.py`, which writes them. A file never changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typing_extensions import override

from goldloop.ahead import chunks
from goldloop.connectors._content import Limits, decode_text, image_item, text_item
from goldloop.connectors.base import Connector, ConnectorConfig, Found, Kept, Known
from goldloop.errors import ItemError
from goldloop.records import Item, Quarantined

_LIMITS = Limits(megapixels=64, text_megabytes=2)
_SCHEME = "production:"


class Requests(Connector):
    """One item for each content of a day."""

    class Config(ConnectorConfig):
        """Where they are."""

        folder: Path

    @classmethod
    @override
    def example(cls, folder: Path) -> dict[str, Any]:
        day = folder / "2026-01-31"
        day.mkdir()
        for name in ("one", "two"):
            (day / f"{name}.text").write_text(f"text {name}", encoding="utf-8")
        (day / "blank.text").write_text(" ", encoding="utf-8")
        return {"kind": "production", "folder": str(folder)}

    @override
    def read(self, known: Known) -> Iterator[Found | Kept]:
        for chunk in chunks(self._files()):
            marks = {uri_of(path): path.name for path in chunk}
            kept = known.unchanged(marks)
            for path in chunk:
                uri = uri_of(path)
                yield Kept(uri, path.name) if uri in kept else self._found(path, uri)

    @override
    def fingerprint(self) -> str | None:
        names = "\n".join(uri_of(path) for path in self._files())
        return hashlib.sha256(names.encode()).hexdigest()

    def _files(self) -> list[Path]:
        return sorted(path for path in self.config.folder.glob("*/*") if not path.name.startswith("."))

    def _found(self, path: Path, uri: str) -> Found:
        try:
            return Found(self._item(path, uri), mark=path.name)
        except ItemError as error:
            return Found(Quarantined(uri=uri, reason=str(error)), mark=path.name)

    def _item(self, path: Path, uri: str) -> Item:
        content, told = path.read_bytes(), {"asked_on": path.parent.name}
        if path.suffix == ".text":
            return text_item(decode_text(content), uri, None, told, _LIMITS)
        return image_item(content, uri, None, told, _LIMITS)


def uri_of(path: Path) -> str:
    """The address of a request, which names no folder of this machine."""
    return f"{_SCHEME}{path.parent.name}/{path.stem}"


def stem_of(uri: str) -> str:
    """The day and the name of the file that an address is of, without its ending."""
    return uri.removeprefix(_SCHEME)
