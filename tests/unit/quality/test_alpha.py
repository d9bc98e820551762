"""Intervals, classes, pairs: agreement beyond chance, held against other implementations and by hand."""

import random

import krippendorff
import numpy
import pytest
from sklearn.metrics import cohen_kappa_score

from goldloop.quality.agreement import agreement_of
from goldloop.quality.alpha import alpha, mean_interval, nominal
from goldloop.quality.kappa import cohen, kappa
from goldloop.tasks import tasks

TASK = tasks.create({"kind": "text-classification", "classes": ["a", "b", "c"]})
BOXES = tasks.create({"kind": "object-detection", "classes": ["cell", "dust"]})


def answers(count: int, right: float, seed: int = 0, people: int = 3) -> list[list[str]]:
    """Items answered by people who are right so often and guess otherwise."""
    chance = random.Random(seed)
    units = []
    for _ in range(count):
        truth = chance.choice("abc")
        units.append([truth if chance.random() < right else chance.choice("abc") for _ in range(people)])
    return units


def items(units):
    return {f"item {n}": {f"person {p}": a for p, a in enumerate(unit)} for n, unit in enumerate(units)}


def box(label: str, x: float, side: float = 10.0) -> dict[str, object]:
    return {"label": label, "x": x, "y": 0.0, "width": side, "height": side, "rotation": 0.0}


@pytest.mark.parametrize("seed", range(3))
def test_nominal_alpha_is_that_of_the_krippendorff_package(seed):
    units = answers(60, 0.7, seed)
    units[0] = units[0][:2]
    counts = numpy.array([[unit.count(name) for name in "abc"] for unit in units])

    assert nominal(units).value == pytest.approx(
        krippendorff.alpha(value_counts=counts, level_of_measurement="nominal")
    )


def test_an_interval_holds_the_figure_and_narrows_with_more_items():
    few, many = (nominal(answers(count, 0.8)) for count in (40, 1000))

    for found in (few, many):
        assert found.interval[0] < found.value < found.interval[1]
    width = [found.interval[1] - found.interval[0] for found in (few, many)]
    assert width[1] < width[0] / 3


def test_an_interval_of_guesses_holds_zero_and_one_of_perfect_answers_is_a_point():
    guesses = nominal(answers(300, 0.0))
    perfect = nominal(answers(50, 1.0))

    assert guesses.interval[0] < 0 < guesses.interval[1]
    assert perfect.interval == pytest.approx((1, 1))


def test_general_alpha_with_a_nominal_difference_is_the_nominal_one_intervals_too():
    units = answers(80, 0.6)
    general = alpha(units, lambda one, other: float(one != other), budget=100)

    assert general.value == pytest.approx(nominal(units).value)
    assert general.interval == pytest.approx(nominal(units).interval)


def test_a_mean_of_one_item_has_no_interval():
    assert mean_interval([0.5]) is None
    low, high = mean_interval([0.0, 1.0] * 50)
    assert low < 0.5 < high


def test_cohens_kappa_is_that_of_scikit_learn():
    units = answers(100, 0.7, people=2)
    ours, theirs = (list(side) for side in zip(*units, strict=True))

    found = cohen(ours, theirs)

    assert found.value == pytest.approx(cohen_kappa_score(ours, theirs))
    assert found.interval[0] < found.value < found.interval[1]


def test_fleiss_kappa_is_that_of_his_own_example():
    # Fleiss, Measuring nominal scale agreement among many raters, 1971: 30 patients, 6 psychiatrists.
    table = """
    0 0 0 6 0|0 3 0 0 3|0 1 4 0 1|0 0 0 0 6|0 3 0 3 0|2 0 4 0 0|0 0 4 0 2|2 0 3 1 0|2 0 0 4 0
    |0 0 0 0 6
    |1 0 0 5 0|1 1 0 4 0|0 3 3 0 0|1 0 0 5 0|0 2 0 3 1|0 0 5 0 1|3 0 0 1 2|5 1 0 0 0|0 2 0 4 0|1 0 2 0 3
    |0 0 0 0 6|0 1 0 5 0|0 2 0 1 3|2 0 0 4 0|1 0 0 4 1|0 5 0 1 0|4 0 0 0 2|0 2 0 4 0|1 0 5 0 0|0 0 0 0 6"""
    rows = [list(map(int, row.split())) for row in table.split("|")]
    units = [[name for name, count in zip("dpsno", row, strict=True) for _ in range(count)] for row in rows]

    found = kappa(list(items(units).values()))

    assert (found.kind, found.items) == ("fleiss", 30)
    assert found.value == pytest.approx(0.430, abs=5e-4)


def test_a_class_that_nobody_can_tell_apart_stands_out():
    chance = random.Random(1)
    units = [["a", "a"]] * 30 + [[chance.choice("bc"), chance.choice("bc")] for _ in range(60)]

    by_class = agreement_of(TASK, items(units)).classes

    assert by_class["a"].alpha == pytest.approx(1)
    assert by_class["a"].overlap == 1
    assert by_class["b"].alpha < 0.6
    assert by_class["b"].interval[0] < by_class["b"].alpha < by_class["b"].interval[1]
    assert by_class["a"].items == 30


def test_boxes_agree_by_class_as_far_as_they_overlap():
    # Of cells both see the same; dust overlaps by a third, or is seen by one alone.
    units = [
        [[box("cell", 0), box("dust", 40)], [box("cell", 0), box("dust", 45)]],
        [[box("cell", 5), box("dust", 60)], [box("cell", 5)]],
        [[box("cell", 20)], [box("cell", 20)]],
        [[], []],
    ]

    by_class = agreement_of(BOXES, items(units)).classes

    assert by_class["cell"].items == 3
    assert by_class["cell"].overlap == pytest.approx(1)
    assert by_class["cell"].alpha == pytest.approx(1)
    assert by_class["dust"].items == 2
    assert by_class["dust"].overlap == pytest.approx((1 / 3 + 0) / 2)
    assert by_class["dust"].alpha < 0.6


@pytest.mark.parametrize("kind", tasks.names())
def test_every_kind_of_task_with_classes_tells_agreement_by_class(kind):
    task = tasks.create(tasks.get(kind).example_config())
    targets = [example.target for example in task.examples()]
    named = {name for target in targets for name in task.classes_in(target)}

    found = agreement_of(task, items([[target, target] for target in targets]))

    assert found.classes.keys() == (named if task.classes else set())
    assert all(each.overlap == pytest.approx(1) for each in found.classes.values())


def test_pairs_and_people_tell_who_differs_from_the_rest():
    chance = random.Random(0)
    truth = [chance.choice("abc") for _ in range(80)]
    units = {
        f"item {n}": {"ann": t, "bob": t, "cid": t if chance.random() < 0.4 else chance.choice("abc")}
        for n, t in enumerate(truth)
    }

    found = agreement_of(TASK, units, dict(zip(units, truth, strict=True)))

    by_pair = {pair.annotators: pair for pair in found.pairs}
    assert by_pair["ann", "bob"].beyond_chance == pytest.approx(1)
    assert by_pair["ann", "cid"].beyond_chance < 0.8
    assert found.annotators["ann"].with_consensus == 1
    assert found.annotators["cid"].with_consensus < 0.8
    low, high = found.annotators["cid"].consensus_interval
    assert low < found.annotators["cid"].with_consensus < high
    assert found.annotators["cid"].answers == found.annotators["cid"].shared == 80
