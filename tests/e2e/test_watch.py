"""Annotations are in the catalog soon after they were made, however the events behave."""

from __future__ import annotations

import json
import queue
import threading
from pathlib import Path

import httpx
import pytest

from goldloop import loop, wiring
from goldloop.catalog import server_side
from goldloop.labeling.webhook import HEADER
from goldloop.recipe import Recipe, parse
from goldloop.watching import watch

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


def test_an_annotation_is_collected_without_waiting(workspace, label_studio, tmp_path):
    recipe = _recipe(tmp_path, "watched")
    loop.pull(recipe, workspace)
    loop.push(recipe, workspace)
    session = wiring.session(recipe, workspace)
    with workspace.engine.connect() as connection:
        tasks = sorted(server_side.tasks_of(connection, session.place).values())
    said, stop, found = Said(), threading.Event(), queue.Queue()
    failed: list[BaseException] = []

    def work() -> None:
        try:
            watch(recipe, workspace, said, every=3600, pause=0.1, stop=stop, collected=found.put)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        address = said.address()
        assert found.get(timeout=PATIENCE).annotations == 0
        (hook,) = session.client.api.get("/api/webhooks/", {"project": session.project.id})
        assert hook["url"] == address
        for number, task in enumerate(tasks[:2], 1):
            result = [
                {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": ["yes"]}}
            ]
            session.client.api.call("POST", f"/api/tasks/{task}/annotations/", json={"result": result})
            while found.get(timeout=PATIENCE).annotations < number:
                pass
        # Forged, replayed from an earlier receiver, doubled: none is believed, and none does harm.
        body = {"action": "ANNOTATION_CREATED"}
        for secret, status in (("", 403), ("of another time", 403), (hook["headers"][HEADER], 204)):
            for _ in range(2):
                answer = httpx.post(address, json=body, headers={HEADER: secret}, trust_env=False)
                assert answer.status_code == status
        assert found.get(timeout=PATIENCE).annotations == 2
    finally:
        stop.set()
        thread.join(PATIENCE)
    assert not failed
    assert session.client.api.get("/api/webhooks/", {"project": session.project.id}) == []


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
