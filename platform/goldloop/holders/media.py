"""Images in the workspace: the original, what browsers are shown, and what killed writers left."""

from __future__ import annotations

from pathlib import Path

from typing_extensions import override

from goldloop.durable import flush
from goldloop.holders.base import Holder, Place
from goldloop.progress import Progress


class Media(Holder):
    """The files whose names are the content's key."""

    kind = "media"

    @override
    def find(self, key: str) -> list[Place]:
        return [self.place(path, f"{path.stat().st_size} bytes") for path in self._files(key)]

    @override
    def erase(self, key: str, progress: Progress) -> list[Place]:
        for path in self._files(key):
            path.unlink()
            flush(path.parent)
        return []

    def _files(self, key: str) -> list[Path]:
        folder = self.workspace.media.root / key[:2]
        return sorted([*folder.glob(f"{key}*"), *folder.glob(f".{key}*")])
