"""Texts that are judged together: a class, a number, or the better of two answers."""

from __future__ import annotations

import itertools
import json
import random
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from label_studio_sdk.label_interface import LabelInterface
from scipy.stats import pearsonr, spearmanr

from goldloop.errors import AnnotationError, ItemError, ModelError, RecipeError
from goldloop.tasks import _text_pairs, tasks
from goldloop.tasks._text_pairs import pair_item, pair_text, texts_of

PAIR, ANSWERS = _text_pairs.PAIR, _text_pairs.ANSWERS
TEXTS = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}


def make(kind="text-pairs", **fields):
    return tasks.create({**tasks.get(kind).example_config(), **fields})


def model_of(task, model_type="bert", length=32, **fields):
    fields = fields or TEXTS
    examples = [example.item.text for example in task.examples()]
    checkpoint = {"from-config": {"model_type": model_type, "vocab_size": 400, **fields}}
    return task.model(checkpoint, texts=examples, settings={"max_length": length})


def score_task(**scale):
    return make("text-similarity", **({"scale": scale} if scale else {}))


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)


@settings(deadline=None, max_examples=80)
@given(st.lists(texts, min_size=2, max_size=3))
def test_any_texts_go_to_the_annotator_to_the_character(parts):
    item = pair_item(parts, "1")
    task = make() if len(parts) == 2 else make("text-preference")

    data = json.loads(json.dumps(task.task_data(item, None)))

    assert list(data.values()) == parts
    assert texts_of(item.text, list(data)) == parts
    task.check(item)


@pytest.mark.parametrize(
    "text", ["no JSON", '["one"]', '["a", "b", "c"]', '["a", 1]', '{"first": "a"}', "", None, "null"]
)
def test_an_item_of_another_form_is_refused_with_a_remedy(text):
    with pytest.raises(ItemError, match=r"JSON array of 2 texts.*kind: table"):
        texts_of(text, PAIR)


@pytest.mark.parametrize("kind", ["text-pairs", "text-similarity", "text-preference"])
def test_every_kind_refuses_an_item_that_is_one_text(kind):
    task = make(kind)
    item = SimpleNamespace(text="just a text", key="k")

    with pytest.raises(ItemError):
        task.check(item)
    with pytest.raises(ItemError):
        task.prepare(model_of(task), [{"text": "just a text"}])


def test_headings_stand_above_the_texts_as_they_are_written():
    config = make(headings=["Premise & $first", 'The "other"']).label_config()

    interface = LabelInterface(config)
    interface.validate()
    assert 'value="Premise &amp; $\u2060first"' in config
    assert 'value="The &quot;other&quot;"' in config
    assert [shown.name for shown in interface.objects] == ["first", "second"]


@pytest.mark.parametrize("headings", [["one"], ["a", "b", "c"], ["", "b"], ["a\nb", "c"]])
def test_headings_that_do_not_fit_are_refused(headings):
    with pytest.raises(RecipeError):
        make(headings=headings)


def test_a_preference_shows_the_prompt_above_the_answers_and_without_one_the_answers_alone():
    with_prompt, without = make("text-preference"), make("text-preference", prompt=False)

    assert [shown.name for shown in LabelInterface(with_prompt.label_config()).objects] == list(ANSWERS)
    assert [shown.name for shown in LabelInterface(without.label_config()).objects] == list(PAIR)
    assert without.task_data(without.examples()[0].item, None).keys() == set(PAIR)


def test_a_preference_knows_first_second_and_tie_unless_told_otherwise():
    task = tasks.create({"kind": "text-preference"})

    assert task.classes == ("first", "second", "tie")
    assert tasks.create({"kind": "text-preference", "classes": ["a", "b"]}).classes == ("a", "b")


NETWORKS = {
    "bert": TEXTS,
    "distilbert": {"dim": 32, "n_layers": 1, "n_heads": 2, "hidden_dim": 64},
    "roberta": {**TEXTS, "type_vocab_size": 1},
}


@pytest.mark.parametrize("model_type", NETWORKS)
def test_the_network_reads_both_texts_with_the_segments_that_it_knows(model_type):
    task = make()
    model = model_of(task, model_type, length=64, **NETWORKS[model_type])

    (row,) = task.prepare(model, [{"text": pair_text(["one two", "three"]), "label": 1}])
    batch = task.batch([row], model)
    task.predict(model, task.outputs(model, batch))

    read = model.processor.decode(row["input_ids"])
    assert read.count("[SEP]") == 2
    assert read.index("one two") < read.index("three")
    assert ("token_type_ids" in batch.inputs) == (model_type == "bert")
    if model_type == "bert":
        second = row["token_type_ids"].index(1)
        assert model.processor.decode(row["input_ids"][second:]).strip().startswith("three")


