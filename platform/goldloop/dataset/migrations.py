"""What was done to classes: `classes.jsonl` beside the log of commits, a line for each act, oldest first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from goldloop.durable import flush, write_text
from goldloop.errors import VersionError

MIGRATIONS = "classes.jsonl"


@dataclass(frozen=True, slots=True)
class Migration:
    """One act on the classes of a recipe.

    Attributes:
        act: `rename`, `merge` or `split`.
        old: the classes that it was done to.
        new: what they are called from then on, or what took their place.
        rows: old class -> how often the labels of the latest version then named it.
        at: ISO 8601, UTC.
        by: who did it.
        comments_kept: whether the recipe's comments are still in it.
        names: of a split, the class and what led to it.
        items: of a split, key -> the part that the item is, of those that are not to be labelled again.
    """

    act: str
    old: tuple[str, ...]
    new: tuple[str, ...]
    rows: Mapping[str, int]
    at: str
    by: str
    comments_kept: bool = True
    names: tuple[str, ...] = ()
    items: Mapping[str, str] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def migrations(folder: Path) -> list[Migration]:
    """All acts on the classes of a name, oldest first.

    Args:
        folder: of the versions of that name.

    Raises:
        VersionError: the file cannot be read.
    """
    path = folder / MIGRATIONS
    found: list[Migration] = []
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            fields = json.loads(line)
            names = {name: tuple(fields[name]) for name in ("old", "new", "names")}
            found.append(Migration(**{**fields, **names}))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VersionError(
            "the record of classes cannot be read",
            where=f"{path}, line {len(found) + 1}",
            found=str(error),
            remedy="Bring the file back from a copy; each of its lines is one act",
        ) from error
    return found


def record(folder: Path, migration: Migration) -> None:
    """Put an act at the end; the whole file is replaced, or nothing. The caller holds the lock."""
    path, aside = folder / MIGRATIONS, folder / ".writing-classes"
    folder.mkdir(parents=True, exist_ok=True)
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    try:
        write_text(aside, before + json.dumps(asdict(migration)) + "\n")
        aside.replace(path)
        flush(folder)
    finally:
        aside.unlink(missing_ok=True)
