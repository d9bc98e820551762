from __future__ import annotations

import html
import io
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from goldloop.evaluation.gates.base import Verdict
from goldloop.evaluation.page import page
from goldloop.evaluation.report import evaluate
from goldloop.records import Prediction
from goldloop.tasks import tasks

NASTY = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}"]


class Reader(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture
def nasty():
    task = tasks.create({"kind": "text-classification", "classes": NASTY})
    rows = [{"key": f"{n}", "text": NASTY[n % 3], "label": n % 3, "shown_models": []} for n in range(9)]
    rows.append({"key": "<i>", "text": "x", "label": 0, "shown_models": ["m"]})

    def predict(contents):
        return [Prediction(target=NASTY[0], confidence=0.7) for _ in contents]

    names = {"name": "mail", "model": "mail/2", "version": "mail@abc", "split": "test"}
    return evaluate(task, rows, predict, **names, own_models={"m"})


def test_whatever_comes_from_data_is_shown_and_never_obeyed(nasty):
    verdict = Verdict(gate=NASTY[0], passed=False, figure=None, explanation=NASTY[1])
    text = page(nasty, [verdict], None, lambda key: NASTY[1])
    found = Reader(text)
    assert sum(tag == "script" for tag, _ in found.tags) == 1
    assert not [tag for tag in found.tags if "onerror" in tag[1]]
    assert "i" not in {tag for tag, attributes in found.tags if "style" not in attributes}
    words = "".join(found.words)
    for name in NASTY:
        assert name in words


def test_a_page_loads_nothing_from_elsewhere(make_report):
    text = page(make_report(), picture=b"\x89PNG")
    assert not re.search(r"https?:|//[a-z]|@import|url\(", text)
    sources = [
        value
        for _, attributes in Reader(text).tags
        for name, value in attributes.items()
        if name in ("src", "href")
    ]
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)


def test_a_page_tells_figures_gates_classes_and_what_was_left_out(make_report):
    report = make_report(0.8, shown={3: ["mail/2"]})
    verdicts = [Verdict(gate="at-least accuracy 0.9", passed=False, figure=0.8, explanation="it is below")]
    words = html.unescape(page(report, verdicts))
    figure = report.metrics["accuracy"]
    for expected in (
        f"{figure.value:.3f}",
        f"{figure.low:.3f} to {figure.high:.3f}",
        "mail@0123456789abcdef",
        "it is below",
        "refused",
        "class 3",
        "1 items left out",
        "macro_f1",
    ):
        assert expected in words


def test_mistakes_are_shown_with_their_text_the_worst_first_and_not_without_end(make_report):
    report = make_report(0.2, items=300)
    text = page(report, content=lambda key: f"the text of {key}")
    shown = re.findall(r"the text of (\w{64})", text)
    assert shown == [item.key for item in report.wrong()[:60]]
    assert "the first 60 shown" in text


def test_mistakes_of_an_image_model_are_shown_as_small_pictures(make_report):
    buffer = io.BytesIO()
    Image.new("RGB", (900, 600), "teal").save(buffer, format="PNG")
    good, broken = buffer.getvalue(), b"no image"
    report = make_report(0.5, items=10)
    worst = report.wrong()[0].key
    text = page(report, content=lambda key: broken if key == worst else good)
    assert text.count("data:image/jpeg;base64,") == len(report.wrong()) - 1
    assert worst in text
    assert len(text) < 100_000


def test_a_model_without_a_mistake_has_a_page_too(make_report):
    assert "No item of 200." in page(make_report(1.0))


def test_content_that_is_gone_leaves_the_key(make_report):
    from goldloop.errors import WorkspaceError

    def gone(key):
        raise WorkspaceError("an image is missing from the workspace")

    report = make_report(0.9)
    assert report.wrong()[0].key in page(report, content=gone)


def test_answers_that_are_right_by_degrees_are_shown_with_both_drawings():
    from goldloop.evaluation.page import page
    from goldloop.evaluation.report import evaluate
    from goldloop.records import Prediction
    from goldloop.tasks import tasks

    task = tasks.create({"kind": "object-detection", "classes": ["disc", "tile"]})
    examples = task.examples()
    rows = [
        {"key": each.item.key, "image": each.content, "shown_models": [], **task.to_row(each.target)}
        for each in examples
    ]

    def predict(contents):
        by_content = {each.content: each.target for each in examples}
        moved = [[{**box, "x": box["x"] + 2, "score": 0.9} for box in by_content[one]] for one in contents]
        return [Prediction(target=boxes, confidence=0.9) for boxes in moved]

    report = evaluate(task, rows, predict, name="n", model="n/1", version="n@1", split="test")
    shown = page(report, content={each.item.key: each.content for each in examples}.get)

    assert report.graded
    assert 0.5 < report.mean_agreement < 1
    assert "Furthest from the labels" in shown
    assert shown.count("<figcaption>predicted") == shown.count("<figcaption>labelled") == len(report.wrong())
