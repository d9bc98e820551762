"""A commit of what changed since the last version, and of that alone: its cost is that of the changes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from goldloop.dataset.books import check_some
from goldloop.dataset.changes import Changes, Told
from goldloop.dataset.config import DatasetConfig
from goldloop.dataset.draft import Facts
from goldloop.dataset.ledger_lines import FORGOTTEN, Line
from goldloop.dataset.listing import Candidate, entries_of, list_version
from goldloop.dataset.past import Ground, Past
from goldloop.dataset.placement import Clique, Placement
from goldloop.dataset.sorting import place
from goldloop.dataset.standing import standing_among, standing_for_some
from goldloop.dataset.tally import Tally, agreement_carried
from goldloop.dataset.version import Version
from goldloop.errors import VersionError
from goldloop.media import MediaStore
from goldloop.records import Item, Label, Outcome, Reviewed
from goldloop.tasks.base import Task


@dataclass(frozen=True, slots=True)
class Amended:
    """What came of a commit of changes.

    Attributes:
        version: what it made; None where that version is there and broken: all labels must be committed.
        placed: where the items are that it told of, and which of them are kept out.
    """

    version: Version | None
    placed: Placement


def amend(
    root: Path,
    name: str,
    task: Task[Any],
    labels: Sequence[Label[Any]],
    items: Mapping[str, Item],
    media: MediaStore,
    config: DatasetConfig,
    *,
    outcomes: Sequence[Outcome] = (),
    removed: Sequence[str] = (),
    balances: Mapping[str, Mapping[str, int]] | None = None,
    recipe_digest: str,
    message: str | None = None,
    agreement: Mapping[str, Any] | None = None,
    answers: Mapping[str, Mapping[str, Any]] | None = None,
    reviewed: Sequence[Reviewed] = (),
    cliques: Sequence[Clique] | None = None,
    grow_test: bool = False,
) -> Amended:
    """Commit what changed since the last version, and that alone; the cost does not grow with the version.

    The result is that of `write` with all labels. The caller holds the recipe's lock.

    Args:
        root: the workspace's versions.
        name: the recipe's.
        task: what the labels are of.
        labels: of items that are new, or whose label is another or was given otherwise.
        items: those that `labels` and `outcomes` are about, by key.
        media: where images lie.
        config: the recipe's `dataset:`.
        outcomes: of items that have no label, or no longer have one.
        removed: keys of items that are no longer considered.
        balances: stage -> outcome -> count, of the stages before; by default as they were.
        recipe_digest: of the resolved recipe.
        message: what this version is about.
        agreement: `mean`, `items` and `alpha` over all items; by default mean and items are carried on.
        answers: key -> annotator -> target, all answers of the items that `labels` and `outcomes` are about.
        reviewed: what came of all items that were ever sent back to annotators.
        cliques: as `write` takes them, those that have an item that is new.
        grow_test: as `write` takes it.

    Raises:
        VersionError: there is no version to amend, or nothing would be left, or it cannot be written; nothing
            is then listed or left over.
        LedgerError: an item is told of twice.
    """
    past = Past.of(root / name)
    task = task.with_classes(task.registry(past.classes))
    ground = _ground(past, task)
    settled = [
        Outcome(subject=label.key, outcome="imported" if label.provenance == "imported" else "labelled")
        for label in labels
    ]
    settled += outcomes
    check_some([*(outcome.subject for outcome in settled), *removed], items.keys() | set(removed))
    # What was forgotten is in the version before by its tombstone alone, and in none after it.
    removed = [*removed, *ground.ledger.with_outcome(FORGOTTEN)]
    subjects = {*(outcome.subject for outcome in settled), *removed}
    known = ground.ledger.find(subjects)
    had = ground.labels(task, known.values())
    others = ground.tally(task).changed(less=Tally.of(task, had, ()), plus=Tally())
    before, held = standing_for_some(past.known, config.split, subjects, others.classes)
    placed = place(task, labels, items, config.split, before, cliques or (), grow_test=grow_test)
    told = Told.of(task, entries_of(labels, items, placed), placed.settled(settled), answers or {}, held)
    found = told.since(known, removed, ground.manifest.next)
    turnover = _Turnover.of(task, found, known, had)
    tally = ground.tally(task).changed(less=turnover.less, plus=turnover.plus)
    if not tally.rows:
        raise VersionError("no labelled item would be left", where=root / name)
    certified = ground.certificate
    if agreement is None:
        agreement = agreement_carried(certified["agreement"], turnover.gone, turnover.come)
    if balances is None:
        balances = {stage: books for stage, books in certified["ledger"].items() if stage != "commit"}
    facts = Facts(balances, agreement, recipe_digest, message, reviewed)
    candidate = Candidate(past, task, config, placed, cliques, tally, facts, found, ground)
    return Amended(list_version(candidate, media), replace(placed, held=held))


def amendable(root: Path, name: str, task: Task[Any], digest: str) -> Ground | None:
    """The version that changes can be committed to, if it is the last one; None where all must be.

    Args:
        root: the workspace's versions.
        name: the recipe's.
        task: what the labels are of.
        digest: the version's.
    """
    past = Past.of(root / name)
    ground = past.ground
    if ground is None or ground.description["digest"] != digest:
        return None
    return ground if ground.suits(task.with_classes(task.registry(past.classes))) else None


def standing(root: Path, name: str, keys: Collection[str], told: Collection[str]) -> set[str]:
    """Which of these items keep their rows, or had one once: what is like them follows them.

    Args:
        root: the workspace's versions.
        name: the recipe's.
        keys: of the items.
        told: keys of all items of which a commit tells something.
    """
    return standing_among(Past.of(root / name).known, keys, told)


def _ground(past: Past, task: Task[Any]) -> Ground:
    if past.ground is None or not past.ground.suits(task):
        raise VersionError(
            "there is no whole version of this task to amend",
            where=past.folder,
            remedy="Commit all labels once, with `goldloop commit`",
        )
    return past.ground


@dataclass(frozen=True, slots=True)
class _Turnover:
    """What changes take away of a version and what they bring, counted.

    Attributes:
        less, plus: rows and items.
        gone, come: the labels of those rows.
    """

    less: Tally
    plus: Tally
    gone: Sequence[Label[Any]]
    come: Sequence[Label[Any]]

    @classmethod
    def of(
        cls,
        task: Task[Any],
        changes: Changes,
        known: Mapping[str, Line],
        had: Iterable[tuple[str, Label[Any]]],
    ) -> _Turnover:
        changed = {line.key for line in changes.lines if line.key in known}
        rows = [(split, label) for split, label in had if label.key in changed]
        added = [(entry.split, entry.label) for entry in changes.entries]
        lines = (line.outcome for line in changes.lines)
        return cls(
            less=Tally.of(task, rows, (str(known[key].outcome) for key in changed)),
            plus=Tally.of(task, added, (outcome for outcome in lines if outcome is not None)),
            gone=[label for _, label in rows],
            come=[label for _, label in added],
        )
