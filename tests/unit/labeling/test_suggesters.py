"""Models from elsewhere as a source of suggestions: by a real server, and by a real pipeline."""

from __future__ import annotations

import base64
import importlib.util
import json
import sys
from pathlib import Path

import pytest

from goldloop.errors import AnnotationError, ModelError, PluginError, RecipeError
from goldloop.labeling.config import LabelingConfig
from goldloop.labeling.suggesters import suggesters
from goldloop.records import Item, Prediction, content_key
from goldloop.tasks import tasks

_SPEC = importlib.util.spec_from_file_location("chat_server", Path(__file__).with_name("chat_server.py"))
assert _SPEC is not None
_MODULE = importlib.util.module_from_spec(_SPEC)
sys.modules["chat_server"] = _MODULE
assert _SPEC.loader is not None
_SPEC.loader.exec_module(_MODULE)
chat_server, says = _MODULE.chat_server, _MODULE.says

TASK = tasks.create({"kind": "text-classification", "classes": ["good", "bad"], "instructions": "Be kind."})


def _said(target, confidence) -> Prediction:
    return Prediction(target=target, confidence=confidence)


def _item(text: str) -> Item:
    key = content_key(text.encode())
    return Item(key=key, modality="text", uri="u", group=key, source="s", text=text, media_type="text/plain")


def _suggest(chat, *texts: str, task=TASK, **section):
    suggester = suggesters.create(
        {"kind": "openai", "url": chat.url, "model": "tiny", "parallel": 1, "timeout": 5, **section}
    )
    return suggester.suggest(task, [_item(text) for text in texts], texts)


@pytest.fixture(autouse=True)
def _no_key_and_no_pause(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr("goldloop.labeling.suggesters.openai._pause", lambda attempt, asked: 0.0)


def test_each_item_is_asked_about_by_itself_and_comes_back_in_order():
    def answer(request, number):
        text = request["messages"][1]["content"]
        return says(json.dumps({"answer": "good" if "fine" in text else "bad", "confidence": 0.75}))

    with chat_server(answer) as chat:
        found = _suggest(chat, "a fine day", "rain", "a fine soup", parallel=3)
    assert found == [_said("good", 0.75), _said("bad", 0.75), _said("good", 0.75)]
    assert len(chat.asked) == 3


def test_the_model_is_told_the_classes_the_instructions_and_the_form_and_no_truth():
    with chat_server(lambda request, number: says('{"answer": "good"}')) as chat:
        _suggest(chat, "a text", instructions="Mind the irony.")
    (request,) = chat.asked
    told = request["messages"][0]["content"]
    for words in ('["good", "bad"]', "Be kind.", "Mind the irony.", "text-classification", '"answer"'):
        assert words in told
    assert request["messages"][1] == {"role": "user", "content": "a text"}
    assert request["model"] == "tiny"
    assert request["temperature"] == 0
    assert request["response_format"] == {"type": "json_object"}
    assert "authorization" not in chat.headers[0]


def test_the_key_comes_from_the_environment_and_goes_to_the_server_alone(monkeypatch):
    monkeypatch.setenv("MY_KEY", "hush-hush")
    with (
        chat_server(lambda request, number: (401, {}, b"who are you")) as chat,
        pytest.raises(ModelError) as error,
    ):
        _suggest(chat, "a text", key_variable="MY_KEY")
    assert chat.headers[0]["authorization"] == "Bearer hush-hush"
    assert "hush-hush" not in str(error.value)
    assert "MY_KEY" in str(error.value)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("good", "not JSON"),
        ('{"answer": "good"', "not JSON"),
        ('{"label": "good"}', "another form"),
        ('["good"]', "another form"),
        ('{"answer": "goood"}', "good"),
        ('{"answer": 7}', ""),
        ('{"answer": null}', ""),
        ('{"answer": {"a": [1]}}', ""),
        ("", "says nothing"),
        (None, "says nothing"),
    ],
    ids=["bare", "cut", "field", "list", "class", "number", "null", "deep", "empty", "none"],
)
def test_an_answer_that_means_nothing_is_left_out_with_its_reason_and_the_rest_goes_on(words, why):
    def answer(request, number):
        return says(words if request["messages"][1]["content"] == "odd" else '{"answer": "bad"}')

    with chat_server(answer) as chat:
        first, odd, last = _suggest(chat, "one", "odd", "two")
    assert isinstance(odd, AnnotationError)
    assert why in str(odd)
    assert first == last == _said("bad", 0.5)


