"""Images into a Label Studio elsewhere, which cannot see this machine's folders.

A file's name must be its content's alone (`MediaStore` names files by content key), so one that is there
is never sent again: the server puts eight characters and a dash before the name and keeps the rest. A file
counts as there only if its size is right too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


def upload_media(api: Api, project_id: int, files: Sequence[Path]) -> dict[Path, str]:
    """Upload files without creating tasks: the address for a task's data, by file."""
    present = _present(api, project_id)
    missing = [file for file in files if _place(present, file) is None]
    place = f"/api/projects/{project_id}/import"
    for portion in _portions(missing):
        with ExitStack() as stack:
            parts = {
                f"file{number}": (file.name, stack.enter_context(file.open("rb")))
                for number, file in enumerate(portion)
            }
            api.call(
                "POST",
                place,
                params={"commit_to_project": "false"},
                files=parts,
                seconds=_LONG_SECONDS,
            )
    if missing:
        present = _present(api, project_id)
    lost = [file for file in files if _place(present, file) is None]
    if lost:
        raise LabelStudioLostWrites(
            "Label Studio took an upload and does not have its files",
            where=api.url + place,
            found=f"{len(lost)} missing, the first {lost[0].name}",
            remedy="Run the same command again: those that are there are not sent twice",
        )
    return {file: f"/data/{_place(present, file)}" for file in files}


def _present(api: Api, project_id: int) -> Present:
    """What is there; of two the one that was there first."""
    uploads: list[dict[str, Any]] = api.get(f"/api/projects/{project_id}/file-uploads", {"all": "true"})
    found: Present = {}
    for upload in sorted(uploads, key=lambda upload: upload["id"]):
        name = upload["file"].rsplit("/", 1)[-1][_PREFIX:]
        found.setdefault((name, upload["size"]), upload["file"])
    return found


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


def _place(present: Present, file: Path) -> str | None:
    return present.get((file.name, file.stat().st_size)) or present.get((file.name, None))
