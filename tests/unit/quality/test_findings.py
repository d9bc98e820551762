"""Outliers, rare classes, contradictions, shortcuts: planted ones are found, and none where there is none."""

import random

import numpy
import pytest

from goldloop.quality.circumstances import circumstances
from goldloop.quality.conflicts import conflicts, find_conflicts, same_pictures, same_texts
from goldloop.quality.findings import by_urgency
from goldloop.quality.imbalance import imbalance
from goldloop.quality.in_words import agreement_found
from goldloop.quality.outliers import outliers
from goldloop.quality.shortcuts import find, shortcuts
from goldloop.tasks import tasks

TASK = tasks.create({"kind": "image-classification", "classes": ["a", "b"]})


def test_what_is_far_from_all_others_is_found_and_nothing_else():
    chance = numpy.random.default_rng(0)
    points = chance.normal(size=(200, 16)) * 0.2 + numpy.ones(16)
    points[17] = -points[17]
    points[90, :8] *= -1

    found = outliers([str(n) for n in range(200)], points, "a test")

    assert {example.key for example in found.examples[:2]} == {"17", "90"}
    assert found.count <= 4
    assert found.state == "look"
    alike = outliers([str(n) for n in range(200)], numpy.ones((200, 4)), "a test")
    assert (alike.state, alike.count) == ("fine", 0)
    assert outliers(["1"], numpy.ones((1, 4)), "a test").state == "unknown"


def test_rare_and_absent_classes_are_told():
    counts = {"train": {"a": 500, "b": 12, "c": 480, "d": 0}, "test": {"a": 50, "b": 0, "c": 40, "d": 0}}
    found = imbalance("abcd", counts)
    assert found.state == "act"
    assert found.title == "2 of 4 classes have few training items; 1 have none at all"
    assert "1 classes have no test item" in found.certainty
    assert found.rows[0] == ("d", 0, 0)
    even = imbalance("ab", {"train": {"a": 90, "b": 100}, "test": {"a": 9, "b": 9}})
    assert (even.state, even.rows) == ("fine", ())
    assert imbalance("ab", {}).state == "unknown"


def test_the_same_text_with_two_labels_is_a_contradiction():
    texts = {
        "1": "Hello, World!",
        "2": "hello world",
        "3": "HELLO  world?",
        "4": "bye",
        "5": "Bye.",
        "6": "!!",
    }
    clusters = same_texts(texts)
    assert sorted(map(sorted, clusters)) == [["1", "2", "3"], ["4", "5"]]

    targets = {"1": "a", "2": "b", "3": "a", "4": "b", "5": "b"}
    (conflict,) = find_conflicts(TASK, targets, (), clusters)
    found = conflicts(TASK, targets, [conflict], 2)

    assert conflict.keys[:2] == ("1", "2")
    assert conflict.doubted == {"2"}
    assert (found.state, found.count) == ("act", 3)
    assert [example.key for example in found.examples] == ["1", "2", "3"]
    assert find_conflicts(TASK, {"4": "b", "5": "b"}, clusters) == []
    assert conflicts(TASK, {"4": "b", "5": "b"}, [], 2).state == "fine"


def test_of_two_that_contradict_each_other_both_are_doubted():
    (conflict,) = find_conflicts(TASK, {"1": "a", "2": "b"}, [("1", "2")])
    assert conflict.doubted == {"1", "2"}


def test_near_duplicates_may_differ_in_places_but_not_in_what_they_name():
    task = tasks.create(tasks.get("object-detection").example_config())
    here = task.examples()[0].target
    moved = [{**box, "x": box["x"] + 1} for box in here]
    other = next(name for name in task.classes if name != here[0]["label"])
    renamed = [{**here[0], "label": other}, *here[1:]]
    assert find_conflicts(task, {"1": here, "2": moved}, [("1", "2")]) == []
    assert find_conflicts(task, {"1": here, "2": moved}, (), [("1", "2")])
    (conflict,) = find_conflicts(task, {"1": here, "2": renamed[:1]}, [("1", "2")])
    assert conflict.doubted == {"1", "2"}


def test_a_group_within_a_larger_one_is_told_once():
    targets = {"1": "a", "2": "b", "3": "b"}
    (conflict,) = find_conflicts(TASK, targets, [("1", "2", "3"), ("1", "2")], [("1", "3")])
    assert conflict.doubted == {"1"}


