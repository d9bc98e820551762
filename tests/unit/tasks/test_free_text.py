import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldloop.errors import AnnotationError, RecipeError
from goldloop.tasks import tasks
from goldloop.tasks._free_text import rouge, words

TASK = tasks.create({"kind": "text-generation"})
ITEM = TASK.examples()[0].item
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(TEXTS)
@settings(deadline=None, max_examples=200)
def test_a_text_comes_back_from_label_studio_and_from_a_row_exactly_as_written(text):
    result = json.loads(json.dumps(TASK.encode(text, ITEM)))

    assert TASK.decode(result, ITEM) == text
    assert TASK.parse(text, ITEM) == text
    assert TASK.from_row(TASK.to_row(text)) == text


def test_no_region_is_the_answer_of_no_text_and_no_text_is_no_region():
    assert TASK.decode([], ITEM) == ""
    assert TASK.encode("", ITEM) == []


def test_an_emptied_text_area_is_the_answer_of_no_text():
    [region] = TASK.encode("some", ITEM)

    assert TASK.decode([{**region, "value": {"text": []}}], ITEM) == ""
    assert TASK.decode([{**region, "value": {"text": [""]}}], ITEM) == ""


def test_a_text_that_is_no_list_is_read_as_the_editor_reads_it():
    [region] = TASK.encode("some", ITEM)

    assert TASK.decode([{**region, "value": {"text": " as typed\n"}}], ITEM) == " as typed\n"


def test_several_texts_in_a_region_are_refused_with_item_and_region_named():
    [region] = TASK.encode("one", ITEM)

    with pytest.raises(AnnotationError) as caught:
        TASK.decode([{**region, "value": {"text": ["one", "two"]}}], ITEM)

    assert ITEM.key in str(caught.value)
    assert region["id"] in str(caught.value)


def test_several_regions_are_refused_with_every_region_named():
    one, other = TASK.encode("one", ITEM)[0], TASK.encode("two", ITEM)[0]

    with pytest.raises(AnnotationError) as caught:
        TASK.decode([one, other], ITEM)

    assert one["id"] in str(caught.value)
    assert other["id"] in str(caught.value)


@pytest.mark.parametrize("entry", [None, 3, ["a"], {"text": "a"}])
def test_an_entry_that_is_no_text_is_refused(entry):
    [region] = TASK.encode("one", ITEM)

    with pytest.raises(AnnotationError, match="no text"):
        TASK.decode([{**region, "value": {"text": [entry]}}], ITEM)


def test_half_a_surrogate_pair_is_refused_as_no_file_can_hold_it():
    with pytest.raises(AnnotationError, match="Unicode"):
        TASK.parse("a\ud800", ITEM)


def test_classes_are_refused():
    with pytest.raises(RecipeError):
        TASK.with_classes(["one"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Cat's mat.", ["the", "cat", "s", "mat"]),
        ("STRASSE straße", ["strasse", "strasse"]),
        ("東京tower", ["東", "京", "tower"]),
        ("ひらがな", ["ひ", "ら", "が", "な"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("e\u0301te", ["\u00e9te"]),
        ("snake_case 42", ["snake_case", "42"]),
        ("?!", []),
        ("", []),
    ],
)
def test_words_of_any_script_are_told_apart(text, expected):
    assert words(text) == expected


def test_rouge_is_what_the_definition_says():
    found = rouge("the cat sat", "the cat sat on the mat")

    assert found["rouge_1"] == pytest.approx(2 * 1 * 0.5 / 1.5)
    assert found["rouge_l"] == pytest.approx(2 * 1 * 0.5 / 1.5)
    assert found["rouge_2"] == pytest.approx(2 * 1 * 0.4 / 1.4)


def test_order_counts_in_rouge_l_only():
    found = rouge("mat the on", "on the mat")

    assert found["rouge_1"] == 1
    assert found["rouge_l"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("text", ["", "?!", "word", "東"])
def test_equal_texts_score_one_in_every_figure_however_short(text):
    assert set(TASK.score([text], [text]).values()) == {1.0}


def test_an_answer_where_none_is_due_scores_nothing():
    assert set(TASK.score(["a word", ""], ["", "a word"]).values()) == {0.0}


def test_figures_are_means_over_the_items():
    score = TASK.score(["same", "other"], ["same", "thing"])

    assert score == {"rouge_l": 0.5, "rouge_1": 0.5, "rouge_2": 0.5, "exact_match": 0.5}


@given(TEXTS, TEXTS)
@settings(deadline=None, max_examples=200)
def test_only_equal_texts_agree_wholly(one, other):
    value = TASK.agreement(one, other)

    assert 0 <= value <= 1
    assert value == TASK.agreement(other, one)
    assert (value == 1) == (one == other)


def test_a_majority_is_more_than_half():
    assert TASK.consensus(["a", "b", "a"], "majority") == "a"
    assert TASK.consensus(["a", "b"], "majority") is None
    assert TASK.consensus(["a", "a", "b", "c"], "majority") is None
    assert TASK.consensus([], "majority") is None


def test_texts_that_differ_in_white_space_alone_are_one_answer_of_a_majority():
    assert TASK.consensus(["a b", "a  b", "c"], "majority") == "a b"
    assert TASK.consensus(["a\nb ", "a\nb ", "a b", "c"], "majority") == "a\nb "
    assert TASK.consensus(["", " ", "c"], "majority") == ""
    assert TASK.consensus(["a b", "ab", "c"], "majority") is None


@given(st.lists(st.sampled_from(["a b", "a  b", " a b", "c", ""]), max_size=6), st.randoms())
@settings(deadline=None, max_examples=100)
def test_a_consensus_is_one_of_the_answers_and_depends_on_no_order(answers, random):
    found = TASK.consensus(answers, "majority")
    shuffled = random.sample(answers, len(answers))

    assert found is None or found in answers
    assert TASK.consensus(shuffled, "majority") == found


def test_unanimous_is_all_the_same_to_the_character():
    assert TASK.consensus(["a", "a"], "unanimous") == "a"
    assert TASK.consensus(["a", "a "], "unanimous") is None


def test_a_long_answer_is_described_by_its_first_words_in_one_line():
    described = TASK.describe("first line\nsecond " + "word " * 50)

    assert described.startswith("first line second word")
    assert len(described) <= 80
    assert TASK.describe(" \n") == "(no text)"
