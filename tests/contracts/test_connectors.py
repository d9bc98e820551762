"""What every kind of source must do; a new file in connectors/ is tested unasked."""

from __future__ import annotations

import pytest

from goldloop.connectors import connectors
from goldloop.connectors.base import Found, Kept, NothingKnown
from goldloop.errors import RecipeError, SourceError
from goldloop.records import Item, Quarantined, content_key


def test_there_are_connectors():
    assert len(connectors.names()) >= 7


@pytest.fixture(params=[kind for kind in connectors.names() if not connectors.get(kind).needs_server])
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


def test_the_filter_takes_away_what_it_does_not_fit_and_the_limit_counts_what_is_left(section):
    whole = list(connectors.create(section).items())
    unwanted = next(entry for entry in whole if isinstance(entry, Item))
    others = {**section, "filter": f"uri != {unwanted.uri!r}"}
    left = [entry for entry in whole if entry != unwanted]
    assert list(connectors.create(others).items()) == left
    assert list(connectors.create({**others, "limit": 1}).items()) == left[:1]


def test_a_filter_that_cannot_be_judged_quarantines_and_stops_nothing(section):
    whole = list(connectors.create(section).items())
    found = list(connectors.create({**section, "filter": "uri > 3"}).items())
    assert {entry.uri for entry in found} == {entry.uri for entry in whole}
    assert all(isinstance(entry, Quarantined) for entry in found)


@pytest.mark.parametrize("text", ["uri ==", "open('x')", "import os"])
def test_a_filter_that_is_no_expression_is_refused(section, text):
    with pytest.raises(RecipeError, match=r"no expression|no function"):
        connectors.create({**section, "filter": text})


@pytest.mark.parametrize("option", ["filter", "group"])
def test_a_field_that_no_entry_has_is_refused_by_name(section, option):
    with pytest.raises(SourceError, match=r"'ury'.*Did you mean 'uri'"):
        list(connectors.create({**section, option: "ury == 'a'"}).items())


def test_the_group_is_an_expression_over_the_fields(section):
    items = [
        entry
        for entry in connectors.create({**section, "group": "uri.upper()"}).items()
        if isinstance(entry, Item)
    ]
    assert items
    assert [item.group for item in items] == [item.uri.upper() for item in items]


class _Before:
    """What a pull leaves behind: the marks of all parts."""

    bookmark = None

    def __init__(self, found: list[Found | Kept]) -> None:
        self.marks = {
            each.part or each.entry.uri: each.mark
            for each in found
            if isinstance(each, Found) and each.mark is not None
        }

    def unchanged(self, marks, *, many=False):
        return {name for name, mark in marks.items() if self.marks.get(name) == mark}


def test_parts_that_have_not_changed_are_kept_and_not_read(section):
    connector = connectors.create(section)
    found = list(connector.read(NothingKnown()))
    assert all(isinstance(each, Found) for each in found)
    before = _Before(found)
    again = list(connectors.create(section).read(before))
    kept = [each.part for each in again if isinstance(each, Kept)]
    assert sorted(kept) == sorted(before.marks)
    assert len(kept) == len(set(kept))


def test_a_fingerprint_is_the_same_until_something_changes(section):
    assert connectors.create(section).fingerprint() == connectors.create(section).fingerprint()


def test_a_field_that_the_kind_does_not_know_is_refused(section):
    with pytest.raises(RecipeError):
        connectors.create({**section, "no-such-field": 1})
