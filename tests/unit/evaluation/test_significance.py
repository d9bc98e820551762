from __future__ import annotations

import numpy
import pytest

from goldloop.errors import ModelError
from goldloop.evaluation import significance
from goldloop.evaluation.significance import compare, intervals, paired_difference
from goldloop.tasks import tasks
from goldloop.tasks.text_classification import TextClassification

CLASSES = ["a", "b", "c", "never"]


def task_of(classes=CLASSES):
    return tasks.create({"kind": "text-classification", "classes": classes})


def sample(items, accuracy, seed, classes=3):
    generator = numpy.random.default_rng(seed)
    expected = generator.integers(classes, size=items)
    wrong = (expected + generator.integers(1, classes, size=items)) % classes
    predicted = numpy.where(generator.random(items) < accuracy, expected, wrong)
    return [CLASSES[number] for number in predicted], [CLASSES[number] for number in expected]


class Unlike(TextClassification):
    """A task whose figures have the usual names and another meaning."""

    class Config(TextClassification.Config):
        pass

    def summarize(self, tallies):
        return {name: value**2 for name, value in super().summarize(tallies).items()}


def test_every_figure_has_an_interval_around_it():
    predicted, expected = sample(120, 0.8, 0)
    found = intervals(task_of(), predicted, expected)
    assert found.keys() == task_of().score(predicted, expected).keys()
    for name, value in task_of().score(predicted, expected).items():
        assert found[name].value == pytest.approx(value)
        assert found[name].low < value < found[name].high


def test_the_same_answers_give_the_same_intervals():
    predicted, expected = sample(50, 0.7, 1)
    assert intervals(task_of(), predicted, expected) == intervals(task_of(), predicted, expected)


def test_counting_gives_what_scoring_each_resample_gives(monkeypatch):
    predicted, expected = sample(80, 0.7, 2)
    monkeypatch.setattr(significance, "RESAMPLES", significance.SLOW_RESAMPLES)
    fast = intervals(task_of(), predicted, expected)
    monkeypatch.setattr(significance, "_FROM_CONFUSION", {})
    slow = intervals(task_of(), predicted, expected)
    for name, estimate in fast.items():
        assert estimate.low == pytest.approx(slow[name].low)
        assert estimate.high == pytest.approx(slow[name].high)


def test_a_figure_that_means_something_else_is_scored_by_its_task():
    predicted, expected = sample(60, 0.7, 3)
    plain = intervals(task_of(), predicted, expected)["accuracy"]
    squared = intervals(Unlike(task_of().config), predicted, expected)["accuracy"]
    assert squared.value == pytest.approx(plain.value**2)
    assert squared.low == pytest.approx(plain.low**2, abs=0.05)
    assert squared.high == pytest.approx(plain.high**2, abs=0.05)


def test_intervals_of_accuracy_hold_the_truth_about_as_often_as_they_say():
    truth, held = 0.85, 0
    for seed in range(100):
        found = intervals(task_of(), *sample(150, truth, seed))["accuracy"]
        held += found.low <= truth <= found.high
    assert 88 <= held <= 100


def test_a_model_without_an_error_is_not_certain_to_be_perfect():
    answers = ["a", "b"] * 15
    found = intervals(task_of(), answers, answers)["accuracy"]
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(0.884, abs=0.001)
    nothing = intervals(task_of(), ["c"] * 30, answers)["accuracy"]
    assert (nothing.value, nothing.low) == (0, 0)
    assert nothing.high == pytest.approx(0.116, abs=0.001)


def test_a_difference_is_that_of_the_figures_on_the_same_items(make_report):
    challenger, champion = make_report(0.8, seed=1), make_report(0.95, seed=2, model="mail/1")
    found = compare(tasks.create(challenger.task), challenger, champion, "accuracy")
    wanted = challenger.metrics["accuracy"].value - champion.metrics["accuracy"].value
    assert found.difference.value == pytest.approx(wanted)
    assert found.challenger == pytest.approx(challenger.metrics["accuracy"].value)
    assert found.difference.low < wanted < found.difference.high < 0
    assert found.chance < 0.01
    assert len(found.keys) == 200


def test_models_with_the_same_answers_do_not_differ(make_report):
    report = make_report(0.8)
    found = compare(tasks.create(report.task), report, report, "macro_f1")
    assert found.difference.model_dump() == {"value": 0, "low": 0, "high": 0}
    assert (found.chance, found.differing) == (1, 0)


def test_pairing_sees_what_two_intervals_apart_do_not(make_report):
    champion = make_report(0.7, seed=5, items=400, model="mail/1")
    flipped = {item.key for item in champion.items if not item.wrong}
    worse = set(sorted(flipped)[:10])
    items = tuple(
        item.model_copy(update={"predicted": _other(item.expected), "agreement": 0.0})
        if item.key in worse
        else item
        for item in champion.items
    )
    challenger = champion.model_copy(update={"items": items, "model": "mail/2"})
    found = paired_difference(tasks.create(champion.task), challenger, champion, "accuracy")
    assert found.value == pytest.approx(-10 / 400)
    assert found.high < 0
    assert found.high - found.low < 0.04


def _other(name):
    return "class 0" if name != "class 0" else "class 1"


def test_counted_comparisons_agree_with_scored_ones(make_report):
    challenger, champion = make_report(0.8, seed=1), make_report(0.86, seed=2, model="mail/1")
    config = tasks.create(challenger.task).config
    fast = compare(TextClassification(config), challenger, champion, "macro_f1")

    class Slow(TextClassification):
        def confusion(self, predicted, expected):
            return ()

    slow = compare(Slow(config), challenger, champion, "macro_f1")
    assert slow.difference.value == pytest.approx(fast.difference.value)
    assert slow.difference.low == pytest.approx(fast.difference.low, abs=0.02)
    assert slow.difference.high == pytest.approx(fast.difference.high, abs=0.02)
    assert slow.chance == pytest.approx(fast.chance, abs=0.06)


def test_items_that_one_model_may_not_be_judged_by_are_left_out_of_the_comparison(make_report):
    challenger = make_report(0.8, seed=1)
    champion = make_report(0.9, seed=2, model="mail/1", shown={4: ["mail/1"], 9: ["mail/1"]})
    found = compare(tasks.create(challenger.task), challenger, champion, "accuracy")
    assert len(found.keys) == 198
    assert not set(champion.left_out) & set(found.keys)


def test_reports_on_other_items_are_not_compared(make_report):
    challenger, champion = make_report(items=100), make_report(items=90, model="mail/1")
    with pytest.raises(ModelError, match=r"not judged by the same items .* 10 items differ, such as \w{64}"):
        compare(tasks.create(challenger.task), challenger, champion, "accuracy")


def test_reports_with_other_labels_are_not_compared(make_report):
    challenger, champion = make_report(), make_report(labels=1, model="mail/1")
    with pytest.raises(ModelError, match="not judged by the same items and labels"):
        compare(tasks.create(challenger.task), challenger, champion, "accuracy")


def test_reports_without_a_common_item_say_so(make_report):
    challenger = make_report(items=2, shown={0: ["mail/2"]})
    champion = make_report(items=2, model="mail/1", shown={1: ["mail/1"]})
    with pytest.raises(ModelError, match="judged by no item in common"):
        compare(tasks.create(challenger.task), challenger, champion, "accuracy")
