"""What all task types with any number of classes have in common."""

from __future__ import annotations

import itertools
import json
import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from label_studio_sdk.label_interface import LabelInterface
from sklearn.metrics import f1_score, precision_recall_fscore_support

from goldloop.errors import AnnotationError, ModelError, RecipeError, VersionError
from goldloop.tasks import tasks
from goldloop.tasks.base import Batch, LossOptions

CLASSES = ("roads", "lighting", "waste")
AWKWARD = ('say "hi"', "a & b", "x < y > z", "it's", "😀", "$text", "a|b", "[x]", "]]>", "שלום")


def make(*classes, **fields):
    return tasks.create({"kind": "text-multilabel", "classes": classes or CLASSES, **fields})


@pytest.fixture
def item():
    return make().examples()[0].item


names = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp", "Cn")), min_size=1).filter(
    lambda name: name == name.strip()
)


@settings(deadline=None, max_examples=60)
@given(st.data(), st.lists(names, min_size=1, max_size=12))
def test_any_set_of_any_classes_goes_round_label_studio_and_rows(data, classes):
    try:
        task = make(*classes)
    except RecipeError:
        return
    item = task.examples()[0].item
    interface = LabelInterface(task.label_config())
    interface.validate()
    target = [name for name in task.classes if data.draw(st.booleans())]

    result = json.loads(json.dumps(task.encode(target, item)))

    assert interface.validate_prediction({"result": result})
    assert task.decode(result, item) == target
    assert task.from_row(task.to_row(target)) == target
    assert task.parse(json.loads(json.dumps(target)), item) == target
    assert task.parse(json.dumps(target), item) == target


def test_nothing_chosen_is_an_answer_with_an_empty_result(item):
    task = make()

    assert task.encode([], item) == []
    assert task.decode([], item) == []
    assert task.decode([{**task.encode(["waste"], item)[0], "value": {"choices": []}}], item) == []
    assert task.describe([]) == "no class"


def test_the_interface_lets_annotators_choose_several_or_nothing():
    control = LabelInterface(make(*AWKWARD).label_config()).get_control("labels")

    assert tuple(control.labels) == AWKWARD
    assert control.attr["choice"] == "multiple"
    assert control.attr["required"] == "false"


def test_an_answer_is_in_the_order_of_the_classes_and_names_none_twice(item):
    task = make()
    region = task.encode(["roads"], item)[0]

    assert task.decode([{**region, "value": {"choices": ["waste", "roads", "waste"]}}], item) == [
        "roads",
        "waste",
    ]
    assert task.parse(["waste", "roads", "waste"], item) == ["roads", "waste"]


@pytest.mark.parametrize(
    ("value", "target"),
    [
        ("waste", ["waste"]),
        ("waste|roads", ["roads", "waste"]),
        (" waste | roads ", ["roads", "waste"]),
        ('["waste", "roads"]', ["roads", "waste"]),
        ("[]", []),
        ([], []),
    ],
)
def test_a_table_says_classes_in_one_text(item, value, target):
    assert make().parse(value, item) == target


def test_a_class_whose_name_has_a_bar_or_a_bracket_is_itself(item):
    task = make("a|b", "[x]", "a", "b")

    assert task.parse("a|b", item) == ["a|b"]
    assert task.parse("[x]", item) == ["[x]"]
    assert task.parse("b|a", item) == ["a", "b"]


@pytest.mark.parametrize(
    "value", ["rads", "roads|", '["roads"', '["rads"]', "", {"roads": 1}, [["roads"]], 1.5]
)
def test_what_names_no_class_is_refused(item, value):
    with pytest.raises(AnnotationError):
        make().parse(value, item)


def test_a_name_that_is_nearly_a_class_is_told(item):
    with pytest.raises(AnnotationError, match="Did you mean 'roads'"):
        make().parse(["raods"], item)


def test_two_regions_and_choices_that_are_no_names_are_refused(item):
    task = make()
    region = task.encode(["waste"], item)[0]

    with pytest.raises(AnnotationError, match="more than one answer"):
        task.decode([region, region], item)
    for choices in ("waste", [1], None):
        with pytest.raises(AnnotationError, match=item.key):
            task.decode([{**region, "value": {"choices": choices}}], item)


def test_an_id_that_the_registry_does_not_have_is_refused():
    with pytest.raises(VersionError):
        make().from_row({"labels": [3]})


def test_former_names_count_for_the_present_ones(item):
    task = make(renamed={"rubbish": "waste", "trash": "waste"})

    assert task.parse(["trash", "rubbish", "roads"], item) == ["roads", "waste"]
    assert task.present(["rubbish"]) == ["waste"]


