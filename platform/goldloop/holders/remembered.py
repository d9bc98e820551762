"""What commits remember of the items that they settled: a mark of each, which its content is in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from typing_extensions import override

from goldloop.holders.base import Disposable


class Remembered(Disposable):
    """The memory of a recipe that has the content among its items; the next commit settles everything."""

    kind = "settled"
    what = "a mark of what was settled of it"

    @override
    def files(self, key: str) -> Iterator[Path]:
        for path in sorted((self.workspace.cache / "settled").glob("*")):
            # What a killed process left half written may have it too.
            if path.name.startswith(".") or bytes.fromhex(key) in path.read_bytes():
                yield path
