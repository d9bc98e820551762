"""What became of a version on the way to another: `goldloop diff`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from goldloop import wiring
from goldloop.durable import replace
from goldloop.errors import GoldloopError, VersionError
from goldloop.progress import Progress, Silent
from goldloop.tasks import tasks
from goldloop.workspace import Workspace

if TYPE_CHECKING:
    from goldloop.dataset.difference import Change, Difference
    from goldloop.dataset.version import Version

SILENT = Silent()


def diff(
    before: str,
    after: str | None = None,
    *,
    limit: int | None = 100,
    page: Path | None = None,
    workspace: Workspace | None = None,
    progress: Progress = SILENT,
) -> Difference:
    """Compare two versions: items, labels, splits, classes, agreement.

    Args:
        before: `NAME` (the latest), `NAME@DIGEST` or `NAME@TAG`.
        after: another one; without it, `before` is compared with the version that was there before it.
        limit: so many changed items of each kind are told of; None: all.
        page: where to write it as one page of HTML, too, with pictures and texts.
        workspace: where.
        progress: where to tell how far it is.

    Raises:
        VersionError: there is no such version, they are of different kinds of task, or the page cannot be
            written.
    """
    from goldloop.dataset import version as versions
    from goldloop.dataset.difference import difference

    workspace = workspace or Workspace.open()
    old = versions.find(workspace.versions, before)
    new = old
    if after is not None:
        new = versions.find(workspace.versions, after)
    elif old.parent is None:
        raise VersionError(
            "no version is before this one", where=old.ref, remedy="Name two: `goldloop diff A B`"
        )
    else:
        old = versions.load(workspace.versions, new.name, old.parent)
    progress.say(f"diff: {old.ref} to {new.ref}")
    found = difference(old, new, limit=limit)
    if page is not None:
        _write(page, found, old, new, workspace)
        progress.say(f"diff: {page}")
    return found


def _write(path: Path, found: Difference, old: Version, new: Version, workspace: Workspace) -> None:
    from goldloop.dataset.difference_page import page

    shown = page(found, tasks.create(old.task), tasks.create(new.task), _content(workspace, old, new))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, shown.encode())
    except OSError as error:
        raise VersionError("the page cannot be written", where=path, found=error.strerror) from error


def _content(workspace: Workspace, old: Version, new: Version) -> Callable[[Change], bytes | str | None]:
    """How the page finds an image or text: in the workspace, or in the version where it is not there."""
    known = {version.name: wiring.contents(workspace, version.name) for version in (old, new)}

    def find(change: Change) -> bytes | str | None:
        version, row = (new, change.after) if change.after is not None else (old, change.before)
        try:
            found = known[version.name](change.key)
        except GoldloopError:
            found = None
        return found if found is not None or row is None else version.content(row.number)

    return find
