from __future__ import annotations

from dataclasses import replace

import pytest

from goldloop.catalog.content import item_states, items_of, replace_content
from goldloop.records import Item, content_key
from goldloop.settings import Settings
from goldloop.workspace import Workspace


@pytest.fixture
def engine(tmp_path):
    return Workspace(tmp_path, Settings()).engine


def _item(text: str, uri: str) -> Item:
    key = content_key(text.encode())
    return Item(
        key=key, modality="text", uri=uri, group=key, source="0:files", text=text, media_type="text/plain",
        metadata={"n": 1}, label="cat", label_use="truth",
    )  # fmt: skip


def _pull(engine, *items: Item, also: dict[str, Item] | None = None) -> None:
    seen = {item.uri: (item.key, item.source) for item in items}
    seen |= {uri: (item.key, item.source) for uri, item in (also or {}).items()}
    with engine.begin() as connection:
        replace_content(connection, "pets", items, seen)


def _states(engine) -> dict[str, str]:
    with engine.connect() as connection:
        return item_states(connection, "pets")


def test_an_item_comes_back_as_it_went_in(engine):
    item = _item("a\r\n\t\N{PILE OF POO}", "one.txt")
    _pull(engine, item)
    with engine.connect() as connection:
        assert list(items_of(connection, "pets")) == [item]


def test_new_content_at_an_old_address_supersedes(engine):
    old, new = _item("old", "a.txt"), _item("new", "a.txt")
    _pull(engine, old)
    _pull(engine, new)
    assert _states(engine) == {old.key: "superseded", new.key: "current"}


def test_content_that_still_has_another_address_is_current(engine):
    item, new = _item("same", "a.txt"), _item("new", "a.txt")
    _pull(engine, item, also={"b.txt": item})
    _pull(engine, new, replace(item, uri="b.txt"))
    assert _states(engine) == {item.key: "current", new.key: "current"}


def test_content_without_any_address_is_gone_and_can_return(engine):
    item, other = _item("here", "a.txt"), _item("other", "b.txt")
    _pull(engine, item, other)
    _pull(engine, other)
    assert _states(engine)[item.key] == "gone"
    _pull(engine, item, other)
    assert _states(engine)[item.key] == "current"
