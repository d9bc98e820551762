"""What commits remember of the items that they settled: a mark of each, which its content is in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from typing_extensions import override

from goldloop.holders.base import Holder, Place
from goldloop.progress import Progress


class Remembered(Holder):
    """The memory of a recipe that has the content among its items; the next commit settles everything."""

    kind = "settled"

    @override
    def find(self, key: str) -> list[Place]:
        return [self.place(path, "a mark of what was settled of it") for path in self._files(key)]

    @override
    def erase(self, key: str, progress: Progress) -> list[Place]:
        for path in list(self._files(key)):
            path.unlink()
        return []

    def _files(self, key: str) -> Iterator[Path]:
        for path in sorted((self.workspace.cache / "settled").glob("*")):
            # What a killed process left half written may have it too.
            if path.name.startswith(".") or bytes.fromhex(key) in path.read_bytes():
                yield path
