from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldloop.errors import AnnotationError
from goldloop.tasks import tasks

NAMES = st.lists(st.sampled_from("abcdefgh"), unique=True, min_size=2)


def task_of(*classes, **fields):
    return tasks.create({"kind": "text-classification", "classes": classes, **fields})


@pytest.fixture
def item():
    return task_of("a", "b").examples()[0].item


@given(st.lists(NAMES, min_size=1, max_size=5))
def test_ids_never_move_whatever_recipes_say_later(recipes):
    registry = ()
    for wanted in recipes:
        longer = task_of(*wanted).registry(registry)
        assert longer[: len(registry)] == registry
        assert set(longer) == {*registry, *wanted}
        assert len(set(longer)) == len(longer)
        registry = longer


def test_new_classes_follow_in_the_recipes_order_and_old_ones_stay():
    assert task_of("zebra", "dog", "ant").registry(("cat", "dog")) == ("cat", "dog", "zebra", "ant")


def test_a_renamed_class_keeps_its_id():
    task = task_of("dog", "feline", renamed={"cat": "feline"})

    registry = task.registry(("cat", "dog"))

    assert registry == ("feline", "dog")
    assert task.with_classes(registry).to_row("feline") == {"label": 0}
    assert task.with_classes(registry).registry(registry) == registry


def test_classes_that_became_one_keep_their_ids_and_the_one_gets_its_own():
    task = task_of("vehicle", "dog", renamed={"car": "vehicle", "van": "vehicle"})

    assert task.registry(("car", "dog", "van")) == ("car", "dog", "van", "vehicle")
    assert task_of("car", "dog", renamed={"van": "car"}).registry(("car", "dog", "van")) == (
        "car",
        "dog",
        "van",
    )


def test_answers_by_a_former_name_count_for_the_present_one(item):
    old, new = task_of("cat", "dog"), task_of("feline", "dog", renamed={"cat": "kitty", "kitty": "feline"})

    assert new.decode(old.encode("cat", item), item) == "feline"
    assert new.parse("cat", item) == "feline"
    assert new.present("cat") == "feline"
    assert new.present([{"label": "cat", "text": "cat"}]) == [{"label": "feline", "text": "cat"}]


def test_answers_by_a_class_that_was_divided_are_to_be_given_again(item):
    task = task_of("cat", "dog", divided={"animal": ["cat", "dog"]})

    with pytest.raises(AnnotationError, match=r"divided.*Annotate the item again"):
        task.decode(task_of("animal", "plant").encode("animal", item), item)


@pytest.mark.parametrize(
    "fields",
    [
        {"renamed": {"x": "nowhere"}},
        {"renamed": {"x": "y", "y": "x"}},
        {"divided": {"x": ["a"]}},
        {"divided": {"x": ["a", "nowhere"]}},
    ],
)
def test_a_change_that_leads_to_no_class_is_refused(fields):
    with pytest.raises(Exception, match=r"must lead|leads to"):
        task_of("a", "b", **fields)
