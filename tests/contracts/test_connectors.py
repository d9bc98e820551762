"""What every kind of source must do; a new file in connectors/ is tested unasked."""

from __future__ import annotations

import pytest

from goldloop.connectors import connectors
from goldloop.errors import RecipeError
from goldloop.records import Item, Quarantined, content_key


def test_there_are_connectors():
    assert len(connectors.names()) >= 2


@pytest.fixture(params=connectors.names())
def section(request, tmp_path):
    """A recipe's section for a tiny source that the kind itself writes."""
    return connectors.get(request.param).example(tmp_path)


def test_an_example_has_items_and_something_that_cannot_be_used(section):
    found = list(connectors.create(section).items())
    assert sum(isinstance(entry, Item) for entry in found) >= 2
    assert sum(isinstance(entry, Quarantined) for entry in found) >= 1


def test_items_are_the_same_each_time_and_in_the_same_order(section):
    assert list(connectors.create(section).items()) == list(connectors.create(section).items())


def test_the_content_gives_the_key_and_addresses_are_distinct(section):
    found = list(connectors.create(section).items())
    assert len({entry.uri for entry in found}) == len(found)
    for entry in found:
        if isinstance(entry, Item):
            content = entry.content if entry.text is None else entry.text.encode()
            assert content is not None
            assert entry.key == content_key(content)
            assert entry.group


def test_what_cannot_be_used_has_a_reason(section):
    for entry in connectors.create(section).items():
        if isinstance(entry, Quarantined):
            assert len(entry.reason) > 5


def test_the_limit_is_kept(section):
    whole = list(connectors.create(section).items())
    assert list(connectors.create({**section, "limit": 2}).items()) == whole[:2]


def test_a_fingerprint_is_the_same_until_something_changes(section):
    assert connectors.create(section).fingerprint() == connectors.create(section).fingerprint()


def test_a_field_that_the_kind_does_not_know_is_refused(section):
    with pytest.raises(RecipeError):
        connectors.create({**section, "no-such-field": 1})
