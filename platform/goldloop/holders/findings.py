"""What was found out about labels and items: doubtful ones, quality, drift; and embeddings.

All of it can be made again from a version, and is, once it is asked for.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from typing_extensions import override

from goldloop.holders.base import Holder, Place, counted
from goldloop.progress import Progress

_FOLDERS = ("*/suspects-*", "*/quality-*", "*/drift-*", "*/budget-*")


class Findings(Holder):
    """The folders of searches and pages that tell of the content, the models of their folds among them."""

    kind = "finding"

    @override
    def find(self, key: str) -> list[Place]:
        return [self.place(folder, "what was found out about it") for folder in self._folders(key)]

    @override
    def erase(self, key: str, progress: Progress) -> list[Place]:
        for folder in list(self._folders(key)):
            shutil.rmtree(folder)
        return []

    def _folders(self, key: str) -> Iterator[Path]:
        from goldloop.dataset.forgetting import held

        names = {each.version.name for each in held(self.workspace.versions, key) if not each.is_tombstone}
        for pattern in _FOLDERS:
            for folder in sorted(self.workspace.runs.glob(pattern)):
                # A page may show a content without its key.
                if folder.is_dir() and (folder.parent.name in names or _is_named(folder, key)):
                    yield folder


class Embeddings(Holder):
    """The parts of the embedding cache that have the content among theirs."""

    kind = "embedding"

    @override
    def find(self, key: str) -> list[Place]:
        return [self.place(path, counted([(1, "vector")])) for path in self._parts(key)]

    @override
    def erase(self, key: str, progress: Progress) -> list[Place]:
        for path in list(self._parts(key)):
            path.unlink()
        folder = self.workspace.cache / "embeddings"
        # Of a part without keys nobody knows what it has; so it is with what a killed process left.
        orphans = [path for path in folder.glob("*/*.npy") if not path.with_suffix(".json").exists()]
        for path in [*orphans, *folder.glob("*/.*")]:
            path.unlink()
        return []

    def _parts(self, key: str) -> Iterator[Path]:
        for path in sorted((self.workspace.cache / "embeddings").glob("*/*.json")):
            if key in json.loads(path.read_text(encoding="utf-8")):
                yield path


def _is_named(folder: Path, key: str) -> bool:
    return any(key.encode() in path.read_bytes() for path in folder.glob("*.*") if path.is_file())
