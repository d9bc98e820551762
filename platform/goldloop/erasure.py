"""`goldloop forget`: erasure of one content from every place that goldloop keeps something of it.

    asked (a tombstone in the catalog) -> every kind of place, in order -> looked for again -> gone

From the first moment on no pull takes the content in again. Killed at any moment and run again it ends what
it began. What is left: the content's key in tombstones and in the audit log; in each version the digest of
its row, without which the version could not prove itself; and the models that learned from it, which are
told, for they can only be trained again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

from goldloop.acts import recorded
from goldloop.catalog import forgotten
from goldloop.catalog.forgotten import Tombstone
from goldloop.errors import WorkspaceError
from goldloop.holders import holders
from goldloop.holders.base import Place
from goldloop.progress import Progress, Silent
from goldloop.state import recipes
from goldloop.tracing.items import held_in, models_of
from goldloop.workspace import Workspace

_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What a content was, or is, and what becomes of it.

    Attributes:
        key: the content's.
        places: what was found of it.
        left: what is out of goldloop's reach, for people to erase.
        retrain: models that learned from it, or were chosen by it.
        unsigned: versions that lose the signature of their certificate, as no signing key is given.
        applied: whether it was erased, or would be.
    """

    key: str
    places: tuple[Place, ...]
    left: tuple[Place, ...]
    retrain: tuple[str, ...]
    unsigned: tuple[str, ...]
    applied: bool

    @property
    def counts(self) -> Mapping[str, int]:
        """Kind of place -> how many."""
        return dict(Counter(place.kind for place in self.places))

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@recorded
def forget(
    key: str,
    *,
    reason: str = "",
    apply: bool = False,
    workspace: Workspace | None = None,
    progress: Progress | None = None,
) -> Forgotten:
    """Tell what is kept of a content, and erase it if so asked.

    Args:
        key: its whole key; `goldloop lineage` tells the key of a file or an address.
        reason: why; kept with the tombstone.
        apply: erase it; without, nothing is changed.
        workspace: where.
        progress: where to tell how far it is.

    Raises:
        WorkspaceError: this is no key, nothing is known of it, or something was still found afterwards.
        WorkspaceBusy: another process works on one of the recipes.
        VersionError: a version is broken, so that nothing can be taken out of it.
        LabelStudioError: the server that has its task is down or refuses us.
    """
    workspace, progress = workspace or Workspace.open(), progress or Silent()
    if not _KEY.fullmatch(key):
        raise WorkspaceError(
            "a content is forgotten by its whole key",
            found=repr(key),
            expected="64 digits",
            remedy="`goldloop lineage WHAT` tells the key of a file, an address or the beginning of a key",
        )
    places = tuple(place for holder in holders(workspace) for place in holder.find(key))
    if not places and not _is_known(workspace, key):
        raise WorkspaceError("nothing is known of this content", where=key)
    unsigned = () if not places else tuple(_losing(workspace, key))
    told = Forgotten(key, places, (), tuple(_learned(workspace, key)), unsigned, applied=False)
    return _erase(workspace, told, reason, progress) if apply else told


def tombstones(workspace: Workspace | None = None) -> list[Tombstone]:
    """What was ever asked to be forgotten, in the order in which it was asked."""
    with (workspace or Workspace.open()).engine.connect() as connection:
        return forgotten.tombstones(connection)


def _erase(workspace: Workspace, told: Forgotten, reason: str, progress: Progress) -> Forgotten:
    left: list[Place] = []
    with ExitStack() as locks:
        for name in _names(workspace):
            locks.enter_context(workspace.lock(name))
        with workspace.engine.begin() as connection:
            forgotten.ask(connection, told.key, workspace.identity, workspace.actor, reason)
        for holder in holders(workspace):
            progress.say(f"forget: {holder.kind}")
            left += holder.erase(told.key, progress)
        found = [place for holder in holders(workspace) for place in holder.find(told.key)]
        unexpected = [place for place in found if place not in left]
        if unexpected:
            raise WorkspaceError(
                "something is still there",
                where=told.key,
                found="; ".join(map(str, unexpected[:5])),
                remedy="Run the same command again; if it stays so, this is a fault of goldloop itself",
            )
        if not found:
            with workspace.engine.begin() as connection:
                forgotten.gone(connection, told.key, workspace.identity)
    return Forgotten(told.key, told.places, tuple(left), told.retrain, told.unsigned, applied=True)


def _names(workspace: Workspace) -> list[str]:
    """Every recipe that has anything here."""
    folders = (path for root in (workspace.versions, workspace.runs) for path in root.glob("*/"))
    return sorted({*recipes(workspace), *(path.name for path in folders if path.name[0] != ".")})


def _is_known(workspace: Workspace, key: str) -> bool:
    return any(stone.key == key for stone in tombstones(workspace)) or any(held_in(workspace, key))


def _learned(workspace: Workspace, key: str) -> list[str]:
    """Models of versions that have it in train or validation, or had it there."""
    found = [
        model.ref
        for each in held_in(workspace, key)
        if each.split in ("train", "validation")
        for model in models_of(workspace, each)
    ]
    return sorted(set(found))


def _losing(workspace: Workspace, key: str) -> list[str]:
    from goldloop import wiring
    from goldloop.dataset.certificate import signer_of

    if wiring.signing_key(workspace) is not None:
        return []
    return [
        each.version.ref
        for each in held_in(workspace, key)
        if not each.is_tombstone and signer_of(each.version.folder) is not None
    ]
