"""Versions at rest and on the move: `goldloop gc`, `goldloop publish`, `goldloop fetch`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from goldloop import wiring
from goldloop.progress import Progress, Silent
from goldloop.workspace import Workspace

if TYPE_CHECKING:
    from goldloop.dataset.garbage import Garbage
    from goldloop.dataset.hub import Hub
    from goldloop.dataset.remote import Remote
    from goldloop.dataset.travel import Traffic
    from goldloop.dataset.version import Version

SILENT = Silent()


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection found.

    Attributes:
        garbage: what nothing needs.
        removed: whether it is gone.
    """

    garbage: Sequence[Garbage]
    removed: bool

    @property
    def bytes(self) -> int:
        """What the disk gets back."""
        return sum(each.bytes for each in self.garbage)

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        garbage = [{**asdict(each), "path": str(each.path)} for each in self.garbage]
        return {"garbage": garbage, "bytes": self.bytes, "removed": self.removed}


def gc(
    name: str | None = None,
    *,
    keep: int | None = None,
    remove: bool = False,
    workspace: Workspace | None = None,
    progress: Progress = SILENT,
) -> Collected:
    """Find what no version, run or registered model needs; take it away if told to.

    Args:
        name: of one recipe alone; by default of all.
        keep: keep so many of the newest versions of each name, and those that are needed; None: all listed.
        remove: take it away; by default it is only found.
        workspace: where.
        progress: where to tell how far it is.

    Raises:
        WorkspaceBusy: another process works on one of the recipes.
        VersionError: a version cannot be read; nothing is removed.
    """
    from goldloop.dataset import garbage
    from goldloop.dataset import version as versions

    workspace = workspace or Workspace.open()
    known = sorted(path.name for path in workspace.versions.glob("*") if path.is_dir())
    found: list[Garbage] = []
    for each in known if name is None else [name]:
        with workspace.lock(each):
            needed = wiring.needed_versions(workspace, each) if keep is not None else ()
            here = garbage.find_garbage(workspace.versions / each, keep=keep, needed=needed)
            if remove:
                garbage.take_away(here)
        found += here
    gone = {each.path for each in found}
    listed = [version.folder for each in known for version in versions.versions(workspace.versions, each)]
    staying = [folder for folder in listed if folder not in gone]
    arrow = garbage.unused_arrow_files(workspace.cache / "arrow", staying)
    if remove:
        garbage.take_away(arrow)
    collected = Collected([*found, *arrow], remove)
    progress.say(f"gc: {len(collected.garbage)} things, {collected.bytes / 1e6:,.1f} MB")
    return collected


def publish(
    reference: str, url: str, *, workspace: Workspace | None = None, progress: Progress = SILENT
) -> Traffic:
    """Send a version to another place: what is there already does not travel, and it appears there last.

    Args:
        reference: `NAME` for the latest, or `NAME@DIGEST`.
        url: any fsspec URL, or `hf://datasets/USER/NAME`.
        workspace: where from.
        progress: where to tell how far it is.

    Raises:
        CertificateError: the version is not what its certificate says; nothing of it travels.
        VersionError: there is no such version, or the place cannot be reached.
    """
    from goldloop.dataset import certificate
    from goldloop.dataset.hub import Hub
    from goldloop.dataset.travel import Traffic, files_of

    workspace = workspace or Workspace.open()
    version = _version(workspace, reference)
    place = _place(url)
    progress.say(f"publish: checking {version.ref}")
    certificate.require(version.folder)
    progress.say(f"publish: {version.ref} to {place}")
    if isinstance(place, Hub):
        sent, size = place.publish(version.name, version.digest, version.folder)
    else:
        sent, size = place.publish(version.name, version.digest, version.folder, progress)
    files = len(files_of(version.folder))
    progress.say(f"publish: {sent} of {files} files, {size / 1e6:,.1f} MB")
    return Traffic(version.ref, str(place), files, sent, size)


def fetch(
    url: str, reference: str, *, workspace: Workspace | None = None, progress: Progress = SILENT
) -> Traffic:
    """Have a version from another place, listed here as one of this workspace's own.

    Args:
        url: as `publish` takes it.
        reference: `NAME` for the one that was published last, or `NAME@DIGEST`.
        workspace: where to.
        progress: where to tell how far it is.

    Raises:
        VersionError: there is no such version, the place cannot be reached, or its classes have other ids.
        CertificateError: what arrived is not what was published; nothing of it is kept.
    """
    from goldloop.dataset import version as versions
    from goldloop.dataset.travel import Traffic, bring, files_of

    workspace = workspace or Workspace.open()
    name, _, digest = reference.partition("@")
    place = _place(url)
    with workspace.lock(name):
        progress.say(f"fetch: {reference} from {place}")
        whole, sent, size = bring(workspace.versions / name, place, digest or "latest", progress)
        version = versions.load(workspace.versions, name, whole)
    files = len(files_of(version.folder))
    progress.say(f"fetch: {version.ref}, {sent} of {files} files, {size / 1e6:,.1f} MB")
    return Traffic(version.ref, str(place), files, sent, size)


def _version(workspace: Workspace, reference: str) -> Version:
    from goldloop.dataset import version as versions

    name, _, digest = reference.partition("@")
    return versions.load(workspace.versions, name, digest or "latest")


def _place(url: str) -> Hub | Remote:
    from goldloop.dataset.hub import Hub
    from goldloop.dataset.remote import Remote

    return Hub(url) if url.startswith("hf://") else Remote(url)