@pytest.mark.parametrize(
    "words",
    ['```json\n{"answer": "good", "confidence": 1}\n```', '  {"answer": "good", "confidence": 1}\n'],
    ids=["fenced", "blanks"],
)
def test_what_is_around_an_answer_does_no_harm(words):
    with chat_server(lambda request, number: says(words)) as chat:
        assert _suggest(chat, "a") == [_said("good", 1.0)]


@pytest.mark.parametrize("said", ["2", '"high"', "true", "-1", "NaN"])
def test_a_confidence_that_is_none_counts_for_nothing(said):
    with chat_server(lambda request, number: says(f'{{"answer": "good", "confidence": {said}}}')) as chat:
        assert _suggest(chat, "a") == [_said("good", 0.5)]


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_fault_of_the_moment_is_asked_again(status):
    def answer(request, number):
        return (status, {"Retry-After": "0"}, b"busy") if number < 2 else says('{"answer": "good"}')

    with chat_server(answer) as chat:
        assert _suggest(chat, "a") == [_said("good", 0.5)]
    assert len(chat.asked) == 3


def test_a_server_that_goes_on_failing_is_an_error_that_says_so():
    with (
        chat_server(lambda request, number: (503, {}, b"overloaded")) as chat,
        pytest.raises(ModelError, match="503"),
    ):
        _suggest(chat, "a", attempts=2)
    assert len(chat.asked) == 2


def test_a_question_that_the_server_cannot_take_is_left_out_and_one_that_is_no_completion_too():
    def answer(request, number):
        if request["messages"][1]["content"] == "long":
            return 400, {}, b'{"error": "too many tokens"}'
        return 200, {}, b"<html>hello</html>"

    with chat_server(answer) as chat:
        long, page = _suggest(chat, "long", "short")
    assert "too many tokens" in str(long)
    assert "no chat completion" in str(page)


def test_no_server_is_an_error_that_says_where():
    with chat_server(lambda request, number: says("")) as chat:
        url = chat.url
    suggester = suggesters.create({"kind": "openai", "url": url, "model": "tiny", "attempts": 1})
    with pytest.raises(ModelError, match="does not answer"):
        suggester.suggest(TASK, [_item("a")], ["a"])


def test_spans_are_held_against_the_text():
    task = tasks.create({"kind": "token-classification", "classes": ["PER", "ORG"]})
    example = next(iter(task.examples()))

    def answer(request, number):
        span = {**example.target[0], "label": "PER"} if isinstance(example.target[0], dict) else None
        return says(json.dumps({"answer": [] if number else [span | {"start": 100000, "end": 100004}]}))

    with chat_server(answer) as chat:
        beyond, nothing = _suggest(chat, "Ada Lovelace wrote.", "Nobody.", task=task)
    assert isinstance(beyond, AnnotationError)
    assert nothing == _said(task.parse([], _item("Nobody.")), 0.5)


