"""What training has prepared of a content: pixels at a recipe's size, tokens."""

from __future__ import annotations

from typing_extensions import override

from goldloop.holders.base import Holder, Place, counted
from goldloop.progress import Progress


class Prepared(Holder):
    """The rows of the prepared store."""

    kind = "prepared"

    @override
    def find(self, key: str) -> list[Place]:
        from goldloop.training.prepared_store import rows_with

        found = rows_with(self.workspace.cache / "prepared", key)
        return [self.place(path, counted([(count, "row")])) for path, count in found.items()]

    @override
    def erase(self, key: str, progress: Progress) -> list[Place]:
        from goldloop.training.prepared_store import drop_rows

        drop_rows(self.workspace.cache / "prepared", key)
        return []
