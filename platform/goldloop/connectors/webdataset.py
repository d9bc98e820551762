"""`kind: webdataset`: samples in tar shards, their members named alike: `0001.jpg`, `0001.json`, `0001.cls`.

Shards are streamed from front to back; of a member that is not needed no byte is decoded, and none is ever
unpickled.
"""

from __future__ import annotations

import io
import json
import posixpath
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import IO, Any

from pydantic import Field
from typing_extensions import override

from goldloop.ahead import ahead
from goldloop.connectors._content import (
    IMAGE_EXTENSIONS,
    Limits,
    decode_text,
    image_item,
    text_item,
    without_secrets,
)
from goldloop.connectors._distinct import Distinct
from goldloop.connectors._locations import Location, file_mark, listing_digest, locate
from goldloop.connectors._values import json_value
from goldloop.connectors.base import Chosen, Connector, ConnectorConfig, Found, Kept, Known, KnownLabel
from goldloop.errors import ItemError, SourceError
from goldloop.records import Item, Quarantined

_TEXTS = frozenset({"txt", "text", "md"})
_SMALL = frozenset({"cls", "cls2", "id", "index", "inx", "url", "lang", "class", "label"})
_MOST_BYTES = 1_000_000
"""Of a member with fields; a longer one is none."""


class Webdataset(Connector):
    """One item per sample.

    Fields of a sample, for `filter`, `group`, `label` and `metadata`: `name`, `shard`, what its `.json`
    holds, and its short members (`cls`, `id`, `url` ...) by extension.
    """

    class Config(ConnectorConfig):
        """What a recipe says of it."""

        url: str = Field(min_length=1)
        """A shard, a folder of shards or a glob such as `s3://bucket/train-*.tar`."""
        content: str | None = None
        """The extension of the member that is the item; by default an image's, else a text's."""
        label: KnownLabel | None = None
        metadata: tuple[str, ...] = ()
        max_megapixels: float = Field(default=64, gt=0)
        max_text_megabytes: float = Field(default=2, gt=0)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._limits = Limits(config.max_megapixels, config.max_text_megabytes)

    @classmethod
    @override
    def example(cls, folder: Path) -> dict[str, Any]:
        members = {"a.txt": b"one", "a.json": b'{"n": 1}', "b.txt": b"two", "c.json": b"{}"}
        with tarfile.open(folder / "example-000.tar", "w") as shard:
            for name, content in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                shard.addfile(member, io.BytesIO(content))
        return {"kind": "webdataset", "url": str(folder / "example-*.tar")}

    @override
    def read(self, known: Known) -> Iterator[Found | Kept]:
        yield from islice(self._read(known), self.config.limit)

    @override
    def fingerprint(self) -> str | None:
        return listing_digest((path, info) for _, path, info in self._shards())

    def _read(self, known: Known) -> Iterator[Found | Kept]:
        for location, path, info in self._shards():
            shard, mark = location.shown(path), file_mark(info)
            marks = {} if mark is None or self.config.limit is not None else {shard: mark}
            if mark is not None and known.unchanged(marks, many=True):
                yield Kept(shard, mark, many=True)
                continue
            samples = self._samples(location, path, shard)
            for number, entry in enumerate(ahead(self._entry, samples)):
                yield Found(entry, number, shard, mark)
        self.check_seen(without_secrets(self.config.url))

    def _shards(self) -> Iterator[tuple[Location, str, Any]]:
        empty = True
        location = locate(self.config.url)
        for path, info in location.walk():
            if posixpath.basename(path).lower().endswith((".tar", ".tar.gz", ".tgz")):
                empty = False
                yield location, path, info
        if empty:
            raise SourceError(
                "no shard is there", where=without_secrets(self.config.url), expected="files named *.tar"
            )

    def _samples(self, location: Location, path: str, shard: str) -> Iterator[_Sample]:
        """Every sample of a shard that the filter takes; a shard that breaks off says so."""
        seen = Distinct()
        try:
            for sample in self._paired(location, path, shard):
                if not seen.add(sample.name):
                    again = f"{sample.uri}@again"
                    yield replace(sample, uri=again, refused="another sample of the shard has this name too")
                    continue
                chosen = self.choose(sample.uri, sample.fields)
                if isinstance(chosen, Quarantined):
                    yield replace(sample, refused=chosen.reason)
                elif isinstance(chosen, Chosen):
                    yield replace(sample, group=chosen.group)
        except (tarfile.TarError, EOFError, zlib.error, UnicodeError) as error:
            reason = f"the shard cannot be read on from here: {error or type(error).__name__}"
            yield _Sample("", shard, shard, refused=reason)

    def _paired(self, location: Location, path: str, shard: str) -> Iterator[_Sample]:
        current: _Sample | None = None
        for name, extension, member in _members(location, path):
            if current is None or current.name != name:
                if current is not None:
                    yield current
                current = _Sample(name, shard, f"{shard}#{name}", fields={"name": name, "shard": shard})
            self._take(current, extension, member)
        if current is not None:
            yield current

    def _take(self, sample: _Sample, extension: str, member: _Member) -> None:
        """Read a member, if it is the content or has fields; others are passed over."""
        if extension == self.config.content or (
            self.config.content is None and (f".{extension}" in IMAGE_EXTENSIONS or extension in _TEXTS)
        ):
            sample.contents.append((extension, member.read()))
        elif extension == "json" and member.size <= _MOST_BYTES:
            try:
                values = json.loads(member.read())
            except (ValueError, RecursionError) as error:
                sample.faults.append(f"its .json is none: {error}")
                return
            sample.fields.update(values if isinstance(values, dict) else {"json": values})
        elif extension in _SMALL and member.size <= _MOST_BYTES:
            sample.fields[extension] = member.read().decode("utf-8", "replace").strip()

    def _entry(self, sample: _Sample) -> Item | Quarantined:
        reason = sample.refused or next(iter(sample.faults), None)
        if reason is not None:
            return Quarantined(uri=sample.uri, reason=reason)
        try:
            return self._item(sample)
        except ItemError as error:
            return Quarantined(uri=sample.uri, reason=str(error))

    def _item(self, sample: _Sample) -> Item:
        # An image comes before a caption that lies beside it.
        ordered = sorted(sample.contents, key=lambda content: content[0] in _TEXTS)
        if not ordered:
            wanted = f".{self.config.content}" if self.config.content else "an image or a text"
            raise ItemError("the sample has no member that is the item", expected=wanted)
        extension, content = ordered[0]
        metadata = {name: json_value(sample.fields.get(name)) for name in self.config.metadata}
        if extension in _TEXTS:
            item = text_item(decode_text(content), sample.uri, sample.group, metadata, self._limits)
        else:
            item = image_item(content, sample.uri, sample.group, metadata, self._limits)
        label = self.config.label
        value = None if label is None else json_value(sample.fields.get(label.origin))
        if label is None or value is None or value == "":
            return item
        return replace(item, label=value, label_use=label.use)