def test_an_image_is_sent_as_it_is():
    task = tasks.create({"kind": "image-classification", "classes": ["cat", "dog"]})
    example = next(iter(task.examples()))
    with chat_server(lambda request, number: says('{"answer": "dog", "confidence": 0.9}')) as chat:
        suggester = suggesters.create({"kind": "openai", "url": chat.url, "model": "tiny"})
        assert suggester.suggest(task, [example.item], [example.content]) == [_said("dog", 0.9)]
    (part,) = chat.asked[0]["messages"][1]["content"]
    kind, _, encoded = part["image_url"]["url"].partition(";base64,")
    assert kind == f"data:{example.item.media_type}"
    assert base64.b64decode(encoded) == example.content


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A tiny classifier of texts, as transformers saves it."""
    task = tasks.create({"kind": "text-classification", "classes": ["good", "bad"]})
    model = task.example_model()
    folder = tmp_path_factory.mktemp("checkpoint")
    model.network.config.id2label = {0: "POSITIVE", 1: "NEGATIVE"}
    model.network.config.label2id = {"POSITIVE": 0, "NEGATIVE": 1}
    model.network.save_pretrained(folder)
    model.processor.save_pretrained(folder)
    return folder


def test_a_pipeline_answers_by_the_tasks_own_names(checkpoint):
    section = {"kind": "huggingface", "checkpoint": str(checkpoint), "pipeline": "text-classification"}
    suggester = suggesters.create({**section, "labels": {"POSITIVE": "good", "NEGATIVE": "bad"}})
    texts = ["a red circle", "a blue square"]
    found = suggester.suggest(TASK, [_item(text) for text in texts], texts)
    for prediction in found:
        assert prediction.scores.keys() == {"good", "bad"}
        assert sum(prediction.scores.values()) == pytest.approx(1, abs=1e-4)
        assert prediction.confidence == max(prediction.scores.values())
        assert prediction.scores[prediction.target] == prediction.confidence
    # Names that the task does not know are left out.
    unknown = suggesters.create(section).suggest(TASK, [_item("a")], ["a"])
    assert isinstance(unknown[0], AnnotationError)
    assert suggester.model == f"huggingface/{checkpoint.name}"


def test_a_pipeline_gives_sets_of_classes_by_their_threshold(checkpoint):
    task = tasks.create({"kind": "text-multilabel", "classes": ["good", "bad"]})
    section = {
        "kind": "huggingface", "checkpoint": str(checkpoint), "pipeline": "text-classification",
        "labels": {"POSITIVE": "good", "NEGATIVE": "bad"},
    }  # fmt: skip
    (low,) = suggesters.create({**section, "threshold": 0.01}).suggest(task, [_item("a")], ["a"])
    (high,) = suggesters.create({**section, "threshold": 0.99}).suggest(task, [_item("a")], ["a"])
    assert sorted(low.target) == ["bad", "good"]
    assert high.target == []


def test_a_pipeline_is_for_classes_and_a_folder_without_a_model_is_told(checkpoint, tmp_path):
    section = {"kind": "huggingface", "checkpoint": str(checkpoint), "pipeline": "text-classification"}
    spans = tasks.create({"kind": "token-classification", "classes": ["PER"]})
    with pytest.raises(RecipeError, match="classes"):
        suggesters.create(section).suggest(spans, [_item("a")], ["a"])
    with pytest.raises(ModelError, match="cannot be loaded"):
        suggesters.create({**section, "checkpoint": str(tmp_path)}).suggest(TASK, [_item("a")], ["a"])


def test_a_recipe_names_who_suggests_and_a_mistake_in_it_is_told():
    assert LabelingConfig().suggestions == "champion"
    section = {"kind": "openai", "url": "http://127.0.0.1:1/v1", "model": "m"}
    config = LabelingConfig(suggestions=section)
    assert LabelingConfig(**config.model_dump(mode="json")) == config
    for wrong, told in (
        ({"kind": "openais"}, "openai"),
        ({"kind": "openai", "url": "ftp://x", "model": "m"}, "url"),
        ({"kind": "openai", "url": "http://me:secret@host/v1", "model": "m"}, "url"),
        ("challenger", "kind"),
    ):
        with pytest.raises(ValueError, match=told) as error:
            LabelingConfig(suggestions=wrong)
        assert "model_config" not in str(error.value)
    with pytest.raises(PluginError):
        suggesters.get("nobody")
