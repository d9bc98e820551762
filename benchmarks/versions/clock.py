"""What an arm measures, and where it writes it: a line of JSON for each measurement."""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Record:
    """The measurements of one tool on one kind of data.

    Args:
        path: the file of lines.
        tool: whose.
        data: `images` or `texts`.
    """

    def __init__(self, path: Path, tool: str, data: str) -> None:
        self._path, self._tool, self._data = path, tool, data

    @contextmanager
    def timed(self, what: str, *, unflushed: bool = False) -> Iterator[None]:
        """Measure how long something takes.

        Args:
            what: it is called.
            unflushed: it leaves what it writes to the system: how long it takes until all of that is on the
                disk is measured as well.
        """
        if unflushed:
            os.sync()
        start = time.perf_counter()
        yield
        self.add(what, seconds=time.perf_counter() - start)
        if unflushed:
            os.sync()
            self.add(f"{what}, flushed", seconds=time.perf_counter() - start)

    def add(self, what: str, **figures: float) -> None:
        """Note figures."""
        line = {"tool": self._tool, "data": self._data, "what": what, **figures, "load": os.getloadavg()[0]}
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def memory(self) -> None:
        """Note the most memory that the process had."""
        self.add("memory", bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def used(*folders: Path) -> int:
    """Bytes of all files, each counted once however many names it has."""
    sizes = {}
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                told = path.stat()
                sizes[told.st_dev, told.st_ino] = told.st_size
    return sum(sizes.values())