def test_agreement_is_the_share_of_classes_that_both_chose():
    task = make()

    assert task.agreement([], []) == 1
    assert task.agreement([], ["waste"]) == 0
    assert task.agreement(["roads", "waste"], ["waste", "lighting"]) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("answers", "majority", "unanimous"),
    [
        ([["roads"], ["roads"], []], ["roads"], None),
        ([["roads"], ["roads", "waste"], ["roads", "waste"]], ["roads", "waste"], None),
        ([["roads"], ["waste"]], None, None),
        ([["roads", "waste"], ["waste"]], None, None),
        ([["roads"], ["lighting"], ["waste"]], [], None),
        ([[], []], [], []),
        ([["waste"], ["waste"]], ["waste"], ["waste"]),
        ([], None, None),
    ],
)
def test_each_class_has_its_own_majority_and_a_tie_on_any_leaves_no_answer(answers, majority, unanimous):
    task = make()

    for order in itertools.permutations(answers):
        assert task.consensus(list(order), "majority") == majority
        assert task.consensus(list(order), "unanimous") == unanimous


sets = st.lists(st.sampled_from(CLASSES), unique=True).map(lambda names: sorted(names, key=CLASSES.index))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(sets, sets), min_size=1, max_size=12))
def test_figures_are_those_of_scikit_learn(pairs):
    task = make()
    predicted, expected = (list(side) for side in zip(*pairs, strict=True))
    answers, truth = (
        [[name in target for name in CLASSES] for target in side] for side in (predicted, expected)
    )
    appearing = [
        number
        for number in range(len(CLASSES))
        if any(row[number] for row in answers) or any(row[number] for row in truth)
    ]

    score = task.score(predicted, expected)
    figures = task.per_class(predicted, expected)

    assert score["exact_match"] == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))
    assert score["micro_f1"] == pytest.approx(f1_score(truth, answers, average="micro", zero_division=1))
    if appearing:
        macro = f1_score(truth, answers, labels=appearing, average="macro", zero_division=0)
        assert score["macro_f1"] == pytest.approx(macro)
    columns = zip(*precision_recall_fscore_support(truth, answers, zero_division=0), strict=True)
    for name, column in zip(CLASSES, columns, strict=True):
        assert list(figures[name].values()) == pytest.approx([float(value) for value in column])


def test_all_empty_answers_score_perfectly_and_one_class_too_many_costs():
    task = make()

    assert set(task.score([[], []], [[], []]).values()) == {1.0}
    assert task.score([["waste"], []], [[], []]) == {"micro_f1": 0, "macro_f1": 0, "exact_match": 0.5}


def outputs(*rows):
    return SimpleNamespace(logits=torch.tensor(rows))


def test_a_model_answers_every_class_from_the_threshold_on():
    logits = outputs([2.0, 0.0, -1.0])

    (even,) = make().predict(None, logits)
    (strict,) = make(confidence=0.8).predict(None, logits)
    (never,) = make(confidence=0.95).predict(None, logits)

    assert (even.target, strict.target, never.target) == (["roads", "lighting"], ["roads"], [])
    assert even.scores == pytest.approx({"roads": 0.8808, "lighting": 0.5, "waste": 0.2689}, abs=1e-4)


def test_a_model_is_as_sure_as_of_its_least_sure_class():
    sure, torn = make().predict(None, outputs([9.0, -9.0, 9.0], [9.0, 0.1, 9.0]))

    assert sure.confidence > 0.99
    assert torn.confidence == pytest.approx(1 / (1 + math.exp(-0.1)), abs=1e-4)


def test_logits_that_are_no_numbers_are_refused():
    with pytest.raises(ModelError, match="NaN"):
        make().predict(None, outputs([1.0, float("nan"), 0.0]))


def test_the_loss_is_the_binary_cross_entropy_of_each_class_with_smoothed_targets():
    logits, targets = torch.tensor([[1.0, -2.0, 0.5]]), torch.tensor([[1.0, 0.0, 1.0]])
    batch = Batch({}, targets, ("k",))

    def expected(smoothing):
        smooth = targets * (1 - smoothing) + smoothing / 2
        p = logits.sigmoid()
        return -(smooth * p.log() + (1 - smooth) * (1 - p).log()).mean()

    for smoothing in (0.0, 0.2):
        loss = make().loss(SimpleNamespace(logits=logits), batch, LossOptions(smoothing))
        assert loss.item() == pytest.approx(expected(smoothing).item(), rel=1e-5)


def test_prepared_rows_have_a_place_for_each_class_and_an_empty_answer_is_one():
    task = make()

    rows = [task.carried({"key": "k", "labels": labels}) for labels in ([0, 2], [])]

    assert [row["labels"].tolist() for row in rows] == [[1, 0, 1], [0, 0, 0]]
    assert task.targets_of(rows).tolist() == [[1, 0, 1], [0, 0, 0]]
    assert task.targets_of([{"key": "k"}]) is None
    with pytest.raises(ValueError, match="1 of 2"):
        task.targets_of([rows[0], {"key": "k"}])


@pytest.mark.parametrize("confidence", [0, 1, -0.1, float("nan")])
def test_a_threshold_that_decides_nothing_is_refused(confidence):
    with pytest.raises(RecipeError):
        make(confidence=confidence)
