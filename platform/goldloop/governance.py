"""Who did what, who vouches for it, and what came from what: audit, keys, signatures, lineage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop import wiring
from goldloop.acts import recorded
from goldloop.audit_log.chain import Entry, Head
from goldloop.errors import SigningError, WorkspaceError
from goldloop.workbench import show
from goldloop.workspace import Workspace

if TYPE_CHECKING:
    from goldloop.dataset.version import Version
    from goldloop.tracing.nodes import Lineage


@dataclass(frozen=True, slots=True)
class Audited:
    """What the audit log says.

    Attributes:
        entries: those that were asked for, oldest first.
        head: where the log ends, `NUMBER:HASH`; to be kept elsewhere.
        faults: what is wrong with it; None where it was not verified.
    """

    entries: tuple[Entry, ...]
    head: str
    faults: tuple[str, ...] | None = None

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        faults = None if self.faults is None else list(self.faults)
        return {"entries": [entry.facts() for entry in self.entries], "head": self.head, "faults": faults}


@dataclass(frozen=True, slots=True)
class Keys:
    """What certificates are signed with, and whose signatures count.

    Attributes:
        signing: the public part of the signing key; None without one.
        trusted: public keys; empty where anyone's word counts.
    """

    signing: str | None
    trusted: tuple[str, ...]


def audit(
    *,
    command: str | None = None,
    recipe: str | None = None,
    actor: str | None = None,
    since: str | None = None,
    last: int | None = None,
    verify: bool = False,
    head: str | None = None,
    workspace: Workspace | None = None,
) -> Audited:
    """The acts that were done in a workspace, the newest last.

    Args:
        command: of this command alone.
        recipe: on this recipe alone.
        actor: by this one alone.
        since: that ended then or later; ISO 8601, such as `2026-07-01`.
        last: so many at most.
        verify: hold every line against the chain, and the end against the catalog.
        head: where the log ended at some time, as it was kept elsewhere; is verified too.
        workspace: where.

    Raises:
        WorkspaceError: a line cannot be read, unless the log is to be verified; or `head` is none.
    """
    log = (workspace or Workspace.open()).audit
    try:
        kept = Head.parse(head) if head is not None else None
    except ValueError as error:
        raise WorkspaceError(
            "this is no end of an audit log",
            where="head",
            found=repr(head),
            expected="NUMBER:HASH",
            remedy="`goldloop audit` prints it",
        ) from error
    faults = tuple(log.verify(kept)) if verify or kept is not None else None
    if faults:
        return Audited((), str(log.head()), faults)
    wanted = {"command": command, "recipe": recipe, "actor": actor}
    found = [entry for entry in log.entries() if _is_wanted(entry, wanted, since)]
    return Audited(
        tuple(found if last is None else found[max(len(found) - last, 0) :]), str(log.head()), faults
    )


def _is_wanted(entry: Entry, wanted: dict[str, str | None], since: str | None) -> bool:
    return (since is None or entry.ended >= since) and all(
        value is None or getattr(entry, name) == value for name, value in wanted.items()
    )


def keys(new: Path | None = None, workspace: Workspace | None = None) -> Keys:
    """The keys in use.

    Args:
        new: make a signing key in this file first, which only its owner can read.
        workspace: where.

    Raises:
        SigningError: a key cannot be read or made.
    """
    from goldloop.dataset.signing import new_key, trusted_keys

    workspace = workspace or Workspace.open()
    trusted = tuple(sorted(trusted_keys(workspace.environment.trusted_keys)))
    key = wiring.signing_key(workspace) if new is None else new_key(new)
    return Keys(None if key is None else key.public, trusted)


@recorded
def sign(reference: str, workspace: Workspace | None = None) -> Version:
    """Vouch for a version that holds with the signing key; one that it has signed stays as it is.

    Raises:
        VersionError: there is no such version, or it does not prove what it claims.
        SigningError: there is no signing key.
    """
    from goldloop.dataset import certificate

    workspace = workspace or Workspace.open()
    key = wiring.signing_key(workspace)
    if key is None:
        raise SigningError(
            "there is no key to sign with",
            where="GOLDLOOP_SIGNING_KEY",
            remedy="Make one with `goldloop keys --new FILE`, and set the variable to the file",
        )
    version = show(reference, workspace)
    with workspace.lock(version.name):
        certificate.require(version.folder, cache=workspace.cache)
        certificate.sign(version.folder, key)
    return version


def lineage(
    what: str, *, item: str | None = None, most: int = 5, workspace: Workspace | None = None
) -> Lineage:
    """What something came from, down to annotators' acts and source bytes; and what came from it.

    Args:
        what: a model (a prediction tells its own), a version, a run; or an item, by its key or the
        beginning of
            it, by an address in a source, or by a file of the same content.
        item: of a model, a version or a run: tell of this item alone.
        most: so many items of it at most.
        workspace: where.

    Raises:
        WorkspaceError: nothing is called so.
        VersionError: a version that has to be looked into cannot be read.
    """
    from goldloop.tracing import items, made
    from goldloop.tracing.nodes import Lineage, Node
    from goldloop.tracing.subject import subject_of

    workspace = workspace or Workspace.open()
    subject = subject_of(workspace, what)
    if subject.kind == "item":
        key = subject.name
        return Lineage(Node("item", key), items.origins(workspace, key), items.uses(workspace, key))
    only = None if item is None else subject_of(workspace, item).name
    if subject.kind == "version":
        version = show(subject.name, workspace)
        back = made.version_origins(workspace, version, only, most)
        return Lineage(Node("version", version.ref), back, made.version_uses(workspace, version))
    if subject.kind == "run":
        name, _, run = subject.name.partition("/")
        back = made.run_origins(workspace, name, run, only, most)
        return Lineage(Node("run", run), back, made.run_uses(workspace, name, run))
    model = wiring.registry(workspace).find(subject.name)
    run_node = made.run_node(workspace, model.name, model.run, only, most)
    facts = {"aliases": list(model.aliases), "registered_at": model.created_at}
    return Lineage(Node("model", model.ref, facts), (run_node,), made.model_uses(workspace, model))


def openlineage(found: Lineage, workspace: Workspace | None = None) -> list[dict[str, Any]]:
    """A lineage as OpenLineage events, as JSON."""
    from datetime import UTC, datetime

    from goldloop.tracing.openlineage import events

    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return events(found, (workspace or Workspace.open()).identity, now)
