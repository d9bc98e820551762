"""Kept requests become items through the same intake as any source's, and can be forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest

from goldloop import erasure, loop, production
from goldloop.catalog.content import items_of
from goldloop.recipe import Recipe, parse
from goldloop.records import content_key
from goldloop.workspace import Workspace


@pytest.fixture
def recipe(tmp_path) -> Recipe:
    (tmp_path / "texts").mkdir()
    for number in range(3):
        (tmp_path / "texts" / f"{number}.txt").write_text(f"text {number}")
    return parse(
        {
            "name": "notes",
            "sources": [{"kind": "files", "url": str(tmp_path / "texts")}],
            "task": {"kind": "text-classification", "classes": ["good", "bad"]},
            "cleaning": {"scrub": ["email"]},
        }
    )


def _keep(workspace: Workspace, text: str, day: str = "2026-01-31") -> Path:
    folder = production.folder_of(workspace) / "notes" / day
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{content_key(text.encode())}.text"
    path.write_text(text)
    return path


def _items(workspace: Workspace) -> dict[str | None, str]:
    with workspace.engine.connect() as connection:
        return {item.text: item.source for item in items_of(connection, "notes")}


def test_requests_are_a_source_that_no_recipe_names(workspace, recipe):
    loop.pull(recipe, workspace)
    _keep(workspace, "a question")
    books = loop.pull(recipe, workspace)
    assert books.outcomes == {"pulled": 4}
    assert _items(workspace)["a question"] == "production"
    assert loop.pull(recipe, workspace) == books
    _keep(workspace, "a question", "2026-02-01")
    assert loop.pull(recipe, workspace).outcomes == {"pulled": 4, "duplicate": 1}


def test_the_server_takes_them_in_without_asking_sources(workspace, recipe, tmp_path):
    loop.pull(recipe, workspace)
    _keep(workspace, "a question")
    _keep(workspace, " ")
    (tmp_path / "texts").rename(tmp_path / "away")
    books = loop.pull(recipe, workspace, requests=True)
    assert books.outcomes == {"pulled": 4, "quarantined": 1}
    assert loop.pull(recipe, workspace, requests=True) == books
    (tmp_path / "away").rename(tmp_path / "texts")
    (tmp_path / "texts" / "new.txt").write_text("new")
    assert loop.pull(recipe, workspace).outcomes == {"pulled": 5, "quarantined": 1}


def test_requests_alone_are_enough_for_a_first_pull(workspace, recipe):
    _keep(workspace, "a question")
    assert loop.pull(recipe, workspace, requests=True).outcomes == {"pulled": 1}
    assert loop.pull(recipe, workspace).outcomes == {"pulled": 4}


def test_a_request_is_cleaned_and_forgotten_with_its_file(workspace, recipe):
    path = _keep(workspace, "write to ada@example.com please")
    loop.pull(recipe, workspace)
    ((text, _),) = [pair for pair in _items(workspace).items() if "please" in (pair[0] or "")]
    assert "ada" not in text
    key = content_key(text.encode())
    told = erasure.forget(key, workspace=workspace)
    assert "request" in told.counts
    erasure.forget(key, apply=True, workspace=workspace)
    assert not path.exists()
    # Asked again, it is not taken in again, and not kept.
    again = _keep(workspace, "write to ada@example.com please", "2026-03-01")
    loop.pull(recipe, workspace)
    assert not again.exists()
    assert not any("please" in (each or "") for each in _items(workspace))
