from __future__ import annotations

import pytest
from pydantic import ValidationError

from goldloop.dataset.policies import ByGroup
from goldloop.labeling.config import Selection
from goldloop.labeling.selection import ordered
from goldloop.records import Item, Prediction, content_key


def _items(count: int) -> list[Item]:
    keys = [content_key(str(number).encode()) for number in range(count)]
    return [
        Item(key=key, modality="text", uri=key, group=key, source="s", text="t", media_type="text/plain")
        for key in keys
    ]


def test_a_random_order_is_the_same_each_time_and_differs_by_seed():
    items = _items(50)
    one = ordered(items, Selection(), None)
    assert ordered(items[::-1], Selection(), None) == one
    assert ordered(items, Selection(seed=1), None) != one
    assert sorted(one, key=lambda item: item.key) == sorted(items, key=lambda item: item.key)


def test_the_order_of_some_items_does_not_depend_on_which_others_there_are():
    items = _items(50)
    few = ordered(items[:20], Selection(), None)
    assert [item for item in ordered(items, Selection(), None) if item in few] == few


def test_what_is_sent_first_says_nothing_about_the_split():
    first = ordered(_items(4000), Selection(), None)[:1000]
    rule = ByGroup(train=0.8, validation=0.1, test=0.1)
    share = sum(rule.place(item.group, None) == "train" for item in first) / len(first)
    assert 0.75 < share < 0.85


def test_the_least_sure_come_first():
    items = _items(5)
    confidence = {item.key: number / 10 for number, item in enumerate(items)}

    def predictions(asked):
        return [Prediction(target="a", confidence=confidence[item.key]) for item in asked]

    assert ordered(items, Selection(strategy="uncertainty"), predictions) == items
    assert ordered(items, Selection(strategy="uncertainty")) == ordered(items, Selection())


def test_a_strategy_is_said_by_its_name_or_with_its_fields_and_comes_back_as_it_was_said():
    assert Selection().model_dump(mode="json")["strategy"] == "random"
    mixed = {"kind": "mix", "parts": {"margin": 0.5, "random": 0.5}}
    assert Selection(strategy=mixed).model_dump(mode="json")["strategy"] == mixed


@pytest.mark.parametrize(
    ("strategy", "told"),
    [
        ("uncertain", "uncertainty"),
        ({"kind": "mix", "parts": {}}, "parts"),
        ({"kind": "mix", "parts": {"mix": 1}}, "another strategy"),
        ({"kind": "mix", "parts": {"margins": 1}}, "margin"),
        ({"kind": "mix", "parts": {"margin": 0}}, "above 0"),
        ({"kind": "cluster", "clusters": 0}, "clusters"),
        (3, "kind"),
    ],
    ids=["typo", "empty", "itself", "unknown part", "no share", "no cluster", "number"],
)
def test_what_a_strategy_cannot_be_is_told(strategy, told):
    with pytest.raises(ValidationError, match=told):
        Selection(strategy=strategy)
