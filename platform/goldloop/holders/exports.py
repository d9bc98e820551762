"""Exports: data sets in other formats, written from versions, that still lie where they were written."""

from __future__ import annotations

from collections.abc import Iterator

from typing_extensions import override

from goldloop.export_records import ExportRecord, records
from goldloop.holders.base import Holder, Place, counted
from goldloop.progress import Progress


class Exports(Holder):
    """The exports that goldloop has a record of; copies that people made of them it cannot know."""

    kind = "export"

    @override
    def find(self, key: str) -> list[Place]:
        return [
            self.place(record.folder, f"{record.section['kind']} of {record.name}@{record.digest[:12]}")
            for record in self._having(key)
        ]

    @override
    def erase(self, key: str, progress: Progress) -> list[Place]:
        from goldloop.exchange import export_again

        for record in list(self._having(key)):
            files = counted([(len(record.paths()), "file")])
            progress.say(f"forget: writing {record.folder} anew, {files or 'which is gone'}")
            export_again(record, key, self.workspace)
        return []

    def _having(self, key: str) -> Iterator[ExportRecord]:
        """The exports of versions that have a row of the content, or had one before it was forgotten."""
        from goldloop.dataset.forgetting import held

        known = [each for each in records(self.workspace.exports) if key not in each.forgotten]
        if not known:
            return
        splits = {each.version.digest: each.split for each in held(self.workspace.versions, key)}
        for record in known:
            split = splits.get(record.digest)
            if split is not None and record.split in (None, split):
                yield record
