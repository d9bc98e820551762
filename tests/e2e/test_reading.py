"""A project read by SQL and over HTTP is the same project; what people do is collected by either way."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from goldloop import loop, wiring
from goldloop.catalog import server_side
from goldloop.labeling.access import Access
from goldloop.labeling.client import LabelStudioClient
from goldloop.labeling.database import DATABASE, Database
from goldloop.labeling.push import Push
from goldloop.labeling.reading import Reader
from goldloop.labeling.values import PredictionData, Project, TaskData
from goldloop.progress import Silent
from goldloop.recipe import parse
from goldloop.settings import Settings
from goldloop.workspace import Workspace

KEY = b"k" * 32
CONFIG = (
    '<View><Text name="text" value="$text"/><Choices name="label" toName="text">'
    '<Choice value="yes"/><Choice value="no"/></Choices></View>'
)


@pytest.fixture
def by_sql(label_studio: Access, workspace: Workspace) -> LabelStudioClient:
    file = workspace.label_studio / DATABASE
    return LabelStudioClient(label_studio.url, label_studio.api_key, pseudonym_key=KEY, database=file)


@pytest.fixture
def by_http(label_studio: Access) -> LabelStudioClient:
    return LabelStudioClient(label_studio.url, label_studio.api_key, pseudonym_key=KEY)


@pytest.fixture
def http(label_studio: Access) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Token {label_studio.api_key.get_secret_value()}", "Connection": "close"}
    with httpx.Client(base_url=label_studio.url, headers=headers, timeout=60) as http:
        yield http


def results(choice: str) -> list[dict[str, Any]]:
    return [{"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": [choice]}}]


def annotate(http: httpx.Client, task: int, choice: str, **fields: Any) -> int:
    body = {"result": results(choice), "lead_time": 1.5, **fields}
    answer = http.post(f"/api/tasks/{task}/annotations/", json=body)
    return int(answer.raise_for_status().json()["id"])


def whole(reader: Reader, project: Project, since: str | None = None) -> list[Any]:
    pages = (list(page) for _, page in reader.changed(project, since, 0))
    return sorted((task for page in pages for task in page), key=lambda task: task.task_id)


def test_both_ways_tell_the_same_to_the_byte(by_sql, by_http, http, monkeypatch):
    monkeypatch.setattr("goldloop.labeling.pages.PAGE", 3)
    monkeypatch.setattr("goldloop.labeling.database.PAGE", 2)
    project = by_sql.ensure_project(
        f"goldloop:{secrets.token_hex(8)}/ways", title="ways", label_config=CONFIG
    )
    prediction = PredictionData(results=results("no"), model_version="m1", score=0.25)
    tasks = [
        TaskData(
            key=f"k{number}",
            data={"text": f"text {number} 🎈"},
            annotations=[results("yes")] * (number % 3),
            predictions=[prediction] * (number % 2),
        )
        for number in range(8)
    ]
    ids = by_sql.import_tasks(project, tasks, "one")
    first = annotate(http, ids["k1"], "no")
    annotate(http, ids["k3"], "yes", was_cancelled=True)
    http.post(f"/api/tasks/{ids['k0']}/drafts", json={"result": results("yes"), "lead_time": 1.0})
    http.patch(f"/api/annotations/{first}/", json={"ground_truth": True}).raise_for_status()
    http.post(f"/api/projects/{project.id}/import", json=[{"text": "not goldloop's"}]).raise_for_status()

    told = whole(by_sql.reader, project)
    assert told == whole(by_http.reader, project)
    assert len(told) == 9
    assert told[1].annotations[-1].ground_truth
    assert told[1].annotations[-1].shown_model == "m1"
    assert told[0].drafts == 1
    since = told[2].updated_at
    assert whole(by_sql.reader, project, since) == whole(by_http.reader, project, since)
    totals = by_sql.reader.project_totals(project)
    assert totals == by_http.reader.project_totals(project)
    for known in (since, totals.latest_update, "2999-01-01T00:00:00Z"):
        assert totals == by_sql.reader.project_totals(project, known)
        assert totals == by_http.reader.project_totals(project, known)
    assert by_sql.reader.count_tasks(project) == by_http.reader.count_tasks(project) == 9
    assert list(by_sql.reader.task_keys(project)) == list(by_http.reader.task_keys(project))
    made = {number: key for key, number in ids.items()}
    assert made == by_sql.reader.imported(project, made) == by_http.reader.imported(project, made)
    batch = by_sql.reader.find_batch(project, "one")
    assert batch == by_http.reader.find_batch(project, "one")
    assert {sent.key: (sent.annotations, sent.predictions) for sent in batch.values()}["k1"] == (2, 1)
    every = list(ids.values())
    assert by_sql.reader.worked_on(project, every) == by_http.reader.worked_on(project, every)
    assert by_sql.reader.worked_on(project, every) == {ids["k1"], ids["k3"]}


def test_what_is_there_is_counted_whatever_became_of_it(by_sql, by_http, http, workspace, tmp_path):
    project = by_sql.ensure_project(
        f"goldloop:{secrets.token_hex(8)}/counts", title="counts", label_config=CONFIG
    )
    prediction = PredictionData(results=results("no"), model_version="m1", score=0.25)
    tasks = [
        TaskData(
            key=f"k{number}",
            data={"text": f"text {number}"},
            annotations=[results("yes"), results("no")],
            predictions=[prediction],
        )
        for number in range(6)
    ]
    ids = by_sql.import_tasks(project, tasks, "one")
    cancelled = annotate(http, ids["k0"], "no", was_cancelled=True)
    annotate(http, ids["k1"], "no", was_cancelled=True)
    http.patch(f"/api/annotations/{cancelled}/", json={"was_cancelled": False}).raise_for_status()
    http.delete(f"/api/annotations/{annotate(http, ids['k2'], 'no')}/").raise_for_status()
    http.delete(f"/api/tasks/{ids['k3']}/").raise_for_status()
    action = {"selectedItems": {"all": False, "included": [ids["k4"]]}}
    for what in ("delete_tasks_predictions", "delete_tasks"):
        http.post(
            "/api/dm/actions", params={"id": what, "project": project.id}, json=action
        ).raise_for_status()

    totals = by_sql.reader.project_totals(project)
    assert totals == by_http.reader.project_totals(project)
    assert (totals.tasks, totals.annotations, totals.skipped, totals.predictions) == (4, 9, 1, 4)
    copy = tmp_path / "older.sqlite3"
    with closing(sqlite3.connect(workspace.label_studio / DATABASE)) as file:
        file.execute("VACUUM INTO ?", (str(copy),))
    with closing(sqlite3.connect(copy)) as older:
        triggers = older.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        assert len(triggers) >= 9
        for [name] in triggers:
            older.execute(f"DROP TRIGGER {name}")
        older.execute("DROP TABLE goldloop_counts")
    assert Database(copy, KEY).project_totals(project) == totals


def test_an_import_of_which_the_server_has_other_tasks_is_looked_at_in_full(by_sql, by_http, http):
    project = by_sql.ensure_project(
        f"goldloop:{secrets.token_hex(8)}/imports", title="imports", label_config=CONFIG
    )
    tasks = [TaskData(key=f"k{number}", data={"text": f"text {number}"}) for number in range(6)]
    ids = by_sql.import_tasks(project, tasks, "one")
    made = {number: key for key, number in ids.items()}
    for told in (
        dict(reversed(made.items())),
        {**made, ids["k5"]: "another"},
        {**made, ids["k5"] + 1: "never made"},
        {ids["k1"]: "k1", ids["k4"]: "k4"},
    ):
        there = {number: made[number] for number in told if number in made}
        assert by_sql.reader.imported(project, told) == there
        assert by_http.reader.imported(project, told) == there
    http.delete(f"/api/tasks/{ids['k2']}/").raise_for_status()
    rest = {number: key for number, key in made.items() if key != "k2"}
    assert by_sql.reader.imported(project, made) == rest
    assert by_http.reader.imported(project, made) == rest
    # Ids with a gap may be another's in between, so both ends are looked at.
    assert by_http.reader.imported(project, {**rest, ids["k0"]: "another"}) == rest


def test_nothing_of_a_collection_stays_on_the_server(by_http, http):
    project = by_http.ensure_project(
        f"goldloop:{secrets.token_hex(8)}/tabs", title="tabs", label_config=CONFIG
    )
    by_http.import_tasks(project, [TaskData(key="a", data={"text": "a"})], "one")
    for title in ("goldloop collects", "a person's own"):
        made = http.post("/api/dm/views/", json={"project": project.id, "data": {"title": title}})
        made.raise_for_status()
    assert len(whole(by_http.reader, project)) == 1
    tabs = http.get("/api/dm/views/", params={"project": project.id}).json()
    assert [tab["data"]["title"] for tab in tabs] == ["a person's own"]


@pytest.fixture(params=["embedded", "elsewhere"])
def recipe_and_workspace(request, tmp_path: Path, workspace: Workspace, label_studio: Access) -> Any:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("\n".join(json.dumps({"text": f"text {number}"}) for number in range(12)))
    recipe = parse(
        {
            "name": f"reading-{request.param}",
            "sources": [{"kind": "table", "url": str(rows), "text": "text"}],
            "task": {"kind": "text-classification", "classes": ["yes", "no"]},
            "labeling": {"annotators_per_item": 1},
        }
    )
    if request.param == "embedded":
        return recipe, workspace, rows
    settings = Settings(LABEL_STUDIO_URL=label_studio.url, LABEL_STUDIO_API_KEY=label_studio.api_key)
    return recipe, Workspace(tmp_path / "home", settings), rows


def test_what_people_do_after_a_collection_is_in_the_next(recipe_and_workspace, http):
    recipe, workspace, rows = recipe_and_workspace
    loop.pull(recipe, workspace)
    loop.push(recipe, workspace)
    session = wiring.session(recipe, workspace)
    with workspace.engine.connect() as connection:
        ids = [task for _, task in sorted(server_side.tasks_of(connection, session.place).items())]
    edited, gone, truth = (annotate(http, task, "yes") for task in ids[:3])
    assert loop.collect(recipe, workspace).balance.outcomes == {"labelled": 3, "open": 9}

    http.patch(f"/api/annotations/{edited}/", json={"result": results("no")}).raise_for_status()
    http.delete(f"/api/annotations/{gone}/").raise_for_status()
    http.patch(f"/api/annotations/{truth}/", json={"ground_truth": True}).raise_for_status()
    annotate(http, ids[3], "no", was_cancelled=True)
    draft = http.post(f"/api/tasks/{ids[4]}/drafts", json={"result": results("yes"), "lead_time": 1.0})
    draft.raise_for_status()
    http.delete(f"/api/tasks/{ids[5]}/").raise_for_status()
    books = loop.collect(recipe, workspace)
    assert books.balance.outcomes == {"labelled": 2, "open": 8, "skipped": 1}
    annotate(http, ids[4], "yes", draft_id=draft.json()["id"])
    assert loop.collect(recipe, workspace).balance.outcomes == {"labelled": 3, "open": 7, "skipped": 1}
    with workspace.engine.connect() as connection:
        held = {act.id: act for act in server_side.annotations_of(connection, recipe.name)}
    assert held[edited].results[0]["value"] == {"choices": ["no"]}
    assert held[truth].ground_truth
    assert gone not in held
    assert [act.cancelled for act in held.values() if act.task_id == ids[3]] == [True]
    assert loop.collect(recipe, workspace, full=True).balance.outcomes == {
        "labelled": 3,
        "open": 7,
        "skipped": 1,
    }

    changed = rows.read_text().replace("text 11", "text eleven")
    rows.write_text(changed)
    loop.pull(recipe, workspace)
    loop.push(recipe, workspace)
    archived = [
        task
        for task in session.client.api.tasks(session.project.id)
        if task["data"].get("archived") == "superseded"
    ]
    assert [task["is_labeled"] for task in archived] == [True]
    outcomes = loop.collect(recipe, workspace).balance.outcomes
    assert outcomes.get("archived", 0) + outcomes["labelled"] + outcomes["open"] + outcomes["skipped"] == 12


def test_an_import_that_lost_its_annotations_before_a_crash_is_made_again(recipe_and_workspace, monkeypatch):
    """The server's own silent loss, and then goldloop is killed before it could look."""
    recipe, workspace, _ = recipe_and_workspace
    recipe = recipe.model_copy(update={"name": f"{recipe.name}-lossy"})
    loop.pull(recipe, workspace)
    session = wiring.session(recipe, workspace)

    def make(items):
        return [
            TaskData(key=item.key, data={"text": item.text}, annotations=[results("yes"), results("no")])
            for item in items
        ]

    real = LabelStudioClient.import_tasks

    def lossy(self, project, tasks, batch):
        bare = [TaskData(key=task.key, data=task.data) for task in tasks[:6]]
        real(self, project, bare, batch)
        raise KeyboardInterrupt

    monkeypatch.setattr(LabelStudioClient, "import_tasks", lossy)
    with workspace.engine.connect() as connection:
        keys = list(server_side.keys_to_push(connection, session.place))
    from goldloop.catalog.content import stream_items

    def push() -> int:
        work = Push(session.engine, session.place, session.client, session.project, session.writer_lock)
        return work.run(stream_items(session.engine, recipe.name, keys), len(keys), make, Silent())

    with pytest.raises(KeyboardInterrupt):
        push()
    monkeypatch.setattr(LabelStudioClient, "import_tasks", real)
    assert session.reconcile().live == 0
    assert push() == 12
    totals = session.reader.project_totals(session.project)
    assert (totals.tasks, totals.annotations) == (12, 24)
