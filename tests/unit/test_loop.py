"""Stages that need no server."""

from __future__ import annotations

import pytest

from goldloop import loop
from goldloop.catalog.content import items_of
from goldloop.errors import TrainingError, VersionError, WorkspaceError
from goldloop.examples.digits import write_digits
from goldloop.recipe import Recipe, parse

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


@pytest.fixture
def recipe(tmp_path) -> Recipe:
    folder = write_digits(tmp_path / "digits", per_class=2)
    return parse(
        {
            "name": "digits",
            "sources": [{"kind": "files", "url": str(folder)}],
            "task": {"kind": "image-classification", "classes": WORDS},
        }
    )


def test_a_pull_brings_back_media_that_were_lost(workspace, recipe):
    loop.pull(recipe, workspace)
    with workspace.engine.connect() as connection:
        item = next(items_of(connection, "digits"))
    workspace.media.path(item).unlink()
    with pytest.raises(WorkspaceError, match="goldloop pull"):
        workspace.media.read(item)
    loop.pull(recipe, workspace)
    assert not workspace.media.path(item).exists()
    assert loop.pull(recipe, workspace, full=True).outcomes == {"pulled": 20}
    assert workspace.media.read(item)


def test_a_file_that_is_taken_away_is_seen_though_the_others_are_not_read_again(workspace, recipe, tmp_path):
    before = loop.pull(recipe, workspace)
    assert loop.pull(recipe, workspace) == before
    next((tmp_path / "digits").rglob("*.png")).unlink()
    assert loop.pull(recipe, workspace).total == before.total - 1


def test_a_commit_without_labels_says_what_to_do(workspace, recipe):
    loop.pull(recipe, workspace)
    with pytest.raises(VersionError, match=r"nothing is labelled yet.*20 open.*goldloop collect"):
        loop.commit(recipe, workspace)


def test_training_without_a_section_or_a_version_says_what_is_missing(workspace, recipe):
    with pytest.raises(TrainingError, match="checkpoint"):
        loop.train(recipe, workspace)
    trainable = parse({**recipe.model_dump(mode="json", by_alias=True), "training": {"checkpoint": "x/y"}})
    with pytest.raises(VersionError, match="goldloop commit"):
        loop.train(trainable, workspace)
