"""Pre-annotations come to the most useful tasks first."""

from __future__ import annotations

import pytest

from goldloop import loop, selecting
from goldloop.catalog import server_side
from goldloop.catalog.content import items_of
from goldloop.catalog.server_side import Place
from goldloop.labeling.selection import ordered
from goldloop.progress import Silent
from goldloop.recipe import Recipe, parse
from goldloop.records import Item
from goldloop.settings import Settings
from goldloop.workspace import Workspace

PLACE = Place("notes", "embedded")


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace(tmp_path / "state", Settings())


def _recipe(tmp_path, strategy: str) -> Recipe:
    folder = tmp_path / "texts"
    folder.mkdir(exist_ok=True)
    for number in range(12):
        (folder / f"{number}.txt").write_text(f"{'rain and snow' if number % 3 else 'soup'} {number}")
    return parse(
        {
            "name": "notes",
            "sources": [{"kind": "files", "url": str(folder)}],
            "task": {"kind": "text-classification", "classes": ["good", "bad"]},
            "labeling": {"select": {"strategy": strategy}},
        }
    )


def _tasks(workspace: Workspace) -> dict[int, Item]:
    with workspace.engine.connect() as connection:
        return {100 - number: item for number, item in enumerate(items_of(connection, "notes"))}


def test_without_a_strategy_tasks_stay_in_the_order_of_their_ids(workspace, tmp_path):
    recipe = _recipe(tmp_path, "random")
    loop.pull(recipe, workspace)
    found = selecting.useful_first(recipe, workspace, PLACE, _tasks(workspace), "notes/1", Silent())
    assert list(found) == sorted(found)
    assert len(found) == 12


def test_those_worth_most_come_first_and_those_that_have_it_are_not_looked_at(workspace, tmp_path):
    recipe = _recipe(tmp_path, "diversity")
    loop.pull(recipe, workspace)
    tasks = _tasks(workspace)
    done = sorted(tasks)[:4]
    with workspace.engine.begin() as connection:
        server_side.note_predictions(connection, PLACE, "notes/1", done)
    found = selecting.useful_first(recipe, workspace, PLACE, tasks, "notes/1", Silent())
    assert found == tasks
    assert set(list(found)[8:]) == set(done)
    lacking = [item for task, item in sorted(tasks.items()) if task not in done]
    points, _ = selecting.embedded(recipe, workspace, lacking, Silent())
    places = {item.key: place for place, item in enumerate(lacking)}
    by_hand = ordered(
        lacking,
        recipe.labeling.select,
        None,
        lambda asked: points[[places[item.key] for item in asked]],
    )
    assert [found[task].key for task in list(found)[:8]] == [item.key for item in by_hand]
    assert list(found) != sorted(found)
