"""Spans between people, files and networks."""

from __future__ import annotations

import json
import random
import warnings

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from goldloop.errors import AnnotationError
from goldloop.records import Item, content_key
from goldloop.tasks import tasks
from goldloop.tasks._token_models import spans_in, tag_tokens, tokenize, torn, windows_of


def task_of(**fields):
    return tasks.create({"kind": "token-classification", "classes": ["person", "place"], **fields})


def item_of(text):
    key = content_key(text.encode())
    return Item(
        key=key, modality="text", uri="u", group=key, source="0:t", text=text, media_type="text/plain"
    )


def span(text, name, label="person", start=0):
    place = text.index(name, start)
    return {"label": label, "start": place, "end": place + len(name), "text": name}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return task_of().example_model()


def test_no_span_is_an_answer():
    task, item = task_of(), item_of("nothing here")

    assert task.decode([], item) == []
    assert task.score([[]], [[]])["f1"] == 1


def test_overlaps_are_refused_by_both_regions_or_kept():
    text = "New York Times"
    item = item_of(text)
    spans = [span(text, "New York", "place"), span(text, "York Times", "person")]
    results = task_of(overlaps="keep").encode(spans, item)

    with pytest.raises(AnnotationError, match="share characters") as caught:
        task_of().decode(results, item)
    assert all(region["id"] in str(caught.value) for region in results)
    assert task_of(overlaps="keep").decode(results, item) == spans


def test_the_same_span_twice_is_one():
    text = "Ada"
    item = item_of(text)
    (region,) = task_of().encode([span(text, "Ada")], item)

    assert task_of().decode([region, {**region, "id": "other"}], item) == [span(text, "Ada")]


def test_a_line_end_within_a_span_is_quoted_as_the_editor_does():
    text = "in New\r\nYork"
    item = item_of(text)

    (region,) = task_of().encode([span(text, "New\r\nYork", "place")], item)

    assert region["value"]["text"] == r"New\n\nYork"
    assert task_of().decode([region], item) == [span(text, "New\r\nYork", "place")]


@pytest.mark.parametrize(
    ("answers", "majority", "unanimous"),
    [("a a", "a", "a"), ("a b", None, None), ("a ab a", "a", None), ("a - -", "", None), ("- -", "", "")],
)
def test_what_more_than_half_have_marked_is_marked(answers, majority, unanimous):
    text = "a b"
    spans = {"a": span(text, "a"), "b": span(text, "b")}

    def read(names):
        return None if names is None else [spans[name] for name in names if name in spans]

    given = [read(names) for names in answers.split(" ")]
    assert task_of().consensus(given, "majority") == read(majority)
    assert task_of().consensus(given, "unanimous") == read(unanimous)


@pytest.mark.parametrize("seed", range(5))
def test_figures_are_those_of_seqeval(seed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from seqeval.metrics import f1_score, precision_score, recall_score
        from seqeval.scheme import IOB2
    chance = random.Random(seed)
    task = task_of()

    def sentence():
        tags = []
        while len(tags) < 12:
            if chance.random() < 0.4:
                label = chance.choice(["person", "place"])
                tags += [f"B-{label}"] + [f"I-{label}"] * chance.randrange(3)
            else:
                tags.append("O")
        return tags

    def spans_of(tags):
        found = []
        for place, tag in enumerate(tags):
            if tag[0] == "B":
                found.append({"label": tag[2:], "start": place, "end": place + 1, "text": "x"})
            elif tag[0] == "I":
                found[-1]["end"] = place + 1
        return found

    truth = [sentence() for _ in range(20)]
    answers = [tags if chance.random() < 0.5 else sentence()[: len(tags)] for tags in truth]
    answers = [tags + ["O"] * (len(true) - len(tags)) for tags, true in zip(answers, truth, strict=True)]
    answers = [tags[: len(true)] for tags, true in zip(answers, truth, strict=True)]

    found = task.score([spans_of(tags) for tags in answers], [spans_of(tags) for tags in truth])

    strict = {"mode": "strict", "scheme": IOB2}
    assert found["f1"] == pytest.approx(f1_score(truth, answers, **strict))
    assert found["precision"] == pytest.approx(precision_score(truth, answers, **strict))
    assert found["recall"] == pytest.approx(recall_score(truth, answers, **strict))
    assert found["macro_f1"] == pytest.approx(f1_score(truth, answers, average="macro", **strict))


words = st.sampled_from(
    ["Ada", "\N{GRINNING FACE}", "e\u0301", "\u6771\u4eac", "x\u200dy", "don't", "\U0001d4b3", "a.b", "42"]
)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(words, min_size=1, max_size=12),
    st.sampled_from([" ", "  ", "\r\n", "\t", "\n "]),
    st.integers(0),
)
def test_spans_of_words_survive_the_tokens(parts, blank, seed):
    """Tags made of spans, read as spans again: nothing moves by a character."""
    torch.manual_seed(0)
    model = task_of().example_model()
    text = blank.join(parts)
    chance = random.Random(seed)
    spans, place = [], 0
    for part in parts:
        if chance.random() < 0.5:
            spans.append({"label": chance.randrange(2), "start": place, "end": place + len(part)})
        place += len(part) + len(blank)
    ((_, places),) = tokenize([text], model)
    if torn(places, spans):
        return
    probabilities = torch.nn.functional.one_hot(torch.tensor(tag_tokens(places, spans)), 5).float()

    found = spans_in(probabilities, places, text, ["person", "place"])

    wanted = [(each["start"], each["end"], each["label"]) for each in spans]
    assert [(each["start"], each["end"], int(each["label"] == "place")) for each in found] == wanted
    assert all(text[each["start"] : each["end"]] == each["text"] for each in found)


