"""What is planted in annotators' answers is found of each of them."""

from __future__ import annotations

import random

import pytest

from goldloop.quality.appraise import appraise
from goldloop.quality.measured import measured, share_interval
from goldloop.records import IMPORTED, Annotation
from goldloop.tasks import tasks

TASK = tasks.create({"kind": "text-classification", "classes": ["a", "b", "c"]})
RIGHT = {"ada": 0.95, "bob": 0.9, "cyn": 0.6}
SECONDS = {"ada": 10.0, "bob": 12.0, "cyn": 2.0}


def _planted(count: int = 600):
    chance = random.Random(0)
    truths, answers, acts = {}, {}, []
    for number in range(count):
        key = f"k{number:04d}"
        truths[key] = chance.choice("abc")
        answers[key] = {
            who: truths[key]
            if chance.random() < right
            else chance.choice([x for x in "abc" if x != truths[key]])
            for who, right in RIGHT.items()
        }
        for who in RIGHT:
            acts.append(
                Annotation(
                    id=len(acts), task_id=number, key=key, annotator=who, results=(), cancelled=False,
                    created_at="2026-01-01T00:00:00Z", updated_at="2026-01-01T00:00:00Z",
                    lead_time=SECONDS[who] * chance.uniform(0.8, 1.2),
                )
            )  # fmt: skip
    return truths, answers, acts


def test_each_annotators_share_of_right_answers_is_found_within_its_interval():
    truths, answers, acts = _planted()
    controls = {key: truths[key] for key in list(truths)[:200]}
    found = {each.annotator: each for each in appraise(TASK, answers, acts, controls).annotators}
    assert found.keys() == RIGHT.keys()
    for who, right in RIGHT.items():
        figure = found[who].controls
        assert figure is not None
        assert figure.items == 200
        assert figure.interval is not None
        assert figure.interval[0] <= right <= figure.interval[1]
        # Of three equally frequent classes a guess is right in a third: kappa is what is beyond it.
        assert figure.beyond_chance == pytest.approx((right - 1 / 3) / (2 / 3), abs=0.09)
        assert found[who].pace.median == pytest.approx(SECONDS[who], rel=0.1)
        assert found[who].pace.low < found[who].pace.median < found[who].pace.high


def test_the_others_answer_leaves_out_ones_own():
    _, answers, acts = _planted()
    found = {each.annotator: each for each in appraise(TASK, answers, acts, {}).annotators}
    # Of three, the two others must agree, which they mostly do where they are right.
    assert found["cyn"].others.agreement == pytest.approx(0.6, abs=0.07)
    assert found["ada"].others.agreement > found["bob"].others.agreement > found["cyn"].others.agreement
    alone = appraise(TASK, {"k": {"ada": "a"}}, [], {})
    assert alone.annotators[0].others is None
    assert alone.annotators[0].controls is None


def test_what_stands_out_is_said_of_those_that_it_is_true_of():
    truths, answers, acts = _planted()
    found = {each.annotator: each.remarks for each in appraise(TASK, answers, acts, truths).annotators}
    assert "further from known answers than the others are" in found["cyn"]
    assert "much faster than the others" in found["cyn"]
    assert found["ada"] == ()


def test_imported_answers_are_nobodys_and_skips_are_counted():
    act = Annotation(
        id=1, task_id=1, key="k", annotator="ada", results=(), cancelled=True,
        created_at="2026-01-01T00:00:00Z", updated_at="2026-01-01T00:00:00Z",
    )  # fmt: skip
    found = appraise(TASK, {"k": {IMPORTED: "a", "bob": "b"}}, [act], {"k": "a"}).annotators
    assert [(each.annotator, each.answers, each.skips) for each in found] == [("bob", 1, 0), ("ada", 0, 1)]
    assert found[0].others is None


def test_answers_that_were_never_wrong_are_not_certain_to_be_right():
    assert share_interval([1.0] * 5) == pytest.approx((0.5655, 1.0), abs=1e-3)
    assert share_interval([0.0] * 5) == pytest.approx((0.0, 0.4345), abs=1e-3)
    assert share_interval([]) is None
    low, high = share_interval([0.5, 0.6, 0.7, 0.4])
    assert 0.4 <= low < high <= 0.7
    assert measured(TASK, []) is None


def test_boxes_are_measured_by_their_overlap():
    task = tasks.create(tasks.get("object-detection").example_config())
    targets = [example.target for example in task.examples()]
    same = measured(task, [(target, target) for target in targets])
    crossed = measured(task, list(zip(targets, targets[1:] + targets[:1], strict=True)))
    assert same.agreement == 1
    assert crossed.agreement < same.agreement
    assert same.beyond_chance is None or same.beyond_chance == pytest.approx(1)