def test_free_answers_to_near_duplicates_contradict_only_where_the_items_are_the_same():
    task = tasks.create(tasks.get("text-generation").example_config())
    targets = {"1": "one answer", "2": "quite another"}
    assert find_conflicts(task, targets, [("1", "2")]) == []
    assert len(find_conflicts(task, targets, (), [("1", "2")])) == 1


def test_pictures_that_are_all_but_equal_are_one():
    chance = numpy.random.default_rng(0)
    points = chance.random((6, 48)).astype(numpy.float32)
    points[3] = points[1] + 0.002
    assert same_pictures([str(n) for n in range(6)], points) == [["1", "3"]]


def planted(count: int = 160):
    chance = random.Random(0)
    labels = [chance.choice("ab") for _ in range(count)]
    return chance, labels, [str(n) for n in range(count)]


def test_a_circumstance_that_tells_the_label_is_found_and_chance_is_not():
    chance, labels, groups = planted()
    told = {
        "source": ["camera 1" if label == "a" or chance.random() < 0.1 else "camera 2" for label in labels],
        "brightness": [chance.gauss(100 if label == "a" else 104, 20) for label in labels],
        "width": [chance.choice([640, 800]) for _ in labels],
        "name": [f"file {n}" for n in range(len(labels))],
        "format": ["JPEG"] * len(labels),
    }

    found = {each.name: each for each in find(told, labels, groups)}

    assert found.keys() == {"source", "brightness", "width"}
    assert found["source"].p_value <= 0.05
    assert found["source"].strength > 0.7
    assert found["width"].p_value > 0.05
    finding = shortcuts(told, labels, groups)
    assert finding.state == "act"
    assert "source" in finding.title
    assert "width" not in finding.title


def test_moments_are_numbers_and_a_shift_in_time_is_seen():
    _, labels, groups = planted()
    days = [f"2026-{1 if label == 'a' else 7:02}-{n % 28 + 1:02}T10:00:00" for n, label in enumerate(labels)]
    assert find({"taken at": days}, labels, groups)[0].strength > 0.9


def test_items_of_one_group_cannot_tell_each_others_label():
    chance, _, _ = planted()
    groups = [str(n // 8) for n in range(160)]
    labels = [chance.choice("ab") for _ in range(20)]
    # Within a group all is alike, so a tree that had seen the group would know the label.
    found = find(
        {"folder": [f"folder {group}" for group in groups]}, [labels[int(g)] for g in groups], groups
    )
    assert found[0].p_value > 0.05


def test_too_few_items_tell_nothing():
    assert shortcuts({"width": [1, 2]}, ["a", "b"], ["x", "y"]).state == "unknown"


@pytest.mark.parametrize(("alpha", "state"), [(0.9, "fine"), (0.7, "look"), (0.3, "act")])
def test_agreement_is_judged_by_krippendorffs_own_limits(alpha, state):
    weak = {"alpha": 0.2, "interval": (0.1, 0.3), "items": 9, "overlap": 0.4}
    facts = {"mean": 0.9, "alpha": alpha, "items": 50, "alpha_interval": (0.2, 0.95), "classes": {"b": weak}}
    found = agreement_found(facts)
    assert found.state == state
    assert "weakest on b" in found.title
    assert found.rows == [("b", "0.20", "0.10 to 0.30", 9)]
    assert agreement_found({"mean": None, "alpha": None}).state == "unknown"


def test_what_to_act_on_comes_first():
    found = by_urgency([agreement_found({}), imbalance("ab", {"train": {"a": 50}}), imbalance("ab", {})])
    assert [each.state for each in found] == ["unknown"] * 3
    fine = imbalance("ab", {"train": {"a": 90, "b": 100}, "test": {"a": 9, "b": 9}})
    act = imbalance("abc", {"train": {"a": 90, "b": 100, "c": 0}})
    assert [each.state for each in by_urgency([fine, found[0], act])] == ["act", "unknown", "fine"]


def test_circumstances_of_an_image_are_those_of_the_upright_one():
    for example in TASK.examples():
        told = circumstances({"uri": "folder/a.png", "image": {"bytes": example.content}}, example.item)
        assert (told["width"], told["height"]) == (example.item.width, example.item.height)
        assert 0 <= told["brightness"] <= 255
        assert told["folder"] == "folder"
        assert told["source"] == example.item.source
    pictures = {"uri": "photos/2024/cat/7.png", "text": ""}
    assert circumstances(pictures, None, ["cat", "dog"])["folder"] == "photos/2024"
    assert circumstances({"uri": "t.csv#4", "text": "two words"}, None) == {
        "folder": ".", "length": 9, "words": 2,
    }  # fmt: skip
