"""Examples of what was left out: few, small, without what was scrubbed, and erased with their content."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

from goldloop import loop
from goldloop.catalog.ledger import entries
from goldloop.cleaning.examples import Examples, problem_of
from goldloop.erasure import forget
from goldloop.recipe import parse
from goldloop.records import Item, content_key
from goldloop.settings import Settings
from goldloop.workspace import Workspace


def _text(words: str) -> Item:
    key = content_key(words.encode())
    return Item(
        key=key, modality="text", uri="u", group=key, source="", text=words, media_type="text/plain"
    )  # fmt: skip


def test_a_few_of_each_reason_are_kept_and_long_texts_are_cut(tmp_path):
    examples = Examples(tmp_path / "examples")
    for number in range(40):
        examples.keep(f"0:files {number:02}", _text(f"{number} " * 900), "too long (found 9, expected 5)")
    examples.keep("0:files x", _text("x"), "too short (found 1, expected 2)")
    kept = examples.read()
    assert [problem_of(one.reason) for one in kept].count("too long") == 12
    assert [problem_of(one.reason) for one in kept].count("too short") == 1
    assert max(len(one.text) for one in kept) == 400


def test_an_image_is_kept_as_a_small_upright_picture(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.new("RGB", (900, 300)).save(buffer, format="JPEG", exif=exif)
    item = Item(
        key="0" * 64, modality="image", uri="u", group="g", source="", media_type="image/jpeg",
        content=buffer.getvalue(),
    )  # fmt: skip
    Examples(tmp_path / "examples").keep("0:files u", item, "blank (found 0, expected 2)")
    (kept,) = Examples(tmp_path / "examples").read()
    with Image.open(io.BytesIO(base64.b64decode(kept.picture))) as small:
        assert small.size == (67, 200)


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Workspace:
    monkeypatch.setenv("GOLDLOOP_HOME", str(tmp_path / "state"))
    return Workspace(tmp_path / "state", Settings())


def test_a_content_that_was_left_out_can_be_forgotten(tmp_path, workspace):
    (tmp_path / "notes").mkdir()
    secret = "Ada Lovelace lives here"
    for name, words in (("a", secret), ("b", "ok")):
        (tmp_path / "notes" / f"{name}.txt").write_text(words)
    recipe = parse(
        {
            "name": "notes",
            "sources": [{"kind": "files", "url": str(tmp_path / "notes")}],
            "task": {"kind": "text-classification", "classes": ["a", "b"]},
            "cleaning": {"texts": {"max_characters": 10}},
        }
    )
    loop.pull(recipe, workspace)
    page = workspace.root / "reports" / "notes" / "cleaning.html"
    assert secret in page.read_text()
    told = forget(content_key(secret.encode()), reason="asked for", apply=True, workspace=workspace)
    assert [place.kind for place in told.places] == ["example"]
    for path in workspace.root.rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes()
    loop.pull(recipe, workspace, full=True)
    with workspace.engine.connect() as connection:
        outcomes = [entry.outcome for entry in entries(connection, "notes", "pull")]
    assert outcomes == ["forgotten", "pulled"]
    assert secret not in page.read_text()
