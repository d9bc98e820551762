"""Files that are whole whenever they are there, and that survive a loss of power once they are written."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def flush(path: Path) -> None:
    """Wait until a file's or a folder's content is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush_all(paths: Iterable[Path]) -> None:
    """Wait until all of these are on the disk; together, which takes hardly longer than one."""
    with ThreadPoolExecutor(16) as threads:
        for done in [threads.submit(flush, path) for path in paths]:
            done.result()


def replace(path: Path, content: bytes) -> None:
    """Write a file aside and rename it: whoever looks sees what was there before, or all of the new."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_bytes(content)
        flush(aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8, line ends as they are, and wait until it is on the disk."""
    path.write_text(text, encoding="utf-8", newline="")
    flush(path)


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON that people can read."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def may_be_replaced(folder: Path, names: Iterable[str]) -> bool:
    """Whether nothing is there, an empty folder, or one that has a file by which what wrote it is known."""
    if not folder.exists():
        return True
    return folder.is_dir() and (not any(folder.iterdir()) or any((folder / name).is_file() for name in names))


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """An empty folder aside, to be filled; left without an error, it takes the place of what was there."""
    aside = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        flush_all([path for path in aside.rglob("*") if path.is_file()])
        if folder.exists():
            shutil.rmtree(folder)
        aside.replace(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