def test_padding_keeps_ids_mask_and_segments_of_one_width():
    task = make()
    model = task.example_model()
    pairs = [pair_text(["a", "b"]), pair_text(["a " * 20, "b " * 9])]
    rows = task.prepare(model, [{"text": text} for text in pairs])

    batch = task.batch(rows, model)

    assert {tuple(tensor.shape) for tensor in batch.inputs.values()} == {(2, batch.padded_tokens // 2)}
    assert batch.tokens == sum(len(row["input_ids"]) for row in rows)
    assert int(batch.inputs["token_type_ids"][1].sum()) == sum(rows[1]["token_type_ids"])


def test_of_two_long_texts_both_are_cut_and_all_that_is_lost_is_counted():
    task = make()
    model = task.example_model()
    long = pair_text(["guitar " * 300, "plays " * 300])

    (row,) = task.prepare(model, [{"text": long}])

    read = model.processor.decode(row["input_ids"])
    whole = len(model.processor("guitar " * 300, "plays " * 300)["input_ids"])
    assert len(row["input_ids"]) == 96
    assert row["truncated_tokens"] == whole - 96
    assert read.count("guitar") > 5
    assert read.count("plays") > 5


def test_a_long_prompt_leaves_both_answers_their_room():
    task = make("text-preference")
    model = model_of(task, length=48)
    prompt, first, second = "capital " * 200, "fine answer", "no idea"

    (row,) = task.prepare(model, [{"text": pair_text([prompt, first, second])}])

    read = " ".join(model.processor.decode(row["input_ids"]).split())
    assert first in read
    assert second in read
    assert "capital capital" in read
    assert len(row["input_ids"]) <= 48
    assert row["truncated_tokens"] > 100


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 50), min_size=2, max_size=4), st.integers(4, 80))
def test_shares_fill_the_room_and_short_texts_keep_all(lengths, room):
    shares = _text_pairs._shares(lengths, room)

    needed = [max(1, length) for length in lengths]
    assert all(1 <= share <= need for share, need in zip(shares, needed, strict=True))
    assert sum(shares) <= max(room, len(lengths))
    if sum(needed) <= room:
        assert shares == needed
    cut = [share for share, need in zip(shares, needed, strict=True) if share < need]
    assert not cut or max(shares) - min(cut) <= 1


def test_a_length_without_room_for_two_texts_is_refused():
    with pytest.raises(ModelError, match="room"):
        model_of(make(), length=4)


def test_a_fresh_network_learns_its_words_from_both_texts():
    task = make()
    model = task.example_model()

    assert len(model.processor.tokenize("entailment")) <= 3


@settings(deadline=None, max_examples=80)
@given(st.floats(-3, 7), st.booleans())
def test_any_number_on_the_scale_goes_round(number, as_text):
    task = score_task(least=-3, most=7, step=0.5)
    item = task.examples()[0].item
    target = task.parse(repr(number) if as_text else number, item)

    result = json.loads(json.dumps(task.encode(target, item)))

    assert LabelInterface(task.label_config()).validate_prediction({"result": result})
    assert abs(target - number) <= 1e-6
    assert task.decode(result, item) == target == task.from_row(task.to_row(target))
    assert json.dumps(task.parse(target, item)) == json.dumps(target)


@pytest.mark.parametrize("value", [6, -0.1, float("nan"), float("inf"), "5 stars", None, True, [3], {}])
def test_what_is_no_number_on_the_scale_is_refused(value):
    task = score_task()
    item = task.examples()[0].item

    with pytest.raises(AnnotationError, match=item.key):
        task.parse(value, item)


def test_an_answer_of_none_or_two_numbers_is_refused():
    task = score_task()
    item = task.examples()[0].item
    region = task.encode(3.0, item)[0]

    assert task.decode([region], item) == 3
    for results in ([], [region, region], [{**region, "value": {"number": "3"}}]):
        with pytest.raises(AnnotationError, match=item.key):
            task.decode(results, item)


@pytest.mark.parametrize(
    "scale", [{"least": 5, "most": 5}, {"step": 0}, {"step": 6}, {"most": float("inf")}, {"stp": 1}]
)
def test_a_scale_without_steps_is_refused(scale):
    with pytest.raises(RecipeError):
        make("text-similarity", scale=scale)


def test_agreement_falls_with_the_distance_on_the_scale():
    task = score_task(least=1, most=5, step=1)

    assert [task.agreement(1.0, other) for other in (1.0, 2.0, 5.0)] == [1, 0.75, 0]


