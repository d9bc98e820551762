"""Annotations are in the catalog soon after they were made, however the events behave."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from goldloop import loop, wiring
from goldloop.catalog import server_side
from goldloop.labeling.session import Session
from goldloop.labeling.webhook import HEADER
from goldloop.recipe import Recipe, parse
from goldloop.watching import watch
from goldloop.workspace import Workspace

PATIENCE = 90
"""Seconds within which a hint must have led to a collection; without one it would be an hour."""


class Said:
    """Progress that tells of the address."""

    def __init__(self) -> None:
        self.lines: queue.Queue[str] = queue.Queue()

    def say(self, text: str) -> None:
        self.lines.put(text)

    def track(self, what: str, total: int | None = None):
        from goldloop.progress import Silent

        return Silent().track(what, total)

    def watch(self, what: str, total: int):
        from goldloop.progress import Silent

        return Silent().watch(what, total)

    def address(self) -> str:
        while True:
            line = self.lines.get(timeout=PATIENCE)
            if "events come to" in line:
                return line.split("events come to ")[1].split(";")[0]


def _recipe(folder: Path, name: str) -> Recipe:
    rows = folder / "rows.jsonl"
    rows.write_text("\n".join(json.dumps({"text": f"text {number}"}) for number in range(5)))
    source = {"kind": "table", "url": str(rows), "text": "text"}
    task = {"kind": "text-classification", "classes": ["yes", "no"]}
    return parse({"name": name, "sources": [source], "task": task})


def _pushed(recipe: Recipe, workspace: Workspace) -> tuple[Session, list[int]]:
    """The recipe's place on its server, and the ids of its tasks."""
    loop.pull(recipe, workspace)
    loop.push(recipe, workspace)
    session = wiring.session(recipe, workspace)
    with workspace.engine.connect() as connection:
        return session, sorted(server_side.tasks_of(connection, session.place).values())


@contextmanager
def _watched(recipe: Recipe, workspace: Workspace, every: float) -> Iterator[tuple[str, queue.Queue]]:
    """A watcher at work: where events come to, and what it collects."""
    said, stop, found = Said(), threading.Event(), queue.Queue()
    failed: list[BaseException] = []

    def work() -> None:
        try:
            watch(recipe, workspace, said, every=every, pause=0.1, stop=stop, collected=found.put)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        address = said.address()
        assert found.get(timeout=PATIENCE).annotations == 0
        yield address, found
    finally:
        stop.set()
        thread.join(PATIENCE)
    assert not failed


def _choice(name: str) -> dict:
    value = {"choices": [name]}
    return {"result": [{"from_name": "label", "to_name": "text", "type": "choices", "value": value}]}


def test_an_annotation_is_collected_without_waiting(workspace, label_studio, tmp_path):
    recipe = _recipe(tmp_path, "watched")
    session, tasks = _pushed(recipe, workspace)
    with _watched(recipe, workspace, every=3600) as (address, found):
        (hook,) = session.client.api.get("/api/webhooks/", {"project": session.project.id})
        assert hook["url"] == address
        for number, task in enumerate(tasks[:2], 1):
            session.client.api.call("POST", f"/api/tasks/{task}/annotations/", json=_choice("yes"))
            while found.get(timeout=PATIENCE).annotations < number:
                pass
        # Forged, replayed from an earlier receiver, doubled: none is believed, and none does harm.
        body = {"action": "ANNOTATION_CREATED"}
        for secret, status in (("", 403), ("of another time", 403), (hook["headers"][HEADER], 204)):
            for _ in range(2):
                answer = httpx.post(address, json=body, headers={HEADER: secret}, trust_env=False)
                assert answer.status_code == status
        assert found.get(timeout=PATIENCE).annotations == 2
    assert session.client.api.get("/api/webhooks/", {"project": session.project.id}) == []


