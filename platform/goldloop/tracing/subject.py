"""What somebody means by a name: a model, a version, a run, an item, the address or the file of one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import select

from goldloop import wiring
from goldloop.catalog.tables import addresses, forgotten, items
from goldloop.errors import ModelError, WorkspaceError
from goldloop.records import content_key
from goldloop.workspace import Workspace

_KEY = re.compile(r"[0-9a-f]{64}")
_BEGINNING = re.compile(r"[0-9a-f]{8,63}")
_RUN = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Subject:
    """What is meant.

    Attributes:
        kind: of thing.
        name: of a model `NAME/NUMBER`, of a version `NAME@DIGEST`, of a run `NAME/ID`, of an item its key.
    """

    kind: Literal["model", "version", "run", "item"]
    name: str


def subject_of(workspace: Workspace, what: str) -> Subject:
    """The thing that a name means.

    Args:
        workspace: where.
        what: a content key or its first 8 digits or more, an address in a source, a file; `NAME@DIGEST`; a
            run's id; `NAME/NUMBER`, `NAME/latest`, or `NAME` for the champion.

    Raises:
        WorkspaceError: nothing is called so, or several things are.
    """
    keys = _keys(workspace, what)
    if len(keys) > 1:
        raise WorkspaceError(
            "several items begin so, or were found there",
            where=what,
            found=", ".join(sorted(keys)[:5]),
            remedy="Name one by its whole key",
        )
    if keys:
        return Subject("item", keys.pop())
    if "@" in what:
        name, _, digest = what.partition("@")
        return Subject("version", wiring.version_of(workspace, name, f"{name}@{digest or 'latest'}").ref)
    if _RUN.fullmatch(what):
        found = sorted(workspace.runs.glob(f"*/{what}/run.json"))
        if found:
            return Subject("run", f"{found[0].parts[-3]}/{what}")
    try:
        return Subject("model", wiring.registry(workspace).find(what).ref)
    except ModelError as error:
        raise _unknown(what) from error


def _keys(workspace: Workspace, what: str) -> set[str]:
    if _KEY.fullmatch(what):
        return {what}
    with workspace.engine.connect() as connection:
        at = select(addresses.c.key).where(addresses.c.uri == what, addresses.c.key.is_not(None)).distinct()
        found = set(connection.execute(at).scalars())
        if not found and _BEGINNING.fullmatch(what):
            for table in (items, forgotten):
                begin = select(table.c.key).where(table.c.key.startswith(what)).distinct()
                found.update(connection.execute(begin).scalars())
    path = Path(what)
    try:
        if not found and path.is_file():
            found.add(content_key(path.read_bytes()))
    except (OSError, ValueError):
        return found
    return found


def _unknown(what: str) -> WorkspaceError:
    return WorkspaceError(
        "nothing here is called so",
        where=what,
        expected="a model, a version NAME@DIGEST, a run, a content key, an address or a file",
        remedy="`goldloop models` and `goldloop versions` list what there is",
    )
