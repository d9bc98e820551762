"""Doubtful labels: dealt, judged and ranked, for every family of answers."""

import random
from dataclasses import asdict

import numpy
import pytest
import torch

from goldloop.inference import Predictor
from goldloop.quality.conflicts import find_conflicts
from goldloop.quality.folds import folds_of
from goldloop.quality.judging import judge, quality_of
from goldloop.quality.linear_head import out_of_fold
from goldloop.quality.suspects import (
    Labelled,
    Suspects,
    Verdict,
    by_agreement,
    by_boxes,
    by_probabilities,
    by_probability,
    rank,
    with_conflicts,
)
from goldloop.tasks import tasks
from goldloop.tasks.base import PlaceAnswers

CLASSES = ["a", "b", "c"]
TASK = tasks.create({"kind": "text-classification", "classes": CLASSES})
TAGS = tasks.create({"kind": "text-multilabel", "classes": CLASSES})
BOXES = tasks.create({"kind": "object-detection", "classes": ["cell", "dust"]})


def points_of(labels, seed=0):
    """Points around a middle of each class, so that a linear head can tell them."""
    chance = numpy.random.default_rng(seed)
    middles = chance.normal(size=(3, 8)) * 3
    return middles[labels] + chance.normal(size=(len(labels), 8))


def test_groups_stay_together_and_classes_are_spread():
    groups = [f"group {n // 3}" for n in range(90)]
    names = ["rare" if n < 15 else "common" for n in range(90)]

    found = folds_of(groups, names, 5)

    assert len({(group, fold) for group, fold in zip(groups, found, strict=True)}) == 30
    assert [found.count(fold) for fold in range(5)] == [18] * 5
    assert [found[:15].count(fold) for fold in range(5)] == [3] * 5
    assert found == folds_of(groups, names, 5)
    assert found != folds_of(groups, names, 5, seed=1)


def test_there_are_no_more_folds_than_groups_and_one_group_has_none():
    assert set(folds_of(["x", "y", "y"], ["a", "a", "b"], 5)) == {0, 1}
    with pytest.raises(ValueError, match="one group"):
        folds_of(["x", "x"], ["a", "b"], 5)


def test_planted_flips_come_first_and_are_flagged_with_what_they_were():
    chance = random.Random(0)
    truth = numpy.array([n % 3 for n in range(300)])
    flipped = set(chance.sample(range(300), 15))
    given = numpy.array([(label + 1 + n % 2) % 3 if n in flipped else label for n, label in enumerate(truth)])
    folds = folds_of([str(n) for n in range(300)], [CLASSES[label] for label in given], 5)
    items = [Labelled(str(n), "train", CLASSES[label]) for n, label in enumerate(given)]

    found = by_probability(TASK, items, out_of_fold(points_of(truth), given, 3, folds))

    first = {int(suspect.key) for suspect in found[:15]}
    assert len(first & flipped) >= 14
    flagged = [suspect for suspect in found if suspect.flagged]
    assert len({int(suspect.key) for suspect in flagged} & flipped) >= 14
    assert len(flagged) <= 18
    for suspect in found[:10]:
        assert suspect.suggested == CLASSES[truth[int(suspect.key)]]
        assert repr(suspect.given) in suspect.reason
        assert repr(suspect.suggested) in suspect.reason
    assert [suspect.quality for suspect in found] == sorted(suspect.quality for suspect in found)


def test_a_class_without_any_item_does_no_harm_and_one_class_alone_has_no_suspects():
    items = [Labelled(str(n), "train", "ab"[n % 2]) for n in range(20)]
    shares = numpy.array([[0.8, 0.1, 0.1] if n % 2 == 0 else [0.1, 0.8, 0.1] for n in range(20)])
    assert not any(suspect.flagged for suspect in by_probability(TASK, items, shares))
    assert by_probability(TASK, [Labelled("1", "train", "a")], shares[:1]) == []


def test_sets_of_classes_tell_what_is_missing_and_what_is_too_much():
    items = [Labelled(str(n), "train", ["a"] if n % 2 else ["b"]) for n in range(40)]
    shares = numpy.array([[0.95, 0.05, 0.1] if n % 2 else [0.05, 0.95, 0.1] for n in range(40)])
    items[7] = Labelled("7", "test", ["a", "b"])
    items[8] = Labelled("8", "test", [])

    found = by_probabilities(TAGS, items, shares)

    assert {suspect.key for suspect in found[:2]} == {"7", "8"}
    assert all(suspect.flagged for suspect in found[:2])
    reasons = {suspect.key: suspect.reason for suspect in found[:2]}
    assert "'b' is chosen" in reasons["7"]
    assert "'b' is not chosen" in reasons["8"]


def box(label, x, **fields):
    return {"label": label, "x": x, "y": 10.0, "width": 20.0, "height": 20.0, "rotation": 0.0, **fields}


def test_boxes_that_are_missing_misplaced_or_of_another_class_come_first_with_what_is_wrong():
    truth = [[box("cell", 10.0 + n), box("dust", 60.0 + n)] for n in range(20)]
    items = [Labelled(str(n), "train", target) for n, target in enumerate(truth)]
    verdicts = [Verdict([{**each, "score": 0.97} for each in target]) for target in truth]
    items[3] = Labelled("3", "train", truth[3][:1])
    items[4] = Labelled("4", "train", [truth[4][0], box("cell", 64.0)])
    items[5] = Labelled("5", "train", [box("cell", 22.0), truth[5][1]])

    found = by_boxes(BOXES, items, verdicts)

    first = {suspect.key: suspect for suspect in found[:3]}
    assert first.keys() == {"3", "4", "5"}
    assert all(suspect.flagged for suspect in first.values())
    assert "no label" in first["3"].reason
    assert "another class" in first["4"].reason
    assert not any(suspect.flagged for suspect in found[3:])


