"""The commits of one name: `log.jsonl`, a line each, oldest first.

What is not in it is no version. It is replaced whole, so no line of it can be half-written; and each line has
the class registry, so that ids stay where they are even if a version's own folder is lost.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
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
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    _replace(folder, before + _line(commit))


def insert(folder: Path, commit: Commit) -> None:
    """Put a commit that was made elsewhere where its time is; the whole log is replaced, or nothing.

    The class registry only grows: a later commit with fewer classes would have ids given out again, so that
    a commit at the end has at least the classes of the one before.
    """
    known = commits(folder)
    place = sum(each.at <= commit.at for each in known)
    if place == len(known) and known and len(known[-1].classes) > len(commit.classes):
        commit = replace(commit, classes=known[-1].classes)
    _replace(folder, "".join(map(_line, [*known[:place], commit, *known[place:]])))


def _line(commit: Commit) -> str:
    # Escaped, so that no sign of a message is taken for a line's end.
    return json.dumps(asdict(commit)) + "\n"


def _replace(folder: Path, text: str) -> None:
    aside = folder / ".writing-log"
    try:
        write_text(aside, text)
        aside.replace(folder / LOG)
        flush(folder)
    finally:
        aside.unlink(missing_ok=True)
