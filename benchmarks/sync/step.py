"""One measurement, in a process of its own: `step.py WHAT RECIPE COUNT` prints a line of JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parent))

import load

from goldloop import loop, selecting, wiring
from goldloop.ahead import ahead
from goldloop.catalog import collection, server_side
from goldloop.catalog.content import stream_items
from goldloop.labeling.push import Push
from goldloop.labeling.session import Session
from goldloop.labeling.values import PredictionData, TaskData
from goldloop.process_memory import peak_memory
from goldloop.progress import Silent
from goldloop.recipe import Recipe
from goldloop.recipe import load as load_recipe
from goldloop.records import Item
from goldloop.workspace import Workspace

CHANGED = 100
SAMPLE = 40
"""Tasks that the one-by-one loop makes; its rate does not depend on how many."""


CHECKS: list[Callable[[], None]] = []
"""Run after the measurement."""


class Counted(httpx.HTTPTransport):
    """Counts what is sent."""

    sent = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send it."""
        type(self).sent += 1
        return super().handle_request(request)


def main(what: str, recipe: str, count: str) -> None:
    """Do it, and tell how long it took, what it needed and how many tasks it was about."""
    httpx.HTTPTransport = Counted  # type: ignore[misc]
    loaded, number = load_recipe(recipe), int(count)
    workspace = Workspace.open()
    assert workspace.engine is not None
    prepared = STEPS[what](loaded, workspace, number)
    base, Counted.sent = _peak(), 0
    began = time.perf_counter()
    done = prepared()
    seconds = time.perf_counter() - began
    peak = _peak()
    for check in CHECKS:
        check()
    workspace.engine.dispose()
    print(
        json.dumps({"tasks": done, "seconds": seconds, "base": base, "peak": peak, "requests": Counted.sent})
    )


def _pull(recipe: Recipe, workspace: Workspace, count: int) -> Callable[[], int]:
    return lambda: loop.pull(recipe, workspace).total


def _push(recipe: Recipe, workspace: Workspace, count: int) -> Callable[[], int]:
    """As `goldloop push`, but each task has a prediction and two annotations."""
    # Packages are loaded and the project is made before the clock starts, as for the others.
    import_module("label_studio_sdk.label_interface.interface")
    session = wiring.session(recipe, workspace)
    return lambda: push(recipe, workspace, session)


def push(recipe: Recipe, workspace: Workspace, session: Session) -> int:
    """Push all items with a prediction and two annotations each."""
    with workspace.lock(recipe.name):
        session.reconcile()
        keys = selecting.next_up(recipe, workspace, session.place, Silent()).keys
        work = Push(
            session.engine,
            session.place,
            session.client,
            session.project,
            session.writer_lock,
            recipe.labeling.parallel_imports,
        )
        items = stream_items(session.engine, recipe.name, keys)
        created = work.run(items, len(keys), tasks_of, Silent())
        with session.engine.begin() as connection:
            server_side.write_push_books(connection, session.place)
    return created


def tasks_of(items: Sequence[Item]) -> list[TaskData]:
    """The load's tasks."""
    prediction = PredictionData(results=load.results("yes"), model_version=load.MODEL, score=0.5)
    answers = (load.results("yes"), load.results("no"))
    return [
        TaskData(key=item.key, data={"text": item.text}, annotations=answers, predictions=(prediction,))
        for item in items
    ]


def _push_again(recipe: Recipe, workspace: Workspace, count: int) -> Callable[[], int]:
    def push() -> int:
        pushed = loop.push(recipe, workspace)
        assert pushed.created == 0, pushed
        return pushed.balance.total

    return push


def _collect(recipe: Recipe, workspace: Workspace, count: int) -> Callable[[], int]:
    def collect() -> int:
        collected = loop.collect(recipe, workspace)
        assert collected.annotations == 2 * count, collected
        return collected.balance.total

    return collect


