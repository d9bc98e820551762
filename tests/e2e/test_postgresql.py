"""The catalog on PostgreSQL: the same stages, and a lock that holds across machines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from goldloop import loop
from goldloop.errors import WorkspaceBusy
from goldloop.recipe import parse
from goldloop.settings import Settings
from goldloop.workspace import Workspace


@contextmanager
def _workspace(folder: Path, database: str) -> Iterator[Workspace]:
    workspace = Workspace(folder, Settings(GOLDLOOP_CATALOG_URL=SecretStr(database)))
    yield workspace
    workspace.engine.dispose()


def test_a_pull_is_the_same_as_on_sqlite(tmp_path, database):
    (tmp_path / "texts").mkdir()
    for number in range(20):
        (tmp_path / "texts" / f"{number}.txt").write_text(f"text {number % 15} \N{PILE OF POO}")
    recipe = parse(
        {
            "name": "notes",
            "sources": [{"kind": "files", "url": str(tmp_path / "texts")}],
            "task": {"kind": "text-classification", "classes": ["a", "b"]},
        }
    )
    here = Workspace(tmp_path / "two", Settings())
    with _workspace(tmp_path / "one", database) as there:
        assert loop.pull(recipe, there) == loop.pull(recipe, here)
        (tmp_path / "texts" / "0.txt").write_text("another text")
        assert loop.pull(recipe, there) == loop.pull(recipe, here)
    assert not (tmp_path / "one" / "catalog.db").exists()


def test_two_workspaces_with_one_catalog_do_not_work_on_one_recipe_at_once(tmp_path, database):
    with (
        _workspace(tmp_path / "one", database) as one,
        _workspace(tmp_path / "other", database) as other,
    ):
        with one.lock("notes"), pytest.raises(WorkspaceBusy, match="notes"), other.lock("notes"):
            pass
        with other.lock("notes"):
            pass
