"""Names that people give to versions, such as `v1`: usable wherever a digest is.

`tags.jsonl` beside the log of commits has a line for each act of tagging, oldest first; the last one on a
name counts. It is replaced whole, so no line of it can be half-written, and where a tag stood before stays
known.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from goldloop.durable import flush, write_text
from goldloop.errors import VersionError

TAGS = "tags.jsonl"
LATEST = "latest"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_DIGITS = re.compile(r"[0-9A-Fa-f]+")


@dataclass(frozen=True, slots=True)
class Tag:
    """One act of tagging.

    Attributes:
        name: what the version is called.
        digest: of the version.
        at: ISO 8601, UTC.
        by: who did it.
    """

    name: str
    digest: str
    at: str
    by: str


def acts(folder: Path) -> list[Tag]:
    """All acts of tagging versions of a name, oldest first.

    Args:
        folder: of the versions of that name.

    Raises:
        VersionError: the file cannot be read.
    """
    path = folder / TAGS
    found: list[Tag] = []
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            found.append(Tag(**json.loads(line)))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError) as error:
        raise VersionError(
            "the tags cannot be read",
            where=f"{path}, line {len(found) + 1}",
            found=str(error),
            remedy="Bring the file back from a copy; each of its lines is one act of tagging",
        ) from error
    return found


def tags(folder: Path) -> dict[str, Tag]:
    """The tags of the versions of a name, each as it stands now, in the order in which they were first given.

    Raises:
        VersionError: the file cannot be read.
    """
    return {act.name: act for act in acts(folder)}


def put(folder: Path, name: str, digest: str, *, by: str, move: bool = False) -> Tag:
    """Give a version a name; one that it has already stays as it was given. The caller holds the lock.

    Args:
        folder: of the versions.
        name: the tag.
        digest: the whole digest of a version that is listed.
        by: who does it.
        move: take the name away from another version that has it.

    Raises:
        VersionError: the name cannot be a tag, or another version has it.
    """
    _check_name(name)
    known = tags(folder).get(name)
    if known is not None and known.digest == digest:
        return known
    if known is not None and not move:
        raise VersionError(
            f"another version is called {name!r} already",
            where=f"{folder.name}@{digest[:12]}",
            found=f"{folder.name}@{known.digest[:12]}, tagged {known.at} by {known.by}",
            remedy="`--move` takes the tag away from it",
        )
    tag = Tag(name, digest, datetime.now(UTC).isoformat(timespec="seconds"), by)
    path, aside = folder / TAGS, folder / ".writing-tags"
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    try:
        write_text(aside, before + json.dumps(asdict(tag)) + "\n")
        aside.replace(path)
        flush(folder)
    finally:
        aside.unlink(missing_ok=True)
    return tag


def tagged(folder: Path) -> set[str]:
    """The digests of versions that have a tag: what a collection of garbage leaves alone."""
    return {tag.digest for tag in tags(folder).values()}


def resolve(folder: Path, digests: Sequence[str], word: str) -> str:
    """The whole digest that a word means: `latest`, a tag, or the beginning of a digest.

    Args:
        folder: of the versions.
        digests: of those that there are, oldest first.
        word: what a user wrote.

    Raises:
        VersionError: it means none of them, or several.
    """
    named = tags(folder)
    if word == LATEST:
        found = set(digests[-1:])
    elif word in named:
        found = {named[word].digest} & set(digests)
    else:
        found = {digest for digest in digests if digest.startswith(word)}
    if len(found) == 1:
        return found.pop()
    listed = [f"{folder.name}@{digest[:12]}" for digest in dict.fromkeys(digests)]
    listed += [f"{folder.name}@{name}" for name, tag in named.items() if tag.digest in digests]
    raise VersionError(
        "several versions begin so"
        if found
        else "the version of this tag is gone"
        if word in named
        else "no such version",
        where=f"{folder.name}@{word}",
        found=", ".join(listed) or "no version at all",
        remedy="Commit one with `goldloop commit`" if not digests else "`goldloop versions` lists them",
    )


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        problem = "a tag has letters, digits, dots, hyphens and underscores, 63 at most"
    elif name.casefold() == LATEST:
        problem = "`latest` is the version committed last, and no tag"
    elif _DIGITS.fullmatch(name):
        problem = "a tag may not look like the beginning of a digest"
    else:
        return
    raise VersionError(problem, found=repr(name), remedy="Choose a name such as `v1` or `before-merge`")
