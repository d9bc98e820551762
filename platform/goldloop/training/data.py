"""A split, prepared once and kept on disk; batches are copied from there as whole tensors.

    rows -> Task.prepare, in threads, once -> segments on disk -> one effective batch after another

There are no worker processes: the dear part (decoding, resizing, tokenising) is done before the first step,
and is there again for the next run on the same items, whatever came to them since.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
from numpy.typing import NDArray

from goldloop import __version__
from goldloop.errors import TrainingError
from goldloop.progress import Advance, Progress, Silent
from goldloop.tasks.base import Batch, Model, Task
from goldloop.training.column import Column
from goldloop.training.gathered import StoredRows
from goldloop.training.preparation import prepared_rows, target_columns
from goldloop.training.prepared_store import ITEM, Found, PreparedStore, bound, item_digest
from goldloop.training.sampling import dealt, parts_of, shuffled

if TYPE_CHECKING:
    import datasets

__all__ = ["PreparedSplit", "rows_digest", "target_columns", "undecoded"]

_CHUNK = 256
_SILENT = Silent()
_LIBRARIES = ("numpy", "pillow", "tokenizers")


class PreparedSplit:
    """The rows of one split, ready to be batched.

    Args:
        task: what they are for.
        model: what they were prepared for.
        keys: the items' content keys, in order.
        found: where each of them is, in the same order.

    Attributes:
        pinned: gather images into page-locked memory, from which a GPU copies while it computes; only where
            there is one.
    """

    def __init__(self, task: Task[Any], model: Model, keys: Sequence[str], found: Found) -> None:
        self.task = task
        self.model = model
        self.keys = tuple(keys)
        self.pinned = False
        self._folders = found.folders
        self._places = found.places

    @classmethod
    def prepare(
        cls,
        task: Task[Any],
        model: Model,
        rows: datasets.Dataset,
        cache: Path,
        progress: Progress = _SILENT,
        *,
        most_bytes: int | None = None,
    ) -> PreparedSplit:
        """Prepare what no earlier run has prepared of a split in the same way.

        Args:
            task: decides how.
            model: its processor and settings decide too.
            rows: at least one row with `key`, `image` or `text`, and the target's columns.
            cache: the folder for what can be made again.
            progress: told how far it is.
            most_bytes: what all prepared data in the cache may hold beside what is in use; None: a quarter
                of what it holds and what is free on the disk.

        Raises:
            TrainingError: an item cannot be read (names its key), or the cache cannot be written.
        """
        rows = undecoded(task, rows)
        keys = rows["key"][:]
        items = _item_digests(task, rows)
        folder = cache / "prepared"
        store = PreparedStore(folder, _way(task, model))
        found = store.find(items)
        if found.missing:
            # What is held is not merged.
            del found
            try:
                found = _grown(store, task, model, rows, items, progress)
                bound(folder, most_bytes)
            except OSError as error:
                raise TrainingError(
                    "prepared data cannot be kept",
                    where=folder,
                    found=error.strerror,
                    remedy="Make room on the disk, or move the workspace",
                ) from error
        if found.missing:
            raise TrainingError(
                "prepared data came back from the disk other than it was written",
                where=folder,
                remedy="Check the disk",
            )
        return cls(task, model, keys, found)

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def tokens(self) -> NDArray[Any] | None:
        """Tokens of each text, int64 `(N,)`; None for images."""
        return self._per_row("input_ids", lambda column: column.lengths)

    def lengths(self, name: str) -> NDArray[Any]:
        """First dimension of each row's array of a name, int64 `(N,)`.

        Raises:
            KeyError: some rows have none.
        """
        found = self._per_row(name, lambda column: column.lengths)
        if found is None:
            raise KeyError(name)
        return found

    @property
    def truncated(self) -> int:
        """How many texts were cut to fit the model."""
        column = self._per_row("truncated_tokens", lambda column: column.whole)
        return 0 if column is None else int(numpy.count_nonzero(column))

    @property
    def torn_spans(self) -> int:
        """How many spans begin or end inside a token, so that the model cannot find them exactly."""
        column = self._per_row("torn_spans", lambda column: column.whole)
        return 0 if column is None else int(column.sum())

    def _per_row(self, name: str, values: Callable[[Column], NDArray[Any] | None]) -> NDArray[Any] | None:
        """A number for each row, `(N,)`; None where some have none."""
        whole: NDArray[Any] | None = None
        for number, folder in enumerate(self._folders):
            column = folder.get(name)
            own = None if column is None else values(column)
            if own is None:
                return None
            if whole is None:
                whole = numpy.empty(len(self), dtype=own.dtype)
            here = self._places[:, 0] == number
            whole[here] = own[self._places[here, 1]]
        return whole

    def rows(self, positions: Sequence[int]) -> StoredRows:
        """Rows of these positions, in this order."""
        places = self._places[numpy.asarray(positions, dtype=numpy.int64)]
        keys = tuple(self.keys[position] for position in positions)
        return StoredRows(self._folders, places, keys, pinned=self.pinned, hidden=ITEM)

    def batch(self, positions: Sequence[int]) -> Batch:
        """One batch of these rows, in this order, on the host."""
        return self.task.batch(self.rows(positions), self.model)

    def epoch(self, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
        """Every position exactly once, in the batches of one training epoch."""
        if self.model.packed and self.tokens is not None:
            return dealt(len(self), batch_size, seed, epoch, self.tokens)
        return shuffled(len(self), batch_size, seed, epoch, self.tokens)

    def in_order(self, batch_size: int) -> list[list[int]]:
        """Every position exactly once, texts by length, for evaluation."""
        tokens = self.tokens
        order = numpy.arange(len(self)) if tokens is None else numpy.argsort(tokens, kind="stable")
        return [part.tolist() for part in parts_of(order, batch_size)]


def _grown(
    store: PreparedStore,
    task: Task[Any],
    model: Model,
    rows: datasets.Dataset,
    items: Sequence[bytes],
    progress: Progress,
) -> Found:
    """Prepare what is missing once no other process does, and open all."""
    with store.writing(progress):
        missing = _first_of_each(items, store.find(items).missing)
        if missing:
            with (
                progress.track(f"preparing {task.modality}s", len(missing)) as advance,
                closing(prepared_rows(task, model, rows, missing)) as prepared,
            ):
                store.add([items[number] for number in missing], _counted(prepared, advance))
            store.merge()
        return store.find(items)


def _first_of_each(items: Sequence[bytes], positions: Sequence[int]) -> list[int]:
    """Positions without those of an item that was there before."""
    first: dict[bytes, int] = {}
    for position in positions:
        first.setdefault(items[position], position)
    return list(first.values())


def _counted(rows: Iterator[dict[str, Any]], advance: Advance) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield row
        advance(1)


def undecoded(task: Task[Any], rows: datasets.Dataset) -> datasets.Dataset:
    """The same rows; images stay the bytes of their files."""
    import datasets

    if task.modality == "image" and isinstance(rows.features.get("image"), datasets.Image):
        return rows.cast_column("image", datasets.Image(decode=False))
    return rows


def rows_digest(task: Task[Any], rows: datasets.Dataset) -> str:
    """SHA-256, in hex, of which items with which targets a split has, in which order."""
    digest = hashlib.sha256()
    for line in _lines(task, rows):
        digest.update(line + b"\n")
    return digest.hexdigest()


def _item_digests(task: Task[Any], rows: datasets.Dataset) -> list[bytes]:
    """What each item, with its target, is found by."""
    return [item_digest(key, line) for key, line in zip(rows["key"][:], _lines(task, rows), strict=True)]


def _lines(task: Task[Any], rows: datasets.Dataset) -> Iterator[bytes]:
    columns = ["key", *target_columns(task)]
    chosen = rows.select_columns(columns)
    for start in range(0, len(chosen), _CHUNK):
        block = chosen[start : start + _CHUNK]
        for values in zip(*(block[name] for name in columns), strict=True):
            yield json.dumps(values, ensure_ascii=False).encode()


def _way(task: Task[Any], model: Model) -> str:
    """A digest of all that decides what `Task.prepare` makes of an item, but for the item."""
    config = task.config.model_dump(mode="json", by_alias=True, exclude={"instructions"})
    # Adapters change the network, not what it is given.
    settings = {name: value for name, value in model.settings.items() if name != "lora"}
    libraries = {name: version(name) for name in _LIBRARIES}
    parts = [__version__, config, list(task.classes), settings, libraries]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode())
    with tempfile.TemporaryDirectory() as folder:
        model.processor.save_pretrained(folder)
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                digest.update(path.name.encode() + b"\0" + _lasting(path))
    return digest.hexdigest()


def _lasting(path: Path) -> bytes:
    """A processor's file without what its use alone changes."""
    content = path.read_bytes()
    if path.name != "tokenizer.json":
        return content
    # How it was last asked to cut and to pad; `Task.prepare` says each time how it wants that.
    lasting = {**json.loads(content), "truncation": None, "padding": None}
    return json.dumps(lasting, ensure_ascii=False).encode()
