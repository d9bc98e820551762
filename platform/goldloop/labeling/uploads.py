"""Images into a Label Studio elsewhere, which cannot see this machine's folders.

A file's name must be its content's alone (`MediaStore` names files by content key), so one that is there
is never sent again: the server puts eight characters and a dash before the name and keeps the rest. A file
counts as there only if its size is right too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from goldloop.errors import LabelStudioLostWrites
from goldloop.labeling.api import Api

MOST_FILES = 50
"""Files in one request; Label Studio fails above a hundred."""
MOST_BYTES = 64 << 20
_PREFIX = 9
_LONG_SECONDS = 1800

Present = dict[tuple[str, int | None], str]
"""Paths on the server by name as sent and size; a server's storage may not tell the size."""


class Uploads:
    """The files of one project; what is there is listed once, and then what is added.

    Args:
        api: the server.
        project_id: whose.
    """

    def __init__(self, api: Api, project_id: int) -> None:
        self._api = api
        self._place = f"/api/projects/{project_id}"
        self._present: Present = {}
        self._is_listed = False

    def bring(self, files: Sequence[Path]) -> dict[Path, str]:
        """Upload those that are not there, without creating tasks: the address for a task's data, by file.

        Raises:
            LabelStudioLostWrites: a file is not there afterwards.
        """
        if not files:
            return {}
        if not self._is_listed:
            self._note({"all": "true"})
            self._is_listed = True
        for portion in _portions([file for file in files if self._path(file) is None]):
            self._send(portion)
        lost = [file for file in files if self._path(file) is None]
        if lost:
            raise LabelStudioLostWrites(
                "Label Studio took an upload and does not have its files",
                where=self._api.url + self._place,
                found=f"{len(lost)} missing, the first {lost[0].name}",
                remedy="Run the same command again: those that are there are not sent twice",
            )
        return {file: f"/data/{self._path(file)}" for file in files}

    def _send(self, files: Sequence[Path]) -> None:
        with ExitStack() as stack:
            parts = {
                f"file{number}": (file.name, stack.enter_context(file.open("rb")))
                for number, file in enumerate(files)
            }
            answer = self._api.call(
                "POST",
                f"{self._place}/import",
                params={"commit_to_project": "false"},
                files=parts,
                seconds=_LONG_SECONDS,
            )
        self._note({"ids": json.dumps(answer["file_upload_ids"])})

    def _note(self, which: Mapping[str, str]) -> None:
        """Note what of these is there; of two the one that was there first."""
        uploads: list[dict[str, Any]] = self._api.get(f"{self._place}/file-uploads", which)
        for upload in sorted(uploads, key=lambda upload: upload["id"]):
            name = upload["file"].rsplit("/", 1)[-1][_PREFIX:]
            self._present.setdefault((name, upload["size"]), upload["file"])

    def _path(self, file: Path) -> str | None:
        known = self._present
        return known.get((file.name, file.stat().st_size)) or known.get((file.name, None))


def _portions(files: Sequence[Path]) -> Iterator[Sequence[Path]]:
    portion: list[Path] = []
    size = 0
    for file in files:
        added = file.stat().st_size
        if portion and (len(portion) == MOST_FILES or size + added > MOST_BYTES):
            yield portion
            portion, size = [], 0
        portion.append(file)
        size += added
    if portion:
        yield portion
