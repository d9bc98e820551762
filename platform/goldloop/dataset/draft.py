"""A version on its way to the disk: written aside, certified from its bytes, flushed, then renamed."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop import __version__
from goldloop.dataset.card import dataset_card
from goldloop.dataset.certificate import DESCRIPTION, certify
from goldloop.dataset.changes import Changes
from goldloop.dataset.layout import lay_out
from goldloop.dataset.ledger_lines import Tree
from goldloop.dataset.manifest import FORMAT, Manifest
from goldloop.dataset.placement import Clique
from goldloop.dataset.policies import Policy
from goldloop.dataset.reviewed import REVIEWED, write_reviewed
from goldloop.dataset.tally import Tally
from goldloop.durable import flush, flush_all
from goldloop.media import MediaStore
from goldloop.records import Reviewed
from goldloop.tasks.base import Task

if TYPE_CHECKING:
    from goldloop.dataset.version import Version

ASIDE = ".writing-"
"""How the names of all begin that is not yet what it is to be."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a version carries beside its rows.

    Attributes:
        balances: stage -> outcome -> count, of the stages before.
        agreement: `mean`, `items`, `alpha` and what else is known of it.
        recipe_digest: of the resolved recipe.
        message: what its committer said.
        reviewed: what came of items that were sent back to annotators.
    """

    balances: Mapping[str, Mapping[str, int]]
    agreement: Mapping[str, Any]
    recipe_digest: str
    message: str | None
    reviewed: Sequence[Reviewed] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """All that goes into a version's folder.

    Attributes:
        version: what it will be.
        task: with the version's class registry.
        policies: what its rows were placed by.
        cliques: near-duplicates, if they were looked for.
        changes: what it says that the version before did not.
        tree: the buckets of its digest.
        tally: what its rows and items add up to.
        facts: what it carries beside its rows.
        before: the folder of the version that these are changes to; None: they are all there is.
        by_address: whether images of new rows stay outside.
    """

    version: Version
    task: Task[Any]
    policies: Sequence[Policy]
    cliques: Sequence[Clique] | None
    changes: Changes
    tree: Tree
    tally: Tally
    facts: Facts
    before: Path | None
    by_address: bool = False


def put(draft: Draft, media: MediaStore) -> None:
    """Make the version's folder; whole or not at all. What is there and broken gives way to it.

    Raises:
        OSError: the disk does not take it.
        CertificateError: what was written is not what was meant.
        VersionError, WorkspaceError: an image is missing or was changed.
    """
    folder = draft.version.folder
    aside = folder.parent / f"{ASIDE}{folder.name}"
    try:
        _write_into(aside, draft, media)
        if folder.exists():
            folder.replace(folder.parent / f"{ASIDE}broken")
        aside.replace(folder)
        flush(folder.parent)
    finally:
        sweep(folder.parent)


def sweep(folder: Path) -> None:
    """Take away what killed writers left: we hold the lock, so none of them lives."""
    for left in folder.glob(f"{ASIDE}*"):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()


def _write_into(aside: Path, draft: Draft, media: MediaStore) -> None:
    version, task, changes = draft.version, draft.task, draft.changes
    manifest = lay_out(aside, draft.before, task, changes, draft.tree, media, by_address=draft.by_address)
    manifest.save(aside)
    facts = draft.facts
    if facts.reviewed:
        write_reviewed(aside / REVIEWED, facts.reviewed)
    outcomes: Counter[str] = Counter(each.outcome for each in facts.reviewed)
    write_description(
        aside, version, task, draft.tally, facts.agreement, manifest, reviewed=outcomes, ledger=facts.balances
    )
    certify(
        aside,
        task,
        draft.policies,
        version.digest,
        draft.tally,
        balances=facts.balances,
        agreement=facts.agreement,
        recipe_digest=facts.recipe_digest,
        reviewed=facts.reviewed,
        cliques=draft.cliques,
        before=draft.before,
        changed={line.key for line in changes.lines},
    )
    flush_all([*_written(aside, draft.before), aside / "goldloop", aside / "data", aside])


def write_description(
    folder: Path,
    version: Version,
    task: Task[Any],
    tally: Tally,
    agreement: Mapping[str, Any],
    manifest: Manifest,
    *,
    reviewed: Mapping[str, int],
    ledger: Mapping[str, Mapping[str, int]],
) -> None:
    """Write what a version says of itself, for programs and for people.

    Args:
        folder: where.
        version: what to describe.
        task: with the version's class registry.
        tally: what its rows and items add up to.
        agreement: `mean`, `items` and `alpha`.
        manifest: its files.
        reviewed: what came of items that were sent back to annotators, in counts.
        ledger: stage -> outcome -> count, of the stages before.
    """
    description = {**asdict(version), "format": FORMAT, "goldloop": __version__}
    del description["folder"]
    _write(folder / DESCRIPTION, json.dumps(description, indent=2, ensure_ascii=False) + "\n")
    card = dataset_card(version, task, tally, agreement, manifest.dead, reviewed, ledger, manifest.outside)
    _write(folder / "README.md", card)


def _written(aside: Path, before: Path | None) -> list[Path]:
    """The files that were not on the disk before."""
    known = set() if before is None else {part.sha256 for part in Manifest.load(before).parts()}
    shared = {part.path for part in Manifest.load(aside).parts() if part.sha256 in known}
    files = (path for path in aside.rglob("*") if path.is_file())
    return [path for path in files if path.relative_to(aside).as_posix() not in shared]


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="")