def test_a_service_manager_ends_it_and_no_more_events_are_sent(workspace, label_studio, tmp_path):
    recipe = _recipe(tmp_path, "serviced")
    session, _ = _pushed(recipe, workspace)
    path = tmp_path / "serviced.yaml"
    path.write_text(
        f"name: serviced\nsources: [{{kind: table, url: '{tmp_path}/rows.jsonl', text: text}}]\n"
        "task: {kind: text-classification, classes: ['yes', 'no']}\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "goldloop", "watch", str(path), "--every", "3600"],
        env=os.environ | {"GOLDLOOP_HOME": str(workspace.root)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    with process.stderr:
        for line in process.stderr:
            if line.startswith("watch: events come"):
                assert session.client.api.get("/api/webhooks/", {"project": session.project.id})
                process.terminate()
    assert process.wait(PATIENCE) == 0
    assert session.client.api.get("/api/webhooks/", {"project": session.project.id}) == []


class _Relay(ThreadingHTTPServer):
    """Between Label Studio and a receiver: of five events one is passed on, one is lost, one comes twice, and
    two come late and in the other order."""

    daemon_threads = True

    def __init__(self, to: str) -> None:
        self.to = to
        self.came = 0
        self.held: list[tuple[bytes, dict[str, str]]] = []
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Relayed)

    def take(self, body: bytes, headers: dict[str, str]) -> None:
        with self.lock:
            turn, self.came = self.came % 5, self.came + 1
            passed = {0: 1, 2: 2}.get(turn, 0) * [(body, headers)]
            if turn in (3, 4):
                self.held.insert(0, (body, headers))
            if turn == 4:
                passed, self.held = self.held, []
        for event, secret in passed:
            httpx.post(self.to, content=event, headers=secret, trust_env=False).raise_for_status()


class _Relayed(BaseHTTPRequestHandler):
    server: _Relay

    def log_message(self, *_arguments: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.server.take(body, {HEADER: self.headers[HEADER]})
        self.send_response(204)
        self.send_header("Content-Length", "0")
        self.end_headers()


def test_events_that_are_lost_doubled_or_late_lose_nothing(workspace, label_studio, tmp_path):
    recipe = _recipe(tmp_path, "watched-badly")
    session, tasks = _pushed(recipe, workspace)
    api = session.client.api

    def state() -> list[tuple[int, str]]:
        """Task and choice of each annotation that the catalog knows."""
        with workspace.engine.connect() as connection:
            acts = list(server_side.annotations_of(connection, recipe.name))
        return sorted((act.task_id, act.results[0]["value"]["choices"][0]) for act in acts)

    with _watched(recipe, workspace, every=5) as (address, _):
        relay = _Relay(address)
        threading.Thread(target=relay.serve_forever, daemon=True).start()
        (hook,) = api.get("/api/webhooks/", {"project": session.project.id})
        events = {"actions": hook["actions"]}
        place = {"url": f"http://127.0.0.1:{relay.server_port}/events"}
        api.call("PATCH", f"/api/webhooks/{hook['id']}/", json=place | events)
        made = [
            api.call("POST", f"/api/tasks/{task}/annotations/", json=_choice("yes"))["id"] for task in tasks
        ]
        for number in made[:3]:
            api.call("PATCH", f"/api/annotations/{number}/", json=_choice("no"))
        api.call("DELETE", f"/api/annotations/{made[4]}/")
        expected = [(task, "no" if rank < 3 else "yes") for rank, task in enumerate(tasks[:4])]
        end = time.monotonic() + PATIENCE
        while state() != expected and time.monotonic() < end:
            time.sleep(0.5)
        came = relay.came
        relay.shutdown()
        relay.server_close()
        # The receiver's own registration goes by its address.
        api.call("PATCH", f"/api/webhooks/{hook['id']}/", json={"url": address} | events)
    assert came >= 5
    assert state() == expected
    loop.collect(recipe, workspace, full=True)
    assert state() == expected


def test_a_server_that_is_away_is_tried_again_less_and_less_often(
    workspace, label_studio, tmp_path, monkeypatch
):
    from goldloop.errors import LabelStudioUnreachable

    recipe = _recipe(tmp_path, "watched-away")
    loop.pull(recipe, workspace)
    loop.push(recipe, workspace)
    tries: list[int] = []
    stop, real = threading.Event(), loop.collect

    def away(*arguments, **named):
        tries.append(1)
        if len(tries) < 4:
            raise LabelStudioUnreachable("away")
        stop.set()
        return real(*arguments, **named)

    monkeypatch.setattr(loop, "collect", away)
    said = Said()
    assert watch(recipe, workspace, said, every=0.0, pause=0.01, stop=stop) == 1
    lines = [said.lines.get_nowait() for _ in range(said.lines.qsize())]
    assert sum("trying again" in line for line in lines) == 3


def test_a_port_that_is_taken_is_told():
    from goldloop.errors import ServingError
    from goldloop.labeling.webhook import Receiver

    with Receiver("127.0.0.1", 0) as first, pytest.raises(ServingError, match="cannot listen"):
        Receiver("127.0.0.1", first.server_address[1])
