"""Rows of a dataset version made ready by `Task.prepare`: images in threads, texts by the tokenizer's own.

Decoding and resizing let other threads run, so threads scale, and there are no processes to start and to
send pictures between. How many there are depends on the cores and, since each may hold a picture of some
hundred megapixels, on the memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop.errors import GoldloopError, TrainingError
from goldloop.tasks.base import Model, Task
from goldloop.training.prefetch import cores

if TYPE_CHECKING:
    import datasets

_IMAGES, _TEXTS = 8, 1024
_MOST_THREADS = 32
_BYTES_PER_THREAD = 512 * 2**20


def target_columns(task: Task[Any]) -> list[str]:
    """The columns of a dataset version that hold the target."""
    return [name for name in task.features() if name != task.modality]


def prepared_rows(
    task: Task[Any], model: Model, rows: datasets.Dataset, positions: Sequence[int]
) -> Generator[dict[str, Any], None, None]:
    """What `Task.prepare` makes of some rows, in order, without `key`.

    Args:
        task: decides how.
        model: its processor and settings decide too.
        rows: images as the bytes of their files.
        positions: which of them.

    Raises:
        TrainingError: an item cannot be read; names its key.
    """
    # Fast tokenizers must not be shared by threads, and use all cores by themselves.
    threads = 1 if task.modality == "text" else _threads()
    size = _TEXTS if task.modality == "text" else _IMAGES
    chosen = rows.select_columns(["key", task.modality, *target_columns(task)])
    waiting: deque[Future[list[dict[str, Any]]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="prepare")
    try:
        for start in range(0, len(positions), size):
            chunk = _read(task, chosen, positions[start : start + size])
            waiting.append(pool.submit(_prepare_chunk, task, model, chunk))
            if len(waiting) > threads + 2:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _threads() -> int:
    import psutil

    by_memory = psutil.virtual_memory().available // _BYTES_PER_THREAD
    return int(max(1, min(cores(), by_memory, _MOST_THREADS)))


def _read(task: Task[Any], rows: datasets.Dataset, positions: Sequence[int]) -> list[dict[str, Any]]:
    together = positions[-1] - positions[0] + 1 == len(positions)
    columns = rows[positions[0] : positions[-1] + 1] if together else rows[list(positions)]
    chunk = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
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
