"""What finds near-duplicates of a content: hashes of a text, a small grey copy of an image."""

from __future__ import annotations

from collections.abc import Iterator

from typing_extensions import override

from goldloop.duplicates.store import Store
from goldloop.holders.base import Holder, Place
from goldloop.progress import Progress
from goldloop.sqlite_files import compact


class Traces(Holder):
    """The content's lines in the cache of near-duplicates, one file for each kind of likeness."""

    kind = "trace"

    @override
    def find(self, key: str) -> list[Place]:
        return [self.place(store.path, "what finds its near-duplicates") for store in self._stores(key)]

    @override
    def erase(self, key: str, progress: Progress) -> list[Place]:
        for store in list(self._stores(key)):
            store.forget(key)
        # Also what a killed process deleted before: its bytes may still be in the file.
        for store in self._every():
            compact(store.path)
        return []

    def _stores(self, key: str) -> Iterator[Store]:
        return (store for store in self._every() if store.traces([key]))

    def _every(self) -> Iterator[Store]:
        folder = self.workspace.cache / "duplicates"
        return (Store(folder, path.stem) for path in sorted(folder.glob("*.db")))
