"""What annotators are asked, shown and measured by, on a real Label Studio and a real model server."""

from __future__ import annotations

import csv
import importlib.util
import json
import sys
from pathlib import Path

import pytest

from goldloop import loop, wiring
from goldloop.appraisal import annotators
from goldloop.catalog.content import items_of
from goldloop.catalog.server_side import tasks_of
from goldloop.catalog.suggestions import suggestions_of
from goldloop.labeling import answers_wanted, assignment
from goldloop.recipe import Recipe, parse
from goldloop.simulation import simulate

_SPEC = importlib.util.spec_from_file_location(
    "chat_server", Path(__file__).parents[1] / "unit" / "labeling" / "chat_server.py"
)
assert _SPEC is not None
_MODULE = importlib.util.module_from_spec(_SPEC)
sys.modules["chat_server"] = _MODULE
assert _SPEC.loader is not None
_SPEC.loader.exec_module(_MODULE)

TEXTS = 60


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "texts.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "mood"])
        for number in range(TEXTS):
            mood = "good" if number % 2 else "bad"
            writer.writerow([f"a {mood} day number {number}", mood])
    return path


def _recipe(table: Path, name: str, **labeling: object) -> Recipe:
    return parse(
        {
            "name": name,
            "sources": [
                {
                    "kind": "table",
                    "url": str(table),
                    "text": "text",
                    "label": {"from": "mood", "use": "truth"},
                }
            ],
            "task": {
                "kind": "text-classification",
                "classes": ["good", "bad"],
                "instructions": "<p>Good or bad?</p>",
            },
            "labeling": labeling,
        }
    )


def _overlaps(recipe: Recipe, workspace) -> dict[str, int]:
    """Item key -> how many people the server asks about it."""
    session = wiring.session(recipe, workspace)
    return {task["data"]["key"]: task["overlap"] for task in session.client._api.tasks(session.project.id)}


def test_control_items_are_asked_of_everybody_and_nothing_tells_them_from_others(table, workspace, server):
    server.up()
    recipe = _recipe(
        table,
        "controls",
        annotators_per_item=1,
        overlap={"share": 0.3, "annotators": 2},
        controls={"share": 0.2, "annotators": 3},
    )
    loop.pull(recipe, workspace)
    loop.push(recipe, workspace)
    with workspace.engine.connect() as connection:
        items = {item.key: item for item in items_of(connection, recipe.name)}
    wanted = {key: answers_wanted.wanted(recipe.labeling, item) for key, item in items.items()}
    assert _overlaps(recipe, workspace) == wanted
    assert set(wanted.values()) == {1, 2, 3}
    session = wiring.session(recipe, workspace)
    for task in session.client._api.tasks(session.project.id):
        assert task["data"].keys() == {"text", "key", "batch"}
    again = loop.push(recipe, workspace)
    assert again.created == 0
    # Two for all: those that more are asked about stay so, all others follow.
    two = recipe.model_copy(
        update={"labeling": recipe.labeling.model_copy(update={"annotators_per_item": 2})}
    )
    loop.push(two, workspace)
    assert _overlaps(two, workspace) == {key: max(count, 2) for key, count in wanted.items()}