@pytest.mark.parametrize(
    ("answers", "majority", "unanimous"),
    [
        ([3.0, 4.0], 3.5, 3.5),
        ([0.0, 5.0], None, None),
        ([0.0, 0.0, 5.0], 0.0, None),
        ([1.0, 3.0, 5.0], None, None),
        ([2.0, 3.0, 4.0], 3.0, None),
        ([], None, None),
    ],
)
def test_a_consensus_is_the_median_of_answers_that_lie_together(answers, majority, unanimous):
    task = score_task()

    for order in itertools.permutations(answers):
        assert task.consensus(list(order), "majority") == majority
        assert task.consensus(list(order), "unanimous") == unanimous


def test_the_tolerance_says_what_lies_together():
    task = make("text-similarity", tolerance=0)

    assert task.consensus([3.0, 4.0], "majority") is None
    assert task.consensus([3.0, 3.0, 4.0], "majority") == 3


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=30))
def test_correlations_are_those_of_scipy_and_constant_answers_have_a_figure(pairs):
    predicted, expected = ([float(value) for value in side] for side in zip(*pairs, strict=True))

    score = score_task().score(predicted, expected)

    assert all(-1 <= value <= 1 for value in score.values())
    if len(set(predicted)) > 1 and len(set(expected)) > 1:
        assert score["spearman"] == pytest.approx(spearmanr(predicted, expected).statistic, abs=1e-9)
        assert score["pearson"] == pytest.approx(pearsonr(predicted, expected).statistic, abs=1e-9)
    else:
        assert score["spearman"] == score["pearson"] == float(predicted == expected)


def test_constant_answers_are_perfect_only_if_they_are_right():
    task = score_task()

    assert set(task.score([3.0, 3.0], [3.0, 3.0]).values()) == {1.0}
    assert task.score([3.0, 3.0], [2.0, 3.0]) == {"spearman": 0, "pearson": 0, "closeness": 0.9}


def test_a_model_s_number_stays_on_the_scale_and_is_surer_near_a_step():
    task = score_task(least=1, most=5, step=1)

    found = task.predict(None, SimpleNamespace(logits=torch.tensor([[-3.0], [9.0], [0.5], [0.7]])))

    assert [prediction.target for prediction in found] == [1, 5, 3, 4]
    assert [prediction.confidence for prediction in found] == pytest.approx([1, 1, 1, 0.6])


def test_a_model_answers_in_whole_steps_also_where_they_do_not_fill_the_scale():
    task = score_task(least=0, most=5, step=2)

    found = task.predict(None, SimpleNamespace(logits=torch.tensor([[1.0], [0.5], [0.1]])))

    assert [prediction.target for prediction in found] == [4, 2, 0]


def test_the_network_learns_a_number_as_a_regression():
    task = score_task()
    model = task.example_model()
    batch = task.batch(task.prepare(model, [{"text": pair_text(["a", "b"]), "score": 2.5}]), model)

    assert model.network.config.problem_type == "regression"
    assert batch.targets.tolist() == [0.5]
    assert task.loss(SimpleNamespace(logits=torch.tensor([[1.0]])), batch).item() == pytest.approx(0.25)


def test_rows_with_and_without_a_number_do_not_mix():
    task = score_task()
    model = task.example_model()
    rows = task.prepare(
        model, [{"text": pair_text(["a", "b"]), "score": 0.0}, {"text": pair_text(["a", "b"])}]
    )

    assert task.batch(rows[:1], model).targets.tolist() == [0]
    with pytest.raises(ValueError, match="1 of 2"):
        task.batch(rows, model)


def test_a_network_learns_from_the_second_text_what_the_first_does_not_say():
    """The same two words make a pair of one class in one order and of the other class in the other."""
    task = make(classes=["up", "down"])
    pairs = [(["one", "two"], "up"), (["two", "one"], "down")]
    rows = [
        {"key": str(number), "text": pair_text(parts), **task.to_row(name)}
        for number, (parts, name) in enumerate(pairs * 4)
    ]
    random.Random(0).shuffle(rows)
    torch.manual_seed(0)
    model = model_of(task, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **TEXTS)
    batch = task.batch(task.prepare(model, rows), model)
    optimizer = torch.optim.AdamW(model.network.parameters(), lr=5e-3)
    for _ in range(60):
        loss = task.loss(model.network(**batch.inputs), batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.network.eval()

    with torch.no_grad():
        answers = [prediction.target for prediction in task.predict(model, task.outputs(model, batch))]

    assert answers == [task.from_row(row) for row in rows]