def test_images_without_a_single_box_have_no_suspects():
    items = [Labelled(str(n), "train", []) for n in range(3)]
    assert not any(each.flagged for each in by_boxes(BOXES, items, [Verdict([])] * 3))


def test_the_token_that_the_model_believes_least_is_named():
    shares = numpy.full((4, 3), 0.02) + numpy.eye(3)[[0, 1, 0, 2]] * 0.94
    answers = PlaceAnswers(numpy.array([0, 1, 0, 0]), shares, ("nothing", "person", "place"), list("wxyz"))

    quality, reason = quality_of(answers)

    assert quality == pytest.approx(0.02)
    assert reason == "'z' is labelled 'nothing', of which the model gives 2%; 'place' gets 96%"
    right = PlaceAnswers(numpy.array([0, 1, 0, 2]), shares, answers.names, answers.words)
    assert quality_of(right) == (pytest.approx(0.96), "the model says the same")


def test_pixels_tell_the_largest_area_in_doubt_and_what_is_void_is_not_doubted():
    given = numpy.zeros(64, dtype=int)
    given[:16] = 1
    shares = numpy.full((64, 2), 0.05) + numpy.eye(2)[numpy.zeros(64, dtype=int)] * 0.9
    names = ("road", "sky")

    doubtful, reason = quality_of(PlaceAnswers(given, shares, names, shape=(8, 8)))
    void = numpy.where(given == 1, -1, given)
    sure, same = quality_of(PlaceAnswers(void, shares, names, shape=(8, 8)))

    assert doubtful < 0.5 < sure
    assert reason == "25.0% of it is labelled 'sky' where the model sees 'road'"
    assert same == "the model says the same"
    assert quality_of(PlaceAnswers(numpy.full(64, -1), shares, names, shape=(8, 8)))[0] == 1


def test_other_answers_are_held_against_the_models_by_the_tasks_own_measure():
    task = tasks.create({"kind": "text-similarity", "scale": {"least": 0, "most": 10}})
    items = [Labelled(str(n), "train", 5.0) for n in range(20)]
    verdicts = [Verdict(9.5 if n == 4 else 5.0 + n / 50) for n in range(20)]

    found = by_agreement(task, items, verdicts)

    assert found[0].key == "4"
    assert [suspect.key for suspect in found if suspect.flagged] == ["4"]


@pytest.mark.parametrize("kind", tasks.names())
def test_every_kind_ranks_its_examples_and_doubts_none_that_the_model_gives_back(kind):
    task = tasks.create(tasks.get(kind).example_config())
    examples = task.examples()
    items = [Labelled(each.item.key, "train", each.target) for each in examples]
    scores = [
        {name: 0.9 if name in task.classes_in(each.target) else 0.1 for name in task.classes}
        for each in examples
    ]
    verdicts = [Verdict(each.target, scores=shares) for each, shares in zip(examples, scores, strict=True)]

    found = rank(task, items, verdicts)

    assert sorted(suspect.key for suspect in found) == sorted(item.key for item in items)
    assert not any(suspect.flagged for suspect in found)


@pytest.mark.parametrize("kind", tasks.names())
def test_a_model_of_every_kind_judges_labelled_rows(kind):
    torch.manual_seed(0)
    task = tasks.create(tasks.get(kind).example_config())
    examples = task.examples()
    rows = [
        {
            "key": each.item.key,
            task.modality: each.content if each.content is not None else each.item.text,
            **task.to_row(each.target),
        }
        for each in examples
    ]
    predictor = Predictor(task, task.example_model(), {}, "cpu")

    verdicts = judge(predictor, rows)
    found = rank(task, [Labelled(row["key"], "train", task.from_row(row)) for row in rows], verdicts)

    assert len(verdicts) == len(rows)
    assert sorted(suspect.key for suspect in found) == sorted(row["key"] for row in rows)
    assert all(0 <= suspect.quality <= 1 and suspect.reason for suspect in found)
    by_place = kind in ("token-classification", "semantic-segmentation")
    assert all((verdict.quality is not None) == by_place for verdict in verdicts)


def test_what_was_found_is_what_is_read_back():
    suspects = by_agreement(TASK, [Labelled("k", "test", "a")], [Verdict("b")])
    found = Suspects("n@1", "training", "bert", 5, "accuracy", 0.5, {"kind": "x"}, tuple(suspects))

    facts = found.facts()

    assert facts["flagged"] == len(found.flagged)
    assert asdict(Suspects.of_facts(facts)) == asdict(found)


def test_a_label_that_a_near_duplicate_contradicts_is_doubted_whatever_the_model_says():
    items = [Labelled(str(number), "train", "a" if number < 3 else "b") for number in range(4)]
    found = by_agreement(TASK, items, [Verdict(item.target) for item in items])
    assert not any(suspect.flagged for suspect in found)

    targets = {item.key: item.target for item in items}
    conflicts = find_conflicts(TASK, targets, [("0", "1", "3")])
    doubted = with_conflicts(TASK, found, conflicts)

    assert doubted[0].key == "3"
    assert [suspect.key for suspect in doubted if suspect.flagged] == ["3"]
    assert "a near-duplicate, 0, is labelled" in doubted[0].reason
    assert doubted[0].quality <= 0.5
    assert [suspect for suspect in doubted if suspect.key != "3"] == [
        suspect for suspect in found if suspect.key != "3"
    ]
