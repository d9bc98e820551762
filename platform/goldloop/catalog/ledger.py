"""The ledger: one outcome and reason for every subject of every stage.

    pull      subject: address       pulled | duplicate | dropped | quarantined | forgotten
    push      subject: item key      pushed | waiting | skipped | quarantined
    collect   subject: task id       labelled | open | skipped | archived
    relabel   subject: item key      sent | waiting | reviewed | changed | skipped
    commit    subject: item key      labelled | imported | open | disputed | skipped | rejected

What was erased since (`goldloop forget`) is `forgotten` at every stage that it had come to.

A stage's books are written in one transaction, all of them or none; those of a collection page by page, with
what it brought of the same tasks. They balance when every subject that went in has exactly one outcome; an
imbalance is an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Select, delete, func, insert, literal, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from goldloop.catalog.content import upsert
from goldloop.catalog.tables import ledger
from goldloop.catalog.tallies import tally
from goldloop.errors import LedgerError
from goldloop.records import Outcome

_CHUNK = 5_000


@dataclass(frozen=True, slots=True)
class Balance:
    """What became of all subjects of a stage.

    Attributes:
        stage: which.
        total: how many subjects went in.
        outcomes: outcome -> how many.
    """

    stage: str
    total: int
    outcomes: dict[str, int]

    def __str__(self) -> str:
        parts = " + ".join(f"{count} {outcome}" for outcome, count in sorted(self.outcomes.items()))
        return f"{self.total} = {parts or '0'}"


def write_books(
    connection: Connection, recipe: str, stage: str, total: int, outcomes: Iterable[Outcome]
) -> Balance:
    """Replace a stage's books, in the caller's transaction.

    Args:
        connection: inside a transaction that is to hold the stage's other changes too.
        recipe: the recipe's name.
        stage: which stage.
        total: how many subjects went in, counted apart from the outcomes.
        outcomes: one for each subject.

    Raises:
        LedgerError: a subject has two outcomes, or the numbers differ; nothing is then kept.
    """
    connection.execute(delete(ledger).where(ledger.c.recipe == recipe, ledger.c.stage == stage))
    counts: Counter[str] = Counter()
    seen: set[str] = set()
    for chunk in _chunks(outcomes):
        for entry in chunk:
            if entry.subject in seen:
                raise LedgerError("two outcomes for one subject", where=f"{stage}: {entry.subject}")
            seen.add(entry.subject)
            counts[entry.outcome] += 1
        connection.execute(
            insert(ledger),
            [_line(recipe, stage, entry) for entry in chunk],
        )
    return _balanced(recipe, Balance(stage, total, dict(counts)))


def amend_books(
    connection: Connection,
    recipe: str,
    stage: str,
    total: int,
    outcomes: Iterable[Outcome],
    removed: Collection[str],
) -> Balance:
    """As `write_books`, of the subjects alone whose outcome is new, or that are no more.

    Args:
        connection: inside a transaction that is to hold the stage's other changes too.
        recipe: the recipe's name.
        stage: which stage.
        total: how many subjects there are, counted apart from the outcomes.
        outcomes: one for each subject whose outcome may be another.
        removed: subjects that went in before and do not now.

    Raises:
        LedgerError: the numbers differ; nothing is then kept.
    """
    here = (ledger.c.recipe == recipe, ledger.c.stage == stage)
    gone = sorted(removed)
    for start in range(0, len(gone), _CHUNK):
        connection.execute(delete(ledger).where(*here, ledger.c.subject.in_(gone[start : start + _CHUNK])))
    write_lines(connection, recipe, stage, outcomes)
    return _balanced(recipe, replace(balance(connection, recipe, stage), total=total))


def write_lines(connection: Connection, recipe: str, stage: str, outcomes: Iterable[Outcome]) -> None:
    """Write or change the lines of some subjects; the others stand.

    Whoever does so holds the whole against a total at the end, by `closed_books`.

    Args:
        connection: inside a transaction that is to hold the stage's other changes too.
        recipe: the recipe's name.
        stage: which stage.
        outcomes: one for each subject concerned.
    """
    for chunk in _chunks(outcomes):
        upsert(connection, ledger, [_line(recipe, stage, entry) for entry in chunk])


def closed_books(connection: Connection, recipe: str, stage: str, total: int) -> Balance:
    """The books of a stage as they stand.

    Raises:
        LedgerError: they do not have as many lines as subjects went in.
    """
    return _balanced(recipe, replace(balance(connection, recipe, stage), total=total))


def replace_books(
    connection: Connection, recipe: str, stage: str, total: int, outcomes: Select[Any]
) -> Balance:
    """As `write_books`, of outcomes that the database knows: only lines that differ are written.

    Args:
        connection: inside a transaction that is to hold the stage's other changes too.
        recipe: the recipe's name.
        stage: which stage.
        total: how many subjects went in, counted apart from the outcomes.
        outcomes: columns `subject`, `outcome` and `reason`; a row for each subject.

    Raises:
        LedgerError: the numbers differ, as when a subject has two outcomes; nothing is then kept.
    """
    here = (ledger.c.recipe == recipe, ledger.c.stage == stage)
    entries = outcomes.subquery()
    connection.execute(delete(ledger).where(*here, ledger.c.subject.not_in(select(entries.c.subject))))
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    rows = select(literal(recipe), literal(stage), *entries.c).where(literal(True))
    statement = dialect.insert(ledger).from_select(["recipe", "stage", *entries.c.keys()], rows)
    new = statement.excluded
    changed = or_(ledger.c.outcome != new.outcome, ledger.c.reason != new.reason)
    changes = {"outcome": new.outcome, "reason": new.reason}
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["recipe", "stage", "subject"], set_=changes, where=changed
        )
    )
    written = balance(connection, recipe, stage)
    return _balanced(recipe, Balance(stage, total, written.outcomes))


def _line(recipe: str, stage: str, entry: Outcome) -> dict[str, str]:
    return {
        "recipe": recipe,
        "stage": stage,
        "subject": entry.subject,
        "outcome": entry.outcome,
        "reason": entry.reason,
    }


def _balanced(recipe: str, books: Balance) -> Balance:
    found = sum(books.outcomes.values())
    if found != books.total:
        raise LedgerError(
            "the books do not balance",
            where=f"{recipe}: {books.stage}",
            found=f"{found} outcomes",
            expected=f"{books.total}",
        )
    return books


def balance(connection: Connection, recipe: str, stage: str) -> Balance:
    """The books of a stage as they stand."""
    outcomes = tally(connection, ledger, recipe, stage)
    return Balance(stage, sum(outcomes.values()), outcomes)


def by_source(connection: Connection, recipe: str) -> dict[str, Balance]:
    """Source -> what the last pull made of its addresses."""
    subject = ledger.c.subject
    if connection.dialect.name == "postgresql":
        source: Any = func.split_part(subject, " ", 1)
    else:
        source = func.substr(subject, 1, func.instr(subject, " ") - 1)
    rows = connection.execute(
        select(source, ledger.c.outcome, func.count())
        .where(ledger.c.recipe == recipe, ledger.c.stage == "pull")
        .group_by(source, ledger.c.outcome)
    )
    found: dict[str, dict[str, int]] = {}
    for name, outcome, count in rows:
        found.setdefault(name, {})[outcome] = int(count)
    return {
        name: Balance("pull", sum(outcomes.values()), outcomes) for name, outcomes in sorted(found.items())
    }


def entries(
    connection: Connection, recipe: str, stage: str, outcome: str | None = None, limit: int | None = None
) -> list[Outcome]:
    """A stage's outcomes, by subject; of one kind and at most `limit`, if given."""
    query = (
        select(ledger.c.subject, ledger.c.outcome, ledger.c.reason)
        .where(ledger.c.recipe == recipe, ledger.c.stage == stage)
        .order_by(ledger.c.subject)
        .limit(limit)
    )
    if outcome is not None:
        query = query.where(ledger.c.outcome == outcome)
    return [
        Outcome(subject=row.subject, outcome=row.outcome, reason=row.reason)
        for row in connection.execute(query)
    ]


def reasons(connection: Connection, recipe: str, stage: str, outcome: str) -> Iterator[str]:
    """The reason of every subject with an outcome, in no order."""
    query = select(ledger.c.reason).where(
        ledger.c.recipe == recipe, ledger.c.stage == stage, ledger.c.outcome == outcome, ledger.c.reason != ""
    )
    return iter(connection.execution_options(yield_per=_CHUNK).execute(query).scalars())


def with_outcome(
    connection: Connection, recipe: str, stage: str, outcome: str, subjects: Collection[str]
) -> set[str]:
    """Which of these subjects, a few hundred at most, have an outcome."""
    query = select(ledger.c.subject).where(
        ledger.c.recipe == recipe,
        ledger.c.stage == stage,
        ledger.c.outcome == outcome,
        ledger.c.subject.in_(subjects),
    )
    return set(connection.execute(query).scalars())


def _chunks(outcomes: Iterable[Outcome]) -> Iterator[list[Outcome]]:
    chunk: list[Outcome] = []
    for entry in outcomes:
        chunk.append(entry)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
