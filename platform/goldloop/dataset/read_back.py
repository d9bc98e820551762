"""The rows of a version as its files have them, with what a check needs to know of each.

Most of a row's time goes into its label. Where labels are classes there are few different ones: what is the
same of all rows with one label is found out once for each file.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from goldloop.dataset.by_address import each, media_beside
from goldloop.dataset.digest import leaf_of, row_digest, row_end
from goldloop.dataset.manifest import Manifest
from goldloop.dataset.shards import ROW, batches_of, target_columns
from goldloop.dataset.targets import Judged, judge
from goldloop.errors import VersionError
from goldloop.media import MediaStore
from goldloop.records import content_key
from goldloop.tasks.base import Task

if TYPE_CHECKING:
    import pyarrow

UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, MemoryError)
"""What reading bytes that are not as they should be raises; pyarrow's errors derive from these.

Among them what a file claims wrongly: of a type that pyarrow does not know, of a size that no memory holds.
"""
_FINE = Judged()


class Row(NamedTuple):
    """What matters of one row that was read.

    Attributes:
        file: which has it.
        key: what it says that its content is.
        split: by the name of its file.
        group: what keeps items in one split.
        content: `content_key` of its content as it is; empty where that cannot be had.
        digest: of key, split and target.
        number: the row's own.
        judged: whether the label means something and fits the content.
        lost: why an image that lies outside cannot be had; None where it can.
    """

    file: str
    key: str
    split: str
    group: str
    content: str
    digest: bytes
    number: int
    judged: Judged
    lost: str | None = None

    @property
    def where(self) -> str:
        """File and key."""
        return f"{self.file} row {self.key}"


def read_back(
    folder: Path, task: Task[Any], manifest: Manifest, new: Container[str] | None = None
) -> tuple[list[Row], list[tuple[str, str]]]:
    """The rows of a version, of these files alone if they are given; and what cannot be read, and why."""
    columns = target_columns(task)
    dead = frozenset(manifest.dead)
    rows: list[Row] = []
    faults: list[tuple[str, str]] = []
    for split, parts in sorted(manifest.shards.items()):
        for part in parts:
            if new is not None and part.path not in new:
                continue
            reader = _Reader(task, part.path, split, columns, media_beside(folder))
            try:
                for batch in batches_of(folder / part.path, ["key", "group", task.modality, *columns, ROW]):
                    rows += (row for row in reader.rows(batch) if row.number not in dead)
            except UNREADABLE as error:
                faults.append((part.path, f"cannot be read: {plain(error)}"))
    return rows, faults


def plain(error: Exception) -> str:
    """An error in one line."""
    return " ".join(str(error).split()) or type(error).__name__


class _Reader:
    """Reads one file."""

    def __init__(
        self, task: Task[Any], name: str, split: str, columns: Sequence[str], media: MediaStore
    ) -> None:
        self._task, self._name, self._split, self._columns = task, name, split, columns
        self._media = media
        # Target -> the end of its rows' lines in the digest; of those that are right whatever the item is.
        self._known: dict[tuple[Any, ...], bytes] = {}

    def rows(self, batch: pyarrow.RecordBatch) -> Iterator[Row]:
        keys, groups, numbers = (batch[name].to_pylist() for name in ("key", "group", ROW))
        targets = zip(*(batch[name].to_pylist() for name in self._columns), strict=True)
        repeat = self._task.answers_are_classes and all(map(_repeats, map(batch.schema.field, self._columns)))
        find = self._find_known if repeat else self._find
        for key, group, content, target, number in zip(
            keys, groups, self._contents(batch, keys), targets, numbers, strict=True
        ):
            if not (isinstance(key, str) and isinstance(group, str)):
                raise ValueError("a row has no key or no group")
            if isinstance(content, VersionError):
                digest = row_digest(key, self._split, self._named(target))
                yield Row(self._name, key, self._split, group, "", digest, number, _FINE, _lost(content))
                continue
            digest, judged = find(key, content, target)
            own = content_key(content.encode() if isinstance(content, str) else content)
            yield Row(self._name, key, self._split, group, own, digest, number, judged)

    def _contents(
        self, batch: pyarrow.RecordBatch, keys: Sequence[str]
    ) -> Iterable[bytes | str | VersionError]:
        column = batch[self._task.modality]
        if self._task.modality == "text":
            texts: list[str] = column.to_pylist()
            return texts
        inside = column.field("bytes")
        images: list[bytes] = inside.to_pylist()
        return each(column.to_pylist(), keys, self._media) if inside.null_count else images

    def _find_known(self, key: str, content: bytes | str, target: tuple[Any, ...]) -> tuple[bytes, Judged]:
        end = self._known.get(target)
        if end is not None:
            return leaf_of(key, end), _FINE
        digest, judged = self._find(key, content, target)
        if judged == _FINE:
            self._known[target] = row_end(self._split, self._named(target))
        return digest, judged

    def _find(self, key: str, content: bytes | str, target: tuple[Any, ...]) -> tuple[bytes, Judged]:
        named = self._named(target)
        return row_digest(key, self._split, named), judge(self._task, key, content, named)

    def _named(self, target: tuple[Any, ...]) -> Mapping[str, Any]:
        return dict(zip(self._columns, target, strict=True))


def _lost(error: VersionError) -> str:
    return f"{error.problem}: {error.where} ({error.found})"


def _repeats(field: pyarrow.Field) -> bool:
    """Whether values of a column that are equal are the same, to the digest as well."""
    from pyarrow import types

    kind = field.type
    return bool(types.is_integer(kind) or types.is_string(kind) or types.is_boolean(kind))
