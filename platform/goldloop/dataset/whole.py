"""A commit of all labels: what of it the version before has already stays as it lies, in most cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from goldloop.dataset.books import check_all, check_left
from goldloop.dataset.changes import Told
from goldloop.dataset.config import DatasetConfig, Split
from goldloop.dataset.draft import Facts
from goldloop.dataset.listing import Candidate, entries_of, list_version
from goldloop.dataset.past import Past
from goldloop.dataset.placement import Clique, Placement
from goldloop.dataset.sorting import place
from goldloop.dataset.standing import former_rows, standing_for_all
from goldloop.dataset.tally import Tally, agreement_of
from goldloop.dataset.version import Version
from goldloop.media import MediaStore
from goldloop.records import Item, Label, Outcome, Reviewed
from goldloop.tasks.base import Task

_FEW = 0.25
"""A commit that changes a larger share of the rows writes all of them anew."""


def write(
    root: Path,
    name: str,
    task: Task[Any],
    labels: Sequence[Label[Any]],
    items: Mapping[str, Item],
    media: MediaStore,
    config: DatasetConfig,
    *,
    outcomes: Sequence[Outcome],
    balances: Mapping[str, Mapping[str, int]],
    recipe_digest: str,
    message: str | None = None,
    agreement: Mapping[str, Any] | None = None,
    answers: Mapping[str, Mapping[str, Any]] | None = None,
    reviewed: Sequence[Reviewed] = (),
    cliques: Sequence[Clique] | None = None,
    placed: Placement | None = None,
    grow_test: bool = False,
) -> Version:
    """Commit a version; the same labels, splits and classes are the version that is there already.

    The caller holds the recipe's lock.

    Args:
        root: the workspace's versions.
        name: the recipe's.
        task: what the labels are of.
        labels: one per row.
        items: every item that was considered, by key.
        media: where images lie.
        config: the recipe's `dataset:`.
        outcomes: one per item.
        balances: stage -> outcome -> count, of the stages before.
        recipe_digest: of the resolved recipe.
        message: what this version is about.
        agreement: `mean`, `items` and `alpha` over all items; by default what the labels tell.
        answers: key -> annotator -> target: what each said, kept beside the labels.
        reviewed: what came of items that were sent back to annotators, kept with its reasons.
        cliques: near-duplicates among the labelled items, and items that were in earlier versions; None: they
            were not looked for.
        placed: what `placement` says of the same labels; by default it is asked.
        grow_test: take new items into a test split that is frozen.

    Raises:
        VersionError: nothing is labelled, or it cannot be split as the recipe says, or not be written;
            nothing is then listed or left over.
        LedgerError: the outcomes do not account for every item.
    """
    check_all(labels, items, outcomes)
    past = Past.of(root / name)
    task = task.with_classes(task.registry(past.classes))
    if placed is None:
        placed = _placed(past, task, labels, items, config.split, cliques or (), grow_test)
    entries = entries_of(labels, items, placed)
    outcomes = placed.settled(outcomes)
    check_left(entries, outcomes)
    told = Told.of(task, entries, outcomes, answers or {}, placed.held)
    tally = Tally.of(
        task, ((each.split, each.label) for each in entries), (each.outcome for each in outcomes)
    )
    figures = agreement_of(labels) if agreement is None else agreement
    facts = Facts(balances, figures, recipe_digest, message, reviewed)
    changes = None
    ground = past.ground if past.ground is not None and past.ground.suits(task) else None
    if ground is not None:
        known = ground.ledger.states()
        found = told.since(known, known.keys() - told.lines.keys(), ground.manifest.next)
        if len(found.entries) <= len(entries) * _FEW:
            changes = found
    candidate = Candidate(
        past, task, config, placed, cliques, tally, facts, changes or told.all(), ground if changes else None
    )
    return list_version(candidate, media, told.all)


def former(root: Path, name: str) -> set[str]:
    """Keys of items that had a row in some version and have none in the last: what is like them follows them.

    Args:
        root: the workspace's versions.
        name: the recipe's.
    """
    return former_rows(Past.of(root / name).known)


def placement(
    root: Path,
    name: str,
    task: Task[Any],
    labels: Sequence[Label[Any]],
    items: Mapping[str, Item],
    split: Split,
    cliques: Sequence[Clique] = (),
    *,
    grow_test: bool = False,
) -> Placement:
    """Where a commit of these labels puts its items, and which of them it keeps out, and why.

    Args:
        root: the workspace's versions.
        name: the recipe's.
        task: what the labels are of.
        labels: all of them.
        items: those that they are of, and perhaps others, by key.
        split: the recipe's.
        cliques: near-duplicates among those items, and items that were in earlier versions.
        grow_test: take new items into a test split that is frozen.

    Raises:
        VersionError: they cannot be split as the recipe says.
    """
    return _placed(Past.of(root / name), task, labels, items, split, cliques, grow_test)


def _placed(
    past: Past,
    task: Task[Any],
    labels: Sequence[Label[Any]],
    items: Mapping[str, Item],
    split: Split,
    cliques: Sequence[Clique],
    grow_test: bool,
) -> Placement:
    before, held = standing_for_all(past.known, split)
    placed = place(task, labels, items, split, before, cliques, grow_test=grow_test)
    return replace(placed, held=held)
