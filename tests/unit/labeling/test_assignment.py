from __future__ import annotations

from collections import Counter

import pytest
from pydantic import ValidationError

from goldloop.labeling.assignment import data_for, people_for
from goldloop.labeling.config import Asked, LabelingConfig
from goldloop.records import Item, content_key


def _item(number: int) -> Item:
    key = content_key(str(number).encode())
    return Item(key=key, modality="text", uri="u", group=key, source="s", text="t", media_type="t")


ITEMS = [_item(number) for number in range(3000)]


def _config(*names: str, people: int = 1, **more) -> LabelingConfig:
    return LabelingConfig(annotators=names, annotators_per_item=people, **more)


def test_items_are_dealt_evenly_each_to_as_many_as_it_takes():
    config = _config("ada", "bob", "cyn", people=2, overlap=Asked(share=0.2, annotators=3))
    dealt = [people_for(config, item) for item in ITEMS]
    assert Counter(map(len, dealt)).keys() == {2, 3}
    assert all(len(set(people)) == len(people) for people in dealt)
    shares = Counter(name for people in dealt for name in people)
    assert max(shares.values()) - min(shares.values()) < 150


def test_who_joins_takes_only_what_becomes_theirs():
    before = [people_for(_config("ada", "bob"), item) for item in ITEMS]
    after = [people_for(_config("bob", "cyn", "ada"), item) for item in ITEMS]
    moved = [new for old, new in zip(before, after, strict=True) if old != new]
    assert all(people == ["cyn"] for people in moved)
    assert 850 < len(moved) < 1150


def test_a_task_says_whom_it_is_for_only_where_a_recipe_names_somebody():
    assert data_for(LabelingConfig(), ITEMS[0]) == {}
    assert data_for(_config("ada", "bob", people=2), ITEMS[0]) == {"for": "|ada|bob|"}


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"annotators": ["ada", "ada"]}, "twice"),
        ({"annotators": ["ada"], "annotators_per_item": 2}, "fewer"),
        ({"annotators": ["ada"], "controls": {"share": 0.1, "annotators": 2}}, "fewer"),
        ({"annotators": ["a|b"]}, "pattern"),
    ],
    ids=["twice", "too few", "too few for controls", "a bar"],
)
def test_names_that_cannot_be_are_told(section, told):
    with pytest.raises(ValidationError, match=told):
        LabelingConfig(**section)