def test_a_language_model_suggests_some_are_kept_blind_and_people_are_measured(table, workspace, server):
    server.up()

    def answer(request, number):
        text = request["messages"][1]["content"]
        mood = "good" if "good" in text else "bad"
        if "number 7" in text:
            return _MODULE.says("I would rather not say.")
        return _MODULE.says(json.dumps({"answer": mood, "confidence": 0.9}))

    with _MODULE.chat_server(answer) as chat:
        recipe = _recipe(
            table,
            "language-model",
            annotators_per_item=2,
            blind=0.4,
            suggestions={"kind": "openai", "url": chat.url, "model": "tiny"},
        )
        loop.pull(recipe, workspace)
        loop.push(recipe, workspace)
        session = wiring.session(recipe, workspace)
        written = loop.predict(recipe, workspace)
        asked = len(chat.asked)
        assert asked == TEXTS
        with workspace.engine.connect() as connection:
            live = tasks_of(connection, session.place)
            noted = {each.key: each for each in suggestions_of(connection, recipe.name)}
        blind = {key for key in live if answers_wanted.is_blind(recipe.labeling, key)}
        with_one = session.client.predictions_of(session.project, "openai/tiny")
        assert len(with_one) == written
        assert not {live[key] for key in blind} & with_one
        assert {key for key, each in noted.items() if not each.shown} <= blind
        assert 0 < sum(not each.shown for each in noted.values()) < len(noted)
        # Asked again, only what was left out is asked about.
        loop.predict(recipe, workspace)
        assert len(chat.asked) - asked == TEXTS - len(noted)

    simulate(recipe, annotators=2, error_rate=0.2, workspace=workspace)
    loop.collect(recipe, workspace)
    done = annotators(recipe, workspace)
    assert len(done.found.annotators) == 2
    for one in done.found.annotators:
        assert one.answers == TEXTS
        assert one.controls is not None
        assert one.controls.interval is not None
        assert one.controls.interval[0] < 0.8 < one.controls.interval[1]
        assert one.others is not None
        assert one.pace is not None
    assert done.found.swayed is not None
    # Simulated annotators do not look at suggestions.
    assert done.found.swayed.interval is not None
    assert done.found.swayed.interval[0] < 0 < done.found.swayed.interval[1]
    page = done.page.read_text()
    assert done.found.annotators[0].annotator in page
    assert "goldloop.invalid" not in page


def test_enough_labels_end_the_sending(table, workspace, server):
    server.up()
    recipe = _recipe(table, "enough", select={"strategy": "cluster", "batch": 10}, stop={"labels": 10})
    loop.pull(recipe, workspace)
    assert loop.push(recipe, workspace).created == 10
    simulate(recipe, annotators=1, workspace=workspace)
    loop.collect(recipe, workspace)
    pushed = loop.push(recipe, workspace)
    assert pushed.created == 0
    assert pushed.balance.outcomes == {"pushed": 10, "waiting": TEXTS - 10}
    more = recipe.model_copy(update={"labeling": recipe.labeling.model_copy(update={"stop": None})})
    assert loop.push(more, workspace).created == 10


def test_annotators_read_the_instructions_in_the_project(table, workspace, server):
    server.up()
    session = wiring.session(_recipe(table, "told"), workspace)
    found = session.client._api.get(f"/api/projects/{session.project.id}/")
    assert found["expert_instruction"] == "<p>Good or bad?</p>"
    assert found["show_instruction"] is True


def test_each_annotator_has_a_tab_with_the_tasks_that_are_for_them(table, workspace, server):
    server.up()
    recipe = _recipe(table, "dealt", annotators=["ann", "joann", "bob"], annotators_per_item=2)
    loop.pull(recipe, workspace)
    loop.push(recipe, workspace)
    session = wiring.session(recipe, workspace)
    api, project = session.client._api, session.project.id
    views = {view["data"]["title"]: view["id"] for view in api.get("/api/dm/views/", {"project": project})}
    assert {"for ann", "for joann", "for bob"} <= views.keys()
    with workspace.engine.connect() as connection:
        live = tasks_of(connection, session.place)
        items = {live[item.key]: item for item in items_of(connection, recipe.name)}
    for name in recipe.labeling.annotators:
        theirs = {
            task for task, item in items.items() if name in assignment.people_for(recipe.labeling, item)
        }
        shown = api.get(
            "/api/tasks/", {"view": views[f"for {name}"], "page_size": 100, "resolve_uri": "false"}
        )
        assert {task["id"] for task in shown["tasks"]} == theirs
        offered = api.call(
            "POST",
            "/api/dm/actions",
            params={"id": "next_task", "project": project, "view": views[f"for {name}"]},
            json={"selectedItems": {"all": True, "excluded": []}},
        )
        assert offered["id"] in theirs
    loop.push(recipe, workspace)
    assert len(api.get("/api/dm/views/", {"project": project})) == len(views)
