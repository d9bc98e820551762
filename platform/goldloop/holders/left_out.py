"""What cleaning left out: a few examples of each reason, and the page that shows them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from typing_extensions import override

from goldloop.cleaning.examples import Examples
from goldloop.cleaning.report import write
from goldloop.holders.base import Holder, Place
from goldloop.progress import Progress


class LeftOut(Holder):
    """The examples that show the content."""

    kind = "example"

    @override
    def find(self, key: str) -> list[Place]:
        return [self.place(path, "what was left out") for path in self._files(key)]

    @override
    def erase(self, key: str, progress: Progress) -> list[Place]:
        for path in list(self._files(key)):
            path.unlink()
            folder = path.parent.parent
            with self.workspace.engine.connect() as connection:
                write(connection, folder.name, folder)
        return []

    def _files(self, key: str) -> Iterator[Path]:
        for folder in sorted(self.workspace.root.glob("reports/*/examples")):
            yield from Examples(folder).with_content(key)