_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ")
"""How gzip, bzip2 and xz begin."""


@dataclass(frozen=True)
class _Sample:
    name: str
    shard: str
    uri: str
    fields: dict[str, Any] = field(default_factory=dict)
    contents: list[tuple[str, bytes]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    group: str | None = None
    refused: str | None = None


@dataclass(frozen=True)
class _Member:
    shard: tarfile.TarFile
    info: tarfile.TarInfo

    @property
    def size(self) -> int:
        return self.info.size

    def read(self) -> bytes:
        opened = self.shard.extractfile(self.info)
        if opened is None:
            raise tarfile.ReadError(f"{self.info.name} cannot be read")
        with opened:
            content = opened.read()
        if len(content) != self.size:
            raise tarfile.ReadError("unexpected end of data")
        return content


def _members(location: Location, path: str) -> Iterator[tuple[str, str, _Member]]:
    """Name, extension and member of each file in a shard, streamed.

    Raises:
        SourceError: the shard cannot be reached.
        tarfile.TarError: it is broken; so are EOFError and zlib.error.
    """
    try:
        file = location.system.open(path, "rb")
    except Exception as error:
        # Drivers raise what their services do: OSError, ClientError, HTTP errors.
        raise location.failure(error) from error
    tail = _Tail(file)
    with closing(file), tarfile.open(fileobj=tail, mode="r|*") as shard:  # type: ignore[call-overload]
        for info in shard:
            # All members that were passed are remembered otherwise.
            shard.members = []
            folder, name = posixpath.split(info.name)
            stem, _, extension = name.partition(".")
            if info.isfile() and stem:
                yield posixpath.join(folder, stem), extension.lower(), _Member(shard, info)
        # A compressed one, whatever it is called, tells by itself that it was cut off.
        if not tail.first.startswith(_COMPRESSED) and tail.last.strip(b"\0"):
            raise tarfile.ReadError("unexpected end of data")


class _Tail:
    """A file that remembers how it began and ended: of a tar that was cut off, not with zeros."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.first = self.last = b""

    def read(self, size: int) -> bytes:
        content = self._file.read(size)
        if content:
            self.first = self.first or content[:512]
            self.last = content[-512:]
        return content
