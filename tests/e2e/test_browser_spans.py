"""Spans marked with the mouse in Label Studio's own editor, and pre-annotations seen in it."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from goldloop import loop, wiring
from goldloop.catalog.content import items_of
from goldloop.catalog.server_side import tasks_of
from goldloop.progress import Silent
from goldloop.recipe import parse
from goldloop.tasks import tasks

pytestmark = pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on this machine")

TEXTS = {
    "emoji": ("a \N{GRINNING FACE} go \N{WOMAN}\u200d\N{WOMAN}\u200d\N{GIRL} Paris now", "Paris"),
    "carriage returns": ("one\r\ntwo Paris\r\nthree", "Paris"),
    "leading blanks": ("   \t Paris here", "Paris"),
    "combining marks": ("e\u0301e\u0301 Paris", "Paris"),
    "markup": ("<b>x</b> & &amp; Paris", "Paris"),
    "over lines": ("one\r\ntwo Paris\r\nthree four", "Paris\r\nthree"),
}

SHOWN = "[...document.querySelectorAll('.htx-highlight')].map(part => part.textContent).join(' ')"
PLACE_OF = """quote => {
    const ends = [null, null], words = quote.split(/\\s+/);
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode;
        [words[0], words[words.length - 1]].forEach((word, which) => {
            const at = node.textContent.indexOf(word);
            if (at < 0 || ends[which]) return;
            const range = document.createRange();
            range.setStart(node, at);
            range.setEnd(node, at + word.length);
            const box = range.getBoundingClientRect();
            // The list of tasks at the left shows the beginning of each text too.
            if (box.width > 0 && box.x > 245) ends[which] = [box.left, box.right, (box.top + box.bottom) / 2];
        });
    }
    return ends;
}"""


def pushed(name, workspace, tmp_path):
    """A recipe with the odd texts in Label Studio: the recipe, its session, and task id -> item."""
    with (tmp_path / "texts.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["text"], *([text] for text, _ in TEXTS.values())])
    recipe = parse(
        {
            "name": name,
            "sources": [{"kind": "table", "url": str(tmp_path / "texts.csv"), "text": "text"}],
            "task": {"kind": "token-classification", "classes": ["place", "person"]},
        }
    )
    loop.pull(recipe, workspace)
    loop.push(recipe, workspace)
    session = wiring.session(recipe, workspace)
    with workspace.engine.connect() as connection:
        live = tasks_of(connection, session.place)
        items = {live[item.key]: item for item in items_of(connection, name)}
    assert sorted(item.text for item in items.values()) == sorted(text for text, _ in TEXTS.values())
    return recipe, session, items


def quote_of(item):
    return next(quote for text, quote in TEXTS.values() if text == item.text)


def span_of(item):
    quote = quote_of(item)
    start = item.text.index(quote)
    return {"label": "place", "start": start, "end": start + len(quote), "text": quote}


def marked(page, quote):
    """Mark the words with the mouse, again if the editor moved its text or was not listening yet."""
    from playwright.sync_api import TimeoutError as TooSlow

    for _ in range(10):
        page.wait_for_function(f"quote => ({PLACE_OF})(quote)[0] !== null", arg=quote, timeout=60_000)
        page.wait_for_timeout(500)
        if not page.query_selector(".lsf-label_selected"):
            page.keyboard.press("1")
        first, last = page.evaluate(PLACE_OF, quote)
        page.mouse.move(first[0] + 0.5, first[2])
        page.mouse.down()
        page.mouse.move((first[0] + last[1]) / 2, (first[2] + last[2]) / 2, steps=4)
        page.mouse.move(last[1] - 0.2, last[2], steps=4)
        page.mouse.up()
        try:
            page.wait_for_selector(".htx-highlight", timeout=6_000)
            return
        except TooSlow:
            continue
    raise AssertionError(f"the editor took no mark of {quote!r}")


def test_what_a_person_marks_is_what_comes_back(workspace, server, page, tmp_path: Path):
    recipe, session, items = pushed("marked-spans", workspace, tmp_path)
    for task, item in items.items():
        page.goto(f"{server.access().url}/projects/{session.project.id}/data?task={task}")
        marked(page, quote_of(item))
        with page.expect_response(lambda answer: "/annotations" in answer.url and answer.status == 201):
            page.keyboard.press("Control+Enter")

    loop.collect(recipe, workspace)
    version = loop.commit(recipe, workspace)

    task = tasks.create(version.task)
    found = {row["text"]: task.from_row(row) for split in version.counts for row in version.dataset(split)}
    assert found == {item.text: [span_of(item)] for item in items.values()}


def test_a_suggestion_is_seen_where_it_belongs(workspace, server, page, tmp_path: Path):
    recipe, session, items = pushed("suggested-spans", workspace, tmp_path)
    task = tasks.create(recipe.task)
    session.preannotate(
        items,
        lambda chunk: [(task.encode([{**span_of(item), "score": 0.9}], item), 0.9) for item in chunk],
        "suggested-spans/1",
        Silent(),
    )
    for number, item in items.items():
        page.goto(f"{server.access().url}/projects/{session.project.id}/data?task={number}")
        page.wait_for_selector(".htx-highlight", timeout=60_000)
        # Seen as soon as its words stand in it; until then the editor still draws.
        page.wait_for_function(f"({SHOWN}) !== ''", timeout=60_000)
        assert page.evaluate(SHOWN).split() == quote_of(item).split()
    page.screenshot(path=str(tmp_path / "spans.png"))
