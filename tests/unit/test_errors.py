from __future__ import annotations

import inspect
import pickle

from goldloop import errors
from goldloop.errors import GoldloopError, SourceError


def _all_errors() -> list[type[GoldloopError]]:
    return [
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, GoldloopError)
    ]


def test_a_message_says_where_what_found_expected_and_remedy():
    error = SourceError(
        "no column", where="table.csv", found="'txt'", expected="'text'", remedy="Name another"
    )
    assert str(error) == "table.csv: no column (found 'txt', expected 'text'). Name another"


def test_a_bare_problem_is_the_whole_message():
    assert str(GoldloopError("it broke")) == "it broke"


def test_an_error_survives_a_trip_between_processes():
    error = pickle.loads(pickle.dumps(SourceError("gone", where="here", remedy="Look")))
    assert isinstance(error, SourceError)
    assert (str(error), error.where, error.remedy) == ("here: gone. Look", "here", "Look")


def test_the_tree_in_the_docstring_has_every_error():
    drawn = errors.__doc__ or ""
    assert len(_all_errors()) > 15
    for error in _all_errors():
        assert error.__name__ in drawn
        assert error.__doc__