@given(st.integers(0, 500), st.integers(8, 64))
def test_windows_cover_every_token_and_none_is_read_at_an_edge_only(tokens, length):
    windows = windows_of(tokens, length)

    covered = numpy.zeros(tokens, dtype=int)
    for start, end in windows:
        assert 0 <= end - start <= length
        covered[start:end] += 1
    assert (covered > 0).all()
    for position in range(tokens):
        depths = [
            min(position - start if start else length, end - 1 - position if end < tokens else length)
            for start, end in windows
            if start <= position < end
        ]
        assert max(depths) >= (length // 4 - 1) // 2


def test_a_long_text_is_read_whole_and_is_read_as_in_one_window(model):
    task = task_of()
    text = " ".join(f"Ada met Lima number {number}." for number in range(60))

    prepared = task.prepare(model, [{"key": "k", "text": text}])
    batch = task.batch(prepared, model)

    assert len(batch.context["windows"]) > 3
    assert len(prepared[0]["input_ids"]) > 200
    with torch.no_grad():
        (prediction,) = task.predict(model, task.outputs(model, batch))
    for each in prediction.target:
        assert text[each["start"] : each["end"]] == each["text"]
    json.dumps(prediction.target)


def test_a_text_of_a_megabyte_is_read_without_loss(model):
    task = task_of()
    text = ("Ada \N{GRINNING FACE} met Lima.\r\n" * 60_000)[:1_000_000]

    (prepared,) = task.prepare(model, [{"key": "k", "text": text}])

    assert prepared["places"][-1, 1] >= len(text) - 8
    assert len(windows_of(len(prepared["input_ids"]), 62)) > 4_000
    assert "".join(map(chr, prepared["code_points"][:40])) == text[:40]


def test_training_on_a_huge_text_takes_some_of_its_windows(model):
    task = task_of()
    text = "Ada met Lima. " * 3_000
    row = {"key": "k", "text": text, **task.to_row([span(text, "Ada")])}
    batch = task.batch(task.prepare(model, [row]), model)

    taken = task.augment(batch, model, torch.Generator().manual_seed(1))

    assert len(batch.inputs["input_ids"]) > 100
    assert len(taken.inputs["input_ids"]) == len(taken.targets) == 64


def test_a_batch_without_a_token_has_no_loss(model):
    task = task_of()
    batch = task.batch(task.prepare(model, [{"key": "k", "text": "", "spans": []}]), model)

    assert float(task.loss(model.network(**batch.inputs), batch).detach()) == 0


def test_spans_inside_tokens_are_counted(model):
    ((_, places),) = tokenize(["Adalbert"], model)

    assert torn(places, [{"label": 0, "start": 0, "end": 8}]) == 0
    assert torn(places, [{"label": 0, "start": 0, "end": 8}, {"label": 0, "start": 0, "end": 99}]) == 1