def _collect_changed(recipe: Recipe, workspace: Workspace, count: int) -> Callable[[], int]:
    """A hundred annotations are edited as the editor does; then those are collected."""
    session = wiring.session(recipe, workspace)
    # What was imported a moment ago is older than the overlap by now, as in a project of more than a minute.
    time.sleep(max(0.0, 35.0 - _age(session)))
    wanted = min(CHANGED, count)
    with workspace.engine.connect() as connection:
        ids = [
            act.id
            for act in server_side.annotations_of(connection, recipe.name)
            if act.results[0]["value"] == {"choices": ["yes"]}
        ][:: max(1, count // wanted)][:wanted]
    # One edit and its collection come before, as they have in any project that is older than a minute.
    for number in ids[:1]:
        session.client.api.call("PATCH", f"/api/annotations/{number}/", json={"lead_time": 1.0})
    loop.collect(recipe, workspace)
    for number in ids:
        body = {"result": load.results("no")}
        session.client.api.call("PATCH", f"/api/annotations/{number}/", json=body)

    def collect() -> int:
        collected = loop.collect(recipe, workspace)
        assert collected.annotations == 2 * count, collected
        return len(ids)

    def check() -> None:
        with workspace.engine.connect() as connection:
            found = {act.id: act for act in server_side.annotations_of(connection, recipe.name)}
        assert all(found[number].results[0]["value"] == {"choices": ["no"]} for number in ids)

    CHECKS.append(check)
    return collect


def _age(session: Session) -> float:
    with session.engine.connect() as connection:
        assert collection.count_annotations(connection, session.place)
    latest = session.reader.project_totals(session.project).latest_update
    assert latest is not None
    return (datetime.now(UTC) - datetime.fromisoformat(latest)).total_seconds()


def _http() -> tuple[httpx.Client, str]:
    token = os.environ["BENCHMARK_TOKEN"]
    headers = {"Authorization": f"Token {token}", "Connection": "close"}
    http = httpx.Client(
        base_url=os.environ["BENCHMARK_URL"], headers=headers, timeout=1800, transport=Counted()
    )
    made = http.post("/api/projects/", json={"title": f"raw {os.getpid()}", "label_config": load.CONFIG})
    made.raise_for_status()
    return http, f"/api/projects/{made.json()['id']}/import"


def _raw(recipe: Recipe, workspace: Workspace, count: int) -> Callable[[], int]:
    """The bulk endpoint by itself."""
    http, place = _http()

    def send() -> int:
        made = 0
        for batch in load.requests(count):
            answer = http.post(place, json=batch).raise_for_status().json()
            assert answer["annotation_count"] == 2 * len(batch), answer
            made += answer["task_count"]
        return made

    return send


def _raw_together(recipe: Recipe, workspace: Workspace, count: int) -> Callable[[], int]:
    """The bulk endpoint by itself, sent as many imports at a time as goldloop sends there."""
    http, place = _http()

    def send(batch: list[dict[str, Any]]) -> int:
        return int(http.post(place, json=batch).raise_for_status().json()["task_count"])

    at_once = load.AT_ONCE["postgresql"]
    return lambda: sum(ahead(send, load.requests(count), at_once, at_once))


def _sdk() -> tuple[Any, int]:
    from label_studio_sdk import LabelStudio

    client = LabelStudio(
        base_url=os.environ["BENCHMARK_URL"],
        api_key=os.environ["BENCHMARK_TOKEN"],
        timeout=1800,
        httpx_client=httpx.Client(timeout=1800, headers={"Connection": "close"}, transport=Counted()),
    )
    made = client.projects.create(title=f"sdk {os.getpid()}", label_config=load.CONFIG)
    return client, made.id


def _sdk_import(recipe: Recipe, workspace: Workspace, count: int) -> Callable[[], int]:
    client, project = _sdk()

    def send() -> int:
        for batch in load.requests(count):
            client.projects.import_tasks(project, request=batch)
        return count

    return send


def _sdk_create(recipe: Recipe, workspace: Workspace, count: int) -> Callable[[], int]:
    client, project = _sdk()

    def send() -> int:
        for task in next(load.requests(SAMPLE)):
            made = client.tasks.create(project=project, data=task["data"])
            client.predictions.create(task=made.id, **task["predictions"][0])
            for annotation in task["annotations"]:
                client.annotations.create(made.id, result=annotation["result"])
        return SAMPLE

    return send


def _export(recipe: Recipe, workspace: Workspace, count: int) -> Callable[[], int]:
    """The whole of goldloop's project by the plain export."""
    session = wiring.session(recipe, workspace)
    http, _ = _http()

    def export() -> int:
        place = f"/api/projects/{session.project.id}/export"
        answer = http.get(place, params={"exportType": "JSON", "download_all_tasks": "true"})
        return len(answer.raise_for_status().json())

    return export


def _snapshot(recipe: Recipe, workspace: Workspace, count: int) -> Callable[[], int]:
    """The whole of goldloop's project by one snapshot, through the SDK."""
    session = wiring.session(recipe, workspace)
    client, _ = _sdk()

    def export() -> int:
        made = client.projects.exports.create(session.project.id, title="benchmark")
        chunks = client.projects.exports.download(session.project.id, made.id, export_type="JSON")
        return len(json.loads(b"".join(chunks)))

    return export


STEPS: dict[str, Callable[[Recipe, Workspace, int], Callable[[], int]]] = {
    "pull": _pull,
    "raw import": _raw,
    "SDK import_tasks": _sdk_import,
    "SDK tasks.create": _sdk_create,
    "goldloop push": _push,
    "raw import after it": _raw,
    "raw import, 2 at a time": _raw_together,
    "goldloop push again": _push_again,
    "goldloop collect": _collect,
    "goldloop collect again": _collect,
    "goldloop collect of 100 changed": _collect_changed,
    "SDK export": _export,
    "SDK snapshot": _snapshot,
}


def _peak() -> float:
    """The process's high-water mark, in MB."""
    return peak_memory() / 1e6


if __name__ == "__main__":
    main(*sys.argv[1:])
