"""`kind: dataset`: a labelled data set in one of the formats of `goldloop.formats`, with its labels."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PlainSerializer, PlainValidator
from typing_extensions import override

from goldloop.connectors._content import Limits, image_item, text_item, without_secrets
from goldloop.connectors._distinct import Distinct
from goldloop.connectors._locations import Location, listing_digest, locate
from goldloop.connectors.base import Connector, ConnectorConfig, Found, Kept, Known, LabelPurpose
from goldloop.errors import GoldloopError, ItemError, SourceError
from goldloop.formats import formats
from goldloop.formats.base import Sample
from goldloop.plugins import PluginConfig
from goldloop.records import Item, Quarantined


def _of_a_format(value: Any) -> PluginConfig:
    try:
        return formats.config({"kind": value} if isinstance(value, str) else value)
    except GoldloopError as error:
        raise ValueError(str(error)) from error


def _as_fields(value: PluginConfig | Mapping[str, Any]) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else value.model_dump(mode="json", by_alias=True)


_FormatField = Annotated[PluginConfig, PlainValidator(_of_a_format), PlainSerializer(_as_fields)]


class Dataset(Connector):
    """One item per image or text of a data set, the answer that is there as its label.

    Fields of a sample, for `filter` and `group`: `name`, `split`, `group` and its metadata.
    """

    class Config(ConnectorConfig):
        """What a recipe says of it."""

        url: str = Field(min_length=1)
        """The data set's folder; one that is not local is copied for as long as it is read."""
        format: _FormatField
        """A format's name, or a mapping: its `kind` and what it must be told, such as a table's columns."""
        task: str | None = None
        """The task kind; needed where the format holds several and the data do not tell."""
        label: LabelPurpose = LabelPurpose(use="imported")
        max_megapixels: float = Field(default=64, gt=0)
        max_text_megabytes: float = Field(default=2, gt=0)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._limits = Limits(config.max_megapixels, config.max_text_megabytes)

    @classmethod
    @override
    def example(cls, folder: Path) -> dict[str, Any]:
        text = "Ada\tB-person\nwrites\tO\n\nin\tO\nLondon\tB-place\n\nno tag here\n"
        (folder / "example.conll").write_text(text, encoding="utf-8")
        return {"kind": "dataset", "url": str(folder), "format": "conll"}

    @override
    def read(self, known: Known) -> Iterator[Found | Kept]:
        location = locate(self.config.url)
        root = self._root(location)
        mark = listing_digest(location.walk())
        if self.config.limit is None and known.unchanged({root: mark}, many=True):
            yield Kept(root, mark, many=True)
            return
        for number, entry in enumerate(islice(self._entries(location, root), self.config.limit)):
            yield Found(entry, number, root, mark)

    @override
    def fingerprint(self) -> str:
        return listing_digest(locate(self.config.url).walk())

    def _entries(self, location: Location, root: str) -> Iterator[Item | Quarantined]:
        with _local(location) as folder:
            form = formats.create(self.config.format)
            kind = self.config.task or form.kind_of(folder)
            if not form.holds(kind):
                raise SourceError(
                    f"{form.config.kind} cannot hold {kind}",
                    where=root,
                    expected=", ".join(sorted(form.kinds or ())),
                )
            seen, empty, repeated = Distinct(), True, 0
            for sample in form.read(folder, kind):
                empty = False
                found = self._entry(sample, root)
                if found is not None and not seen.add(found.uri):
                    repeated += 1
                    reason = f"another sample has the name {found.uri} too"
                    found = Quarantined(uri=f"{found.uri}@again-{repeated}", reason=reason)
                if found is not None:
                    yield found
            if empty:
                raise SourceError("the data set is empty", where=root)
            self.check_seen(root)

    def _root(self, location: Location) -> str:
        return without_secrets(location.uri(location.path.rstrip("/")))

    def _entry(self, sample: Sample | Quarantined, root: str) -> Item | Quarantined | None:
        if isinstance(sample, Quarantined):
            return replace(sample, uri=f"{root}/{sample.uri}")
        uri = f"{root}/{sample.name}"
        known = {"name": sample.name, "split": sample.split, "group": sample.group}
        found = self.entry(uri, {**sample.metadata, **known}, partial(self._item, sample, uri))
        if not isinstance(found, Item) or sample.target is None:
            return found
        return replace(found, label=sample.target, label_use=self.config.label.use)

    def _item(self, sample: Sample, uri: str, group: str | None) -> Item:
        group = group if self.config.group is not None else sample.group
        metadata: Mapping[str, Any] = dict(sample.metadata)
        if sample.split is not None:
            metadata = {**metadata, "split": sample.split}
        content = sample.content
        if isinstance(content, str):
            return text_item(content, uri, group, metadata, self._limits)
        if isinstance(content, Path):
            try:
                content = content.read_bytes()
            except OSError as error:
                raise ItemError("the file cannot be read", found=error.strerror) from error
        return image_item(content, uri, group, metadata, self._limits)


@contextmanager
def _local(location: Location) -> Iterator[Path]:
    """The data set's folder on this machine: formats go to and fro in it, as remote stores are slow."""
    if location.is_local:
        yield Path(location.path)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "data"
        location.fetch(copy)
        yield copy
