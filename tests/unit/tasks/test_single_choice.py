import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_studio_sdk.label_interface import LabelInterface
from pydantic import ValidationError

from goldloop.errors import AnnotationError, ModelError, RecipeError, VersionError
from goldloop.tasks import tasks

AWKWARD = ('say "hi"', "a & b", "x < y > z", "it's", "😀", "$text", "over $100", 'name="text"', "]]>", "שלום")


def make(*classes):
    return tasks.create({"kind": "text-classification", "classes": classes})


@pytest.fixture
def item():
    return make("a", "b").examples()[0].item


def region(task, item, **changes):
    return {**task.encode(task.classes[0], item)[0], **changes}


names = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp", "Cn")), min_size=1).filter(
    lambda name: name == name.strip()
)


@given(st.lists(names, min_size=2, max_size=15))
def test_any_class_names_are_refused_or_go_round_label_studio(classes):
    try:
        task = make(*classes)
    except RecipeError:
        return
    item = task.examples()[0].item
    interface = LabelInterface(task.label_config())
    interface.validate()
    assert list(interface.get_control("label").labels) == list(task.classes)
    for name in task.classes:
        result = task.encode(name, item)
        assert interface.validate_prediction({"result": result})
        assert task.decode(result, item) == name
        assert task.from_row(task.to_row(name)) == name


def test_awkward_class_names_are_accepted_and_shown_as_they_are(item):
    task = make(*AWKWARD)

    interface = LabelInterface(task.label_config())
    interface.validate()

    assert tuple(interface.get_control("label").labels) == AWKWARD


def test_a_dollar_sign_never_reaches_label_studio_as_a_variable():
    config = make("$text", "100$").label_config()

    assert 'value="$\u2060text" alias="$text"' in config
    assert 'value="100$"' in config


@pytest.mark.parametrize(
    ("classes", "reason"),
    [
        (["one"], "at least 2"),
        (["one", "one"], "twice"),
        (["caf\u00e9", "cafe\u0301"], "twice"),
        (["one", ""], "empty"),
        (["one", "  "], "empty"),
        (["one", " two"], "blank"),
        (["one", "two\nthree"], "line break"),
        (["one", "two\x00"], "XML"),
        (["one", "two\ud800"], "XML"),
    ],
)
def test_classes_that_cannot_be_told_apart_or_written_are_refused(classes, reason):
    with pytest.raises(ValidationError, match=reason):
        tasks.config({"kind": "text-classification", "classes": classes})


def test_with_classes_refuses_what_a_recipe_may_not_say():
    with pytest.raises(RecipeError, match="at least 2"):
        make("a", "b").with_classes(["a"])


def test_an_unknown_field_in_the_recipe_is_refused():
    with pytest.raises(RecipeError):
        tasks.create({"kind": "text-classification", "classes": ["a", "b"], "clases": ["c"]})


def test_digits_are_chosen_by_their_own_keys():
    assert '<Choice value="0" hotkey="0"/>' in make("0", "1", "2").label_config()
    assert '<Choice value="cat" hotkey="1"/>' in make("cat", "dog").label_config()


def test_only_the_first_ten_classes_have_keys_and_long_lists_stand_below_each_other():
    many = make(*(f"class {number}" for number in range(77))).label_config()

    assert many.count("hotkey=") == 10
    assert 'showInLine="false"' in many
    assert 'showInLine="true"' in make("a", "b").label_config()


def test_an_empty_answer_is_no_class(item):
    with pytest.raises(AnnotationError, match=f"{item.key}.*no class was chosen"):
        make("a", "b").decode([], item)


def test_two_regions_are_more_than_one_answer(item):
    task = make("a", "b")

    with pytest.raises(AnnotationError, match="more than one answer"):
        task.decode([*task.encode("a", item), *task.encode("b", item)], item)


@pytest.mark.parametrize(
    "choices", [["a", "b"], [], "a", [["a"]], [1], None, ["A"], ["a "]], ids=lambda choices: repr(choices)
)
def test_a_choice_that_is_not_one_known_class_is_refused(item, choices):
    task = make("a", "b")

    with pytest.raises(AnnotationError) as caught:
        task.decode([region(task, item, value={"choices": choices})], item)

    assert item.key in str(caught.value)
    assert region(task, item)["id"] in str(caught.value)
    assert caught.value.remedy


def test_an_unknown_class_is_answered_with_the_nearest(item):
    task = make("Billing", "delivery")

    with pytest.raises(AnnotationError, match="Did you mean 'Billing'"):
        task.decode([region(task, item, value={"choices": ["biling"]})], item)
    with pytest.raises(AnnotationError, match="Did you mean 'Billing'"):
        task.parse("billing", item)


def test_a_class_that_is_encoded_must_be_known(item):
    with pytest.raises(AnnotationError, match="unknown class"):
        make("a", "b").encode("c", item)


def test_parse_takes_whole_numbers_and_decomposed_accents(item):
    task = make("7", "caf\u00e9")

    assert task.parse(7, item) == "7"
    assert task.parse("cafe\u0301", item) == "caf\u00e9"


@pytest.mark.parametrize("value", [True, 7.0, None, ["7"], ""])
def test_parse_refuses_what_is_no_class_name(value, item):
    with pytest.raises(AnnotationError):
        make("7", "b").parse(value, item)


@pytest.mark.parametrize("identity", [-1, 2, None, "0", 0.5])
def test_a_row_with_an_unknown_class_id_is_refused(identity):
    with pytest.raises(VersionError, match="unknown class id"):
        make("a", "b").from_row({"label": identity})


@pytest.mark.parametrize(
    ("answers", "majority", "unanimous"),
    [
        ("a", "a", "a"),
        ("aa", "a", "a"),
        ("ab", None, None),
        ("aab", "a", None),
        ("aabb", None, None),
        ("aabc", "a", None),
        ("", None, None),
    ],
)
def test_consensus_follows_its_policy(answers, majority, unanimous):
    task = make("a", "b", "c")

    assert task.consensus(list(answers), "majority") == majority
    assert task.consensus(list(answers), "unanimous") == unanimous


def test_scores_are_those_worked_out_by_hand():
    score = make("a", "b", "c").score(list("aabb"), list("aaab"))

    assert score["accuracy"] == 0.75
    assert score["balanced_accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    assert score["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)


def test_a_class_that_was_only_predicted_counts_in_macro_f1():
    score = make("a", "b").score(["a", "b"], ["a", "a"])

    assert score["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)
    assert score["balanced_accuracy"] == 0.5


def test_per_class_figures_and_confusion_cover_classes_that_never_appear():
    task = make("a", "b", "c")

    assert task.confusion(list("aab"), list("abb")) == ((1, 0, 0), (1, 1, 0), (0, 0, 0))
    figures = task.per_class(list("aab"), list("abb"))
    assert figures["b"] == {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "support": 2.0}
    assert figures["c"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0.0}


def test_scoring_nothing_or_unpaired_answers_is_a_mistake():
    with pytest.raises(ValueError, match="nothing"):
        make("a", "b").score([], [])
    with pytest.raises(ValueError, match="1 answers for 2"):
        make("a", "b").score(["a"], ["a", "b"])


def test_a_network_that_diverged_is_told():
    import torch
    from transformers.modeling_outputs import SequenceClassifierOutput

    outputs = SequenceClassifierOutput(logits=torch.tensor([[float("nan"), 0.0]]))

    with pytest.raises(ModelError, match="numbers"):
        make("a", "b").predict(None, outputs)
