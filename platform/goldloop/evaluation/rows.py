"""The rows of a split on their way to a model: only those that judge it fairly, a chunk at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from goldloop.errors import ModelError
from goldloop.tasks.base import Task

_CHUNK_ITEMS = 256
_CHUNK_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Asked:
    """What a model is asked, and what is expected of it.

    Attributes:
        row: of the version.
        content: a text, or an image's bytes.
        expected: the label's target.
    """

    row: Mapping[str, Any]
    content: bytes | str
    expected: Any


def fair(
    rows: Iterable[Mapping[str, Any]], own_models: frozenset[str], left_out: dict[str, str]
) -> Iterator[Mapping[str, Any]]:
    """The rows that none of these models was shown on; why the others are not among them is noted.

    Args:
        rows: each with `key` and `shown_models`.
        own_models: names under which the model's suggestions may have been shown.
        left_out: gets the key of each row that is left out, and the reason.
    """
    for row in _undecoded(rows):
        shown = own_models & set(row.get("shown_models") or ())
        if shown:
            names = ", ".join(sorted(shown))
            left_out[row["key"]] = f"an annotator was shown what {names} suggested"
        else:
            yield row


def _undecoded(rows: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    """The same rows; images in a `datasets.Dataset` stay the bytes of their files."""
    import datasets

    if isinstance(rows, datasets.Dataset) and isinstance(rows.features.get("image"), datasets.Image):
        undecoded: Iterable[Mapping[str, Any]] = rows.cast_column("image", datasets.Image(decode=False))
        return undecoded
    return rows


def chunks(task: Task[Any], rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Asked]]:
    """Rows with their content and expected target, as many at once as may be held in memory.

    Raises:
        ModelError: an image file that a row names is missing.
    """
    chunk: list[Asked] = []
    size = 0
    for row in rows:
        content = _content(row[task.modality], row["key"])
        chunk.append(Asked(row, content, task.from_row(row)))
        size += len(content)
        if len(chunk) == _CHUNK_ITEMS or size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _content(value: Any, key: str) -> bytes | str:
    """A text, or an image's bytes, also out of an undecoded `datasets.Image` cell."""
    if isinstance(value, str | bytes):
        return value
    if value.get("bytes") is not None:
        return bytes(value["bytes"])
    try:
        return Path(value["path"]).read_bytes()
    except OSError as error:
        raise ModelError(
            "an image of the dataset version is missing", where=f"item {key}", found=str(error)
        ) from error
