"""Which versions were exported to where: so that what is forgotten later can be taken out there too.

<workspace>/exports/<id>.json       one for each export, from before its first byte is written
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from goldloop import durable
from goldloop.errors import WorkspaceError


@dataclass(frozen=True, slots=True)
class ExportRecord:
    """One export.

    Attributes:
        id: random.
        name, digest: of the version.
        section: the format with its options, as a recipe has it.
        split: the split that it is of; None for all.
        folder: where it lies on this machine.
        at: ISO 8601, UTC.
        files: paths within the folder; None while it was being written, and may be there or not.
        forgotten: keys of contents that were taken out of it since.
    """

    id: str
    name: str
    digest: str
    section: dict[str, Any]
    split: str | None
    folder: str
    at: str
    files: tuple[str, ...] | None = None
    forgotten: tuple[str, ...] = ()

    def paths(self) -> set[str]:
        """The files that it has in its folder, as far as they are there."""
        root = Path(self.folder)
        known = files_in(root) if self.files is None else self.files
        return {path for path in known if (root / path).is_file()}


def begin(
    root: Path, name: str, digest: str, section: dict[str, Any], split: str | None, folder: Path
) -> ExportRecord:
    """Note an export that is about to be written.

    Args:
        root: the workspace's folder of exports.
        name: of the version.
        digest: of the version.
        section: the format with its options.
        split: the only one that it is of.
        folder: where it will lie.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    record = ExportRecord(secrets.token_hex(8), name, digest, section, split, str(folder.absolute()), now)
    save(root, record)
    return record


def finish(root: Path, record: ExportRecord) -> None:
    """Note that it is there, with all its files."""
    save(root, replace(record, files=files_in(Path(record.folder))))


def drop(root: Path, record: ExportRecord) -> None:
    """Forget an export of which nothing was written."""
    _path(root, record).unlink(missing_ok=True)


def save(root: Path, record: ExportRecord) -> None:
    """Write a record, in the place of what was known of it."""
    root.mkdir(parents=True, exist_ok=True)
    durable.replace(_path(root, record), (json.dumps(asdict(record), indent=1) + "\n").encode())


def records(root: Path) -> Iterator[ExportRecord]:
    """Every export that was ever begun, in no order.

    Raises:
        WorkspaceError: one of the records cannot be read.
    """
    for path in sorted(root.glob("*.json")):
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            files = None if fields["files"] is None else tuple(fields["files"])
            yield ExportRecord(**{**fields, "files": files, "forgotten": tuple(fields["forgotten"])})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WorkspaceError(
                "the record of an export cannot be read",
                where=path,
                found=str(error),
                remedy="Delete it, if you know that nothing must be taken out of that export any more",
            ) from error


def files_in(folder: Path) -> tuple[str, ...]:
    """The paths of all files under a folder, within it."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return tuple(sorted(path.relative_to(folder).as_posix() for path in found))


def _path(root: Path, record: ExportRecord) -> Path:
    return root / f"{record.id}.json"
