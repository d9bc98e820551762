"""The commits of one name: `log.jsonl`, a line each, oldest first.

What is not in it is no version. It is replaced whole, so no line of it can be half-written; and each line has
the class registry, so that ids stay where they are even if a version's own folder is lost.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from goldloop.durable import flush, write_text
from goldloop.errors import VersionError

LOG = "log.jsonl"


@dataclass(frozen=True, slots=True)
class Commit:
    """One act of committing.

    Attributes:
        digest: of the version.
        at: ISO 8601, UTC.
        message: what the committer said.
        parent: digest of the version before it.
        classes: the class registry from then on, names in id order.
    """

    digest: str
    at: str
    message: str | None
    parent: str | None
    classes: tuple[str, ...]


def commits(folder: Path) -> list[Commit]:
    """The commits of a name, oldest first.

    Raises:
        VersionError: the log cannot be read.
    """
    path = folder / LOG
    found: list[Commit] = []
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            fields = json.loads(line)
            found.append(Commit(**{**fields, "classes": tuple(fields["classes"])}))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VersionError(
            "the log of versions cannot be read",
            where=f"{path}, line {len(found) + 1}",
            found=str(error),
            remedy="Bring the file back from a copy; each of its lines is one commit",
        ) from error
    return found


def add(folder: Path, commit: Commit) -> None:
    """Put a commit at the end of the log; the whole log is replaced, or nothing."""
    path = folder / LOG
    aside = folder / ".writing-log"
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    try:
        # Escaped, so that no sign of a message is taken for a line's end.
        write_text(aside, before + json.dumps(asdict(commit)) + "\n")
        aside.replace(path)
        flush(folder)
    finally:
        aside.unlink(missing_ok=True)
