"""The end of every commit: what is to be said becomes a version, unless it is one already, and is listed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, overload

from goldloop.dataset import history
from goldloop.dataset.certificate import verify
from goldloop.dataset.changes import Changes
from goldloop.dataset.config import DatasetConfig
from goldloop.dataset.digest import root as root_digest
from goldloop.dataset.draft import Draft, Facts, put, sweep
from goldloop.dataset.ledger import Ledger
from goldloop.dataset.past import NAME_LENGTH, Ground, Past
from goldloop.dataset.placement import Clique, Placement
from goldloop.dataset.policies import policy_facts
from goldloop.dataset.shards import Entry
from goldloop.dataset.tally import Tally
from goldloop.dataset.version import Version, load
from goldloop.errors import VersionError
from goldloop.media import MediaStore
from goldloop.records import Item, Label
from goldloop.tasks.base import Task


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a commit comes to.

    Attributes:
        past: the commits before it.
        task: with its class registry.
        config: the recipe's `dataset:`.
        placed: its items.
        cliques: near-duplicates, if they were looked for.
        tally: what it adds up to.
        facts: what it carries.
        changes: what is to be written.
        ground: the version that these are changes to; None: they are all there is.
    """

    past: Past
    task: Task[Any]
    config: DatasetConfig
    placed: Placement
    cliques: Sequence[Clique] | None
    tally: Tally
    facts: Facts
    changes: Changes
    ground: Ground | None


@overload
def list_version(candidate: Candidate, media: MediaStore, whole: Callable[[], Changes]) -> Version: ...


@overload
def list_version(candidate: Candidate, media: MediaStore) -> Version | None: ...


def list_version(
    candidate: Candidate, media: MediaStore, whole: Callable[[], Changes] | None = None
) -> Version | None:
    """Write a version, unless it is there, and list it.

    Args:
        candidate: what it is.
        media: where images lie.
        whole: gives all that there is to say, if it is known: what is there and broken is written anew.

    Returns:
        The version; None where it is there and broken, and not all that there is to say is known.

    Raises:
        VersionError: it cannot be written; nothing is then listed or left over.
        CertificateError: what was written is not what was meant.
    """
    past, folder = candidate.past, candidate.past.folder
    ground = candidate.ground
    tree = (Ledger([]) if ground is None else ground.ledger).tree_after(
        candidate.changes.lines, candidate.tally.rows
    )
    digest = root_digest(candidate.task.config.kind, candidate.task.classes, tree.buckets)
    before = past.commits[-1].digest if past.commits else None
    now = datetime.now(UTC).isoformat(timespec="seconds")
    commit = history.Commit(digest, now, candidate.facts.message, before, candidate.task.classes)
    # What was committed before and is made again, since its folder broke, is what it was.
    first = next((each for each in past.commits if each.digest == digest), commit)
    draft = Draft(
        version=_described(candidate, first),
        task=candidate.task,
        policies=candidate.placed.policies,
        cliques=candidate.cliques,
        changes=candidate.changes,
        tree=tree,
        tally=candidate.tally,
        facts=candidate.facts,
        before=None if ground is None else ground.folder,
        by_address=candidate.config.media == "reference",
    )
    there = draft.version.folder.exists()
    try:
        sweep(folder)
        if not there:
            put(draft, media)
        elif verify(draft.version.folder, cache=draft.version.cache):
            if whole is None:
                return None
            every = whole()
            tree = Ledger([]).tree_after(every.lines, candidate.tally.rows)
            put(replace(draft, changes=every, tree=tree, before=None), media)
        if before != digest:
            history.add(folder, commit)
    except OSError as error:
        if not there:
            shutil.rmtree(draft.version.folder, ignore_errors=True)
        raise VersionError(
            "the version cannot be written; nothing of it is kept",
            where=folder,
            found=error.strerror or str(error),
            remedy="Make room on the disk, or set GOLDLOOP_HOME to a larger one, then commit again",
        ) from error
    finally:
        with suppress(OSError):
            folder.rmdir()  # which only goes if nothing was ever committed here
    return load(folder.parent, folder.name, digest)


def entries_of(labels: Iterable[Label[Any]], items: Mapping[str, Item], placed: Placement) -> list[Entry]:
    """The rows of those labels whose items have a place."""
    places = placed.places
    return [Entry(places[label.key], items[label.key], label) for label in labels if label.key in places]


def _described(candidate: Candidate, commit: history.Commit) -> Version:
    folder: Path = candidate.past.folder
    task, tally, config = candidate.task, candidate.tally, candidate.config
    return Version(
        name=folder.name,
        digest=commit.digest,
        folder=folder / commit.digest[:NAME_LENGTH],
        classes=task.classes,
        counts=tally.counts(),
        task=task.config.model_dump(mode="json", by_alias=True),
        agreement=candidate.facts.agreement["mean"],
        created_at=commit.at,
        message=commit.message,
        parent=commit.parent,
        split=config.split.model_dump(mode="json"),
        class_counts=tally.class_counts(task.classes),
        policies=policy_facts(candidate.placed.policies),
        duplicates=None if candidate.cliques is None else config.duplicates.of(task.modality),
    )
