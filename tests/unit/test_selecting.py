"""Pre-annotations come to the most useful tasks first."""

from __future__ import annotations

import pytest

from goldloop import loop, selecting
from goldloop.catalog import ledger, server_side
from goldloop.catalog.content import items_of
from goldloop.catalog.server_side import Place
from goldloop.errors import RecipeError
from goldloop.labeling.selection import ordered
from goldloop.planning import plan
from goldloop.progress import Silent
from goldloop.recipe import Recipe, parse
from goldloop.records import Item, content_key
from goldloop.workspace import Workspace

PLACE = Place("notes", "embedded")


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


ALIKE = {
    "a": "Where is my parcel, which I ordered on Monday?",
    "b": "where is my parcel which I ordered on Monday??",
    "c": "WHERE IS MY PARCEL, WHICH I ORDERED ON MONDAY!",
    "d": "My invoice has the wrong address on it.",
}


def _recipe_of_doubles(tmp_path, **select) -> Recipe:
    folder = tmp_path / "alike"
    folder.mkdir(exist_ok=True)
    for name, text in ALIKE.items():
        (folder / f"{name}.txt").write_text(text)
    return parse(
        {
            "name": "notes",
            "sources": [{"kind": "files", "url": str(folder)}],
            "task": {"kind": "text-classification", "classes": ["good", "bad"]},
            "labeling": {"select": {"near_duplicates": "one", **select}},
        }
    )


@pytest.mark.parametrize("strategy", ["random", "diversity"])
def test_of_near_duplicates_one_is_sent_and_the_books_name_it(workspace, tmp_path, strategy):
    recipe = _recipe_of_doubles(tmp_path, strategy=strategy)
    loop.pull(recipe, workspace)
    keys = {name: content_key(text.encode()) for name, text in ALIKE.items()}
    found = selecting.next_up(recipe, workspace, PLACE, Silent())
    (sent,) = set(found.keys) - {keys["d"]}
    assert found.doubles == dict.fromkeys({keys["a"], keys["b"], keys["c"]} - {sent}, sent)
    with workspace.engine.begin() as connection:
        server_side.note_tasks(connection, PLACE, {key: number for number, key in enumerate(found.keys)})
        books = server_side.write_push_books(connection, PLACE, None, found.doubles)
    assert books.outcomes == {"pushed": 2, "skipped": 2}
    with workspace.engine.connect() as connection:
        reasons = {line.subject: line.reason for line in ledger.entries(connection, "notes", "push")}
    assert all(sent in reasons[double] for double in found.doubles)
    # What is sent stays sent; once its task is gone another one takes its place.
    again = selecting.next_up(recipe, workspace, PLACE, Silent())
    assert (again.keys, again.doubles) == ([], found.doubles)
    with workspace.engine.begin() as connection:
        server_side.mark_deleted(connection, PLACE, [sent])
    (other,) = selecting.next_up(recipe, workspace, PLACE, Silent()).keys
    assert other in found.doubles


def test_near_duplicates_can_be_sent_too_and_must_be_told_to_be_left_out(workspace, tmp_path):
    recipe = _recipe_of_doubles(tmp_path, near_duplicates="all")
    loop.pull(recipe, workspace)
    found = selecting.next_up(recipe, workspace, PLACE, Silent())
    assert (len(found.keys), found.doubles) == (4, {})
    fields = recipe.model_dump(mode="json", by_alias=True)
    fields["labeling"]["select"]["near_duplicates"] = "one"
    assert "at most 4 new tasks" in plan(parse(fields), workspace).remarks()["push"]
    fields["dataset"]["duplicates"] = "off"
    with pytest.raises(RecipeError, match=r"near_duplicates: one.*dataset\.duplicates"):
        parse(fields)


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
