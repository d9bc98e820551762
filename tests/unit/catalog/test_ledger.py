from __future__ import annotations

import pytest

from goldloop.catalog.ledger import balance, entries, write_books
from goldloop.errors import LedgerError
from goldloop.records import Outcome
from goldloop.settings import Settings
from goldloop.workspace import Workspace


@pytest.fixture
def engine(tmp_path):
    return Workspace(tmp_path, Settings()).engine


def _outcomes(*outcomes: str) -> list[Outcome]:
    return [Outcome(subject=str(number), outcome=outcome) for number, outcome in enumerate(outcomes)]


def test_balanced_books_are_kept_and_counted(engine):
    with engine.begin() as connection:
        books = write_books(connection, "pets", "pull", 3, _outcomes("pulled", "pulled", "quarantined"))
    assert str(books) == "3 = 2 pulled + 1 quarantined"
    with engine.connect() as connection:
        assert balance(connection, "pets", "pull") == books
        assert [entry.subject for entry in entries(connection, "pets", "pull", "quarantined")] == ["2"]


@pytest.mark.parametrize("total", [1, 3])
def test_an_imbalance_is_an_error_and_nothing_is_kept(engine, total):
    with engine.begin() as connection:
        write_books(connection, "pets", "pull", 1, _outcomes("pulled"))
    with pytest.raises(LedgerError, match="do not balance"), engine.begin() as connection:
        write_books(connection, "pets", "pull", total, _outcomes("pulled", "pulled"))
    with engine.connect() as connection:
        assert balance(connection, "pets", "pull").total == 1


def test_two_outcomes_for_one_subject_are_an_error(engine):
    twice = [Outcome(subject="a", outcome="pulled"), Outcome(subject="a", outcome="duplicate")]
    with pytest.raises(LedgerError, match="two outcomes"), engine.begin() as connection:
        write_books(connection, "pets", "pull", 2, twice)


def test_books_of_other_recipes_and_stages_are_left_alone(engine):
    with engine.begin() as connection:
        write_books(connection, "pets", "pull", 1, _outcomes("pulled"))
        write_books(connection, "cars", "pull", 2, _outcomes("pulled", "pulled"))
        write_books(connection, "pets", "push", 1, _outcomes("pushed"))
        write_books(connection, "pets", "pull", 0, [])
        assert balance(connection, "cars", "pull").total == 2
        assert balance(connection, "pets", "push").total == 1
        assert balance(connection, "pets", "pull").total == 0
