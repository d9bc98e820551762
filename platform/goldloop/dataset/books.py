"""Whether what is to be committed accounts for every item."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from goldloop.dataset.ledger_lines import WITH_ROW
from goldloop.dataset.placement import WITHHELD
from goldloop.errors import LedgerError, VersionError
from goldloop.records import Item, Label, Outcome


def check_all(labels: Sequence[Label[Any]], items: Mapping[str, Item], outcomes: Sequence[Outcome]) -> None:
    """Refuse books in which an item has no outcome or two, or a label without its outcome.

    Raises:
        LedgerError: names the items.
        VersionError: nothing is labelled.
    """
    subjects = Counter(outcome.subject for outcome in outcomes)
    settled = Counter(outcome.subject for outcome in outcomes if outcome.outcome in WITH_ROW)
    keys = Counter(label.key for label in labels)
    wrong = {key for key in subjects.keys() | items.keys() if subjects[key] != 1 or key not in items}
    wrong |= {key for key in keys.keys() | settled.keys() if keys[key] != settled[key]}
    if wrong:
        shown = ", ".join(sorted(wrong)[:3])
        raise LedgerError(
            "the outcomes do not account for every item",
            where="commit",
            found=f"{len(outcomes)} outcomes, {settled.total()} of them labelled; wrong for {shown}",
            expected=f"{len(items)} items, {len(labels)} labels",
            remedy="This is a fault of goldloop itself: please report it with this message",
        )
    if not labels:
        states = sorted(Counter(outcome.outcome for outcome in outcomes).items())
        raise VersionError(
            "nothing is labelled yet",
            found=", ".join(f"{count} {state}" for state, count in states) or "no items",
            remedy="Annotate in Label Studio, then `goldloop collect` and commit again"
            if states
            else "Run `goldloop pull` and `goldloop push` first, then annotate",
        )


def check_some(subjects: Sequence[str], items: Collection[str]) -> None:
    """Refuse changes that tell of an item twice, or not at all.

    Raises:
        LedgerError: names the items.
    """
    counts = Counter(subjects)
    wrong = {key for key in counts.keys() | set(items) if counts[key] != 1 or key not in items}
    if wrong:
        raise LedgerError(
            "an item is told of twice, or not at all",
            where="commit",
            found=", ".join(sorted(wrong)[:3]),
            expected="one label, one outcome or one removal for each item",
            remedy="This is a fault of goldloop itself: please report it with this message",
        )


def check_left(rows: Sequence[object], outcomes: Sequence[Outcome]) -> None:
    """Refuse a version without rows, as all that is labelled is kept out.

    Raises:
        VersionError: names the reasons.
    """
    if rows:
        return
    reasons = Counter(outcome.reason for outcome in outcomes if outcome.outcome == WITHHELD)
    raise VersionError(
        "every labelled item is kept out",
        found="; ".join(f"{count}: {reason}" for reason, count in reasons.most_common(3)),
        remedy="Change `dataset.split`, so that some have a place",
    )
