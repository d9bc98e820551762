"""A split, prepared once and kept on disk; batches are gathers from a memory map.

    rows -> Task.prepare, in threads, once -> columns on disk -> one effective batch after another

There are no worker processes: the dear part (decoding, resizing, tokenising) is done before the first step,
and is there again for the next run on the same rows.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
import torch
from numpy.typing import NDArray

from goldloop import __version__
from goldloop.errors import GoldloopError, TrainingError
from goldloop.tasks.base import Batch, Model, Task
from goldloop.training.columns import Columns, open_columns, write_columns

if TYPE_CHECKING:
    import datasets

_CHUNK = 64
_THREADS = min(16, os.cpu_count() or 1)
_POOL = 50


class PreparedSplit:
    """The rows of one split, ready to be batched.

    Args:
        task: what they are for.
        model: what they were prepared for.
        keys: the items' content keys, in order.
        columns: what `Task.prepare` made of them, in the same order.
    """

    def __init__(self, task: Task[Any], model: Model, keys: Sequence[str], columns: Columns) -> None:
        self.task = task
        self.model = model
        self.keys = tuple(keys)
        self._columns = columns

    @classmethod
    def prepare(cls, task: Task[Any], model: Model, rows: datasets.Dataset, cache: Path) -> PreparedSplit:
        """Prepare a split, or read what an earlier run prepared of the same rows in the same way.

        Args:
            task: decides how.
            model: its processor and settings decide too.
            rows: at least one row with `key`, `image` or `text`, and the target's columns.
            cache: the folder for what can be made again.

        Raises:
            TrainingError: an item cannot be read (names its key), or the cache cannot be written.
        """
        rows = undecoded(task, rows)
        keys = rows["key"][:]
        folder = cache / "prepared" / _digest(task, model, rows)
        columns = open_columns(folder)
        if columns is None:
            try:
                write_columns(folder, _prepared(task, model, rows))
            except OSError as error:
                raise TrainingError(
                    "prepared data cannot be kept",
                    where=folder,
                    found=error.strerror,
                    remedy="Make room on the disk, or move the workspace",
                ) from error
            columns = open_columns(folder)
        if columns is None or columns.count != len(keys):
            raise TrainingError(
                "prepared data came back from the disk other than it was written",
                where=folder,
                remedy="Check the disk",
            )
        return cls(task, model, keys, columns)

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def tokens(self) -> NDArray[Any] | None:
        """Tokens of each text, int64 `(N,)`; None for images."""
        return self._columns.lengths("input_ids")

    @property
    def truncated(self) -> int:
        """How many texts were cut to fit the model."""
        column = self._columns.column("truncated_tokens")
        return 0 if column is None else int(numpy.count_nonzero(column))

    @property
    def torn_spans(self) -> int:
        """How many spans begin or end inside a token, so that the model cannot find them exactly."""
        column = self._columns.column("torn_spans")
        return 0 if column is None else int(column.sum())

    def batch(self, positions: Sequence[int]) -> Batch:
        """One batch of these rows, in this order, on the host."""
        rows = [{**self._columns.row(position), "key": self.keys[position]} for position in positions]
        return self.task.batch(rows, self.model)

    def epoch(self, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
        """Every position exactly once, in the batches of one training epoch."""
        return shuffled(len(self), batch_size, seed, epoch, self.tokens)

    def in_order(self, batch_size: int) -> list[list[int]]:
        """Every position exactly once, texts by length, for evaluation."""
        tokens = self.tokens
        order = numpy.arange(len(self)) if tokens is None else numpy.argsort(tokens, kind="stable")
        return [part.tolist() for part in _parts(order, batch_size)]


def undecoded(task: Task[Any], rows: datasets.Dataset) -> datasets.Dataset:
    """The same rows; images stay the bytes of their files."""
    import datasets

    if task.modality == "image" and isinstance(rows.features.get("image"), datasets.Image):
        return rows.cast_column("image", datasets.Image(decode=False))
    return rows


def target_columns(task: Task[Any]) -> list[str]:
    """The columns of a dataset version that hold the target."""
    return [name for name in task.features() if name != task.modality]


def rows_digest(task: Task[Any], rows: datasets.Dataset) -> str:
    """SHA-256, in hex, of which items with which targets a split has, in which order."""
    digest = hashlib.sha256()
    columns = ["key", *target_columns(task)]
    chosen = rows.select_columns(columns)
    for start in range(0, len(chosen), _CHUNK):
        block = chosen[start : start + _CHUNK]
        for values in zip(*(block[name] for name in columns), strict=True):
            digest.update(json.dumps(values, ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()


def shuffled(
    count: int, batch_size: int, seed: int, epoch: int, tokens: NDArray[Any] | None = None
) -> list[list[int]]:
    """Batches of one epoch: each of `count` positions once, the same for the same arguments.

    Batches differ in size by one at most and none is larger than `batch_size`, so the last one is no
    noisy rest. With `tokens`, texts of like length are put together: sorted within pools of batches, and
    the order of batches shuffled.
    """
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    order = torch.randperm(count, generator=generator).numpy()
    if tokens is None:
        return [part.tolist() for part in _parts(order, batch_size)]
    batches = []
    for pool in _parts(order, batch_size * _POOL):
        batches += _parts(pool[numpy.argsort(tokens[pool], kind="stable")], batch_size)
    return [batches[number].tolist() for number in torch.randperm(len(batches), generator=generator).tolist()]


def _parts(order: NDArray[Any], size: int) -> list[NDArray[Any]]:
    """As few parts as fit in `size`, as even as can be."""
    return numpy.array_split(order, -(-len(order) // size)) if len(order) else []


def _prepared(task: Task[Any], model: Model, rows: datasets.Dataset) -> Iterator[dict[str, Any]]:
    # Fast tokenizers must not be shared by threads, and use all cores by themselves.
    threads = 1 if task.modality == "text" else _THREADS
    waiting: deque[Future[list[dict[str, Any]]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="prepare")
    try:
        for start in range(0, len(rows), _CHUNK):
            chunk = _read(task, rows, start)
            waiting.append(pool.submit(_prepare_chunk, task, model, chunk))
            if len(waiting) > 2 * threads:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _read(task: Task[Any], rows: datasets.Dataset, start: int) -> list[dict[str, Any]]:
    names = ["key", task.modality, *target_columns(task)]
    columns = rows[start : start + _CHUNK]
    chunk = [
        dict(zip(names, values, strict=True))
        for values in zip(*(columns[name] for name in names), strict=True)
    ]
    for row in chunk:
        content = row[task.modality]
        if isinstance(content, Mapping):
            row[task.modality] = _bytes_of(content, row["key"])
    return chunk


def _bytes_of(image: Mapping[str, Any], key: str) -> bytes:
    """The file's bytes in an undecoded `datasets.Image` cell."""
    if image["bytes"] is not None:
        return bytes(image["bytes"])
    try:
        return Path(image["path"]).read_bytes()
    except OSError as error:
        raise TrainingError(
            "an image of the dataset version is missing", where=f"item {key}", found=str(error)
        ) from error


def _prepare_chunk(task: Task[Any], model: Model, chunk: list[dict[str, Any]]) -> list[dict[str, Any]]:
    try:
        prepared = task.prepare(model, chunk)
    except GoldloopError:
        prepared = [_prepare_one(task, model, row) for row in chunk]
    return [{name: value for name, value in row.items() if name != "key"} for row in prepared]


def _prepare_one(task: Task[Any], model: Model, row: dict[str, Any]) -> dict[str, Any]:
    try:
        return task.prepare(model, [row])[0]
    except GoldloopError as error:
        raise TrainingError(
            "an item of the dataset version cannot be used",
            where=f"item {row['key']}",
            found=str(error),
            remedy="Run `goldloop verify` on the version",
        ) from error


def _digest(task: Task[Any], model: Model, rows: datasets.Dataset) -> str:
    """Of all that decides what `Task.prepare` makes of these rows."""
    parts = [__version__, task.config.kind, list(task.classes), model.settings, rows_digest(task, rows)]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode())
    with tempfile.TemporaryDirectory() as folder:
        model.processor.save_pretrained(folder)
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
