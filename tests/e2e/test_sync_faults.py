"""However push and collect are disturbed, they end in the state of a run that was left alone."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from faulty_proxy import faulty
from pydantic import SecretStr

from goldloop import loop, wiring
from goldloop.catalog import server_side
from goldloop.catalog.ledger import balance
from goldloop.errors import GoldloopError, WorkspaceBusy
from goldloop.labeling.access import Access
from goldloop.recipe import Recipe, parse
from goldloop.settings import Settings
from goldloop.workspace import Workspace

COUNT = 120
BATCH = 20
KILLS = 5
PROGRAM = (
    "import sys; from pathlib import Path; from goldloop.labeling import pages, push, database; "
    f"push.BATCH = {BATCH}; pages.PAGE = database.PAGE = {BATCH}; "
    "from goldloop import loop, recipe; "
    "getattr(loop, sys.argv[1])(recipe.load(Path(sys.argv[2])))"
)


@pytest.fixture(autouse=True)
def small_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that few tasks make many requests."""
    monkeypatch.setattr("goldloop.labeling.push.BATCH", BATCH)
    monkeypatch.setattr("goldloop.labeling.pages.PAGE", BATCH)
    monkeypatch.setattr("goldloop.labeling.database.PAGE", BATCH)


def _recipe(folder: Path, name: str) -> tuple[Recipe, Path]:
    """Texts of which the source knows a label, which becomes an annotation."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = folder / f"{name}.jsonl"
    rows.write_text(
        "\n".join(
            json.dumps({"text": f"text {number} 🎈", "label": "yes" if number % 3 else "no"})
            for number in range(COUNT)
        )
    )
    fields = {
        "name": name,
        "sources": [
            {
                "kind": "table",
                "url": str(rows),
                "text": "text",
                "label": {"from": "label", "use": "annotation"},
            }
        ],
        "task": {"kind": "text-classification", "classes": ["yes", "no"]},
    }
    path = folder / f"{name}.json.yaml"
    path.write_text(json.dumps(fields))
    return parse(fields), path


def _state(recipe: Recipe, workspace: Workspace) -> dict[str, Any]:
    """All that must not depend on what came between, on the server and in the catalog."""
    session = wiring.session(recipe, workspace)
    listed = Counter(
        (task.key, tuple(json.dumps(act.results[0]["value"]) for act in task.annotations))
        for task in session.client.annotations(session.project)
    )
    with workspace.engine.connect() as connection:
        held = Counter(
            (act.key, json.dumps(act.results[0]["value"]), act.cancelled)
            for act in server_side.annotations_of(connection, recipe.name)
        )
        books = {stage: balance(connection, recipe.name, stage) for stage in ("push", "collect")}
        assert server_side.batches_in_doubt(connection, session.place) == {}
    return {"listed": listed, "held": held, "books": books}


def _patiently(work: Any, tries: int = 30) -> int:
    """Do something again until it succeeds, as whoever runs it by a timer does; how often it failed."""
    for failed in range(tries):
        try:
            work()
        except GoldloopError as error:
            print(f"run again after: {error}")
        else:
            return failed
    raise AssertionError(f"{tries} runs failed")


@pytest.fixture(scope="module")
def undisturbed(workspace, server, tmp_path_factory) -> dict[str, Any]:
    """The state after a push and a collection that were left alone."""
    server.up()
    recipe, _ = _recipe(tmp_path_factory.mktemp("alone"), "sync-alone")
    loop.pull(recipe, workspace)
    loop.push(recipe, workspace)
    loop.collect(recipe, workspace)
    state = _state(recipe, workspace)
    assert len(state["listed"]) == COUNT
    assert state["books"]["push"].outcomes == {"pushed": COUNT}
    assert state["books"]["collect"].outcomes == {"labelled": COUNT}
    return state


def _elsewhere(folder: Path, url: str, key: SecretStr) -> Workspace:
    """A workspace that knows the server as somebody else's, by HTTP alone."""
    return Workspace(folder, Settings(LABEL_STUDIO_URL=url, LABEL_STUDIO_API_KEY=key))


@pytest.mark.parametrize("way", ["embedded", "elsewhere"])
def test_killed_again_and_again(undisturbed, workspace, label_studio, tmp_path, way):
    recipe, path = _recipe(tmp_path, f"sync-killed-{way}")
    used = workspace
    if way == "elsewhere":
        used = _elsewhere(tmp_path / "home", label_studio.url, label_studio.api_key)
    loop.pull(recipe, used)
    variables = {**os.environ, "GOLDLOOP_HOME": str(used.root)}
    if way == "elsewhere":
        variables |= {
            "LABEL_STUDIO_URL": label_studio.url,
            "LABEL_STUDIO_API_KEY": label_studio.api_key.get_secret_value(),
        }
    chance = random.Random(way)
    for stage in ("push", "collect"):
        for _ in range(KILLS):
            process = subprocess.Popen([sys.executable, "-c", PROGRAM, stage, str(path)], env=variables)
            lock = used.root / "locks" / f"{recipe.name}.lock"
            while process.poll() is None and not _open_in(process.pid, lock):
                time.sleep(0.02)
            time.sleep(chance.uniform(0, 1.5))
            process.send_signal(signal.SIGKILL)
            process.wait(60)
        _patiently(lambda stage=stage: getattr(loop, stage)(recipe, used))
    assert _state(recipe, used) == undisturbed


def _open_in(pid: int, path: Path) -> bool:
    """Whether a process has begun to work."""
    try:
        return any(each.path == str(path) for each in psutil.Process(pid).open_files())
    except psutil.Error:
        return True


@pytest.fixture
def token(label_studio: Access) -> Iterator[SecretStr]:
    """A personal access token, whose access tokens expire."""
    headers = {"Authorization": f"Token {label_studio.api_key.get_secret_value()}"}
    with httpx.Client(base_url=label_studio.url, headers=headers, timeout=60) as http:
        settings = {"api_tokens_enabled": True, "legacy_api_tokens_enabled": True}
        http.post("/api/jwt/settings", json=settings).raise_for_status()
        token = http.post("/api/token/").raise_for_status().json()["token"]
        yield SecretStr(token)
        http.post("/api/token/blacklist/", json={"refresh": token})


def test_behind_a_network_that_fails(undisturbed, label_studio, token, tmp_path):
    with faulty(label_studio.url, share=0.0, seed=1) as proxy:
        away = _elsewhere(tmp_path / "home", proxy.url, token)
        recipe, _ = _recipe(tmp_path, "sync-network")
        loop.pull(recipe, away)
        proxy.share = 0.25
        _patiently(lambda: loop.push(recipe, away))
        _patiently(lambda: loop.collect(recipe, away))
        proxy.share = 0.0
        loop.push(recipe, away)
        loop.collect(recipe, away)
        assert _state(recipe, away) == undisturbed
        assert len(proxy.met) >= 6, proxy.met


def test_while_label_studio_is_killed(undisturbed, workspace, server, tmp_path, monkeypatch):
    from goldloop.labeling.client import LabelStudioClient

    server.up()
    recipe, _ = _recipe(tmp_path, "sync-restarted")
    loop.pull(recipe, workspace)
    whole = LabelStudioClient.import_tasks
    sent = []

    def killed(self, project, tasks, batch):
        sent.append(batch)
        if len(sent) == 3:
            process = server._process()
            subprocess.Popen(
                [sys.executable, "-c", f"import time, os; time.sleep(0.2); os.kill({process.pid}, 9)"]
            ).wait()
            server.up()
        return whole(self, project, tasks, batch)

    monkeypatch.setattr(LabelStudioClient, "import_tasks", killed)
    _patiently(lambda: loop.push(recipe, workspace))
    loop.collect(recipe, workspace)
    assert _state(recipe, workspace) == undisturbed


def test_two_at_once_on_one_project(undisturbed, workspace, label_studio, tmp_path):
    recipe, path = _recipe(tmp_path, "sync-two")
    loop.pull(recipe, workspace)
    variables = {**os.environ, "GOLDLOOP_HOME": str(workspace.root)}
    for stage in ("push", "collect"):
        command = [sys.executable, "-c", PROGRAM, stage, str(path)]
        both = [subprocess.Popen(command, env=variables, stderr=subprocess.PIPE, text=True) for _ in "12"]
        said = [process.communicate(timeout=110)[1] for process in both]
        failed = [text for process, text in zip(both, said, strict=True) if process.returncode]
        assert all(WorkspaceBusy.__name__ in text for text in failed), failed
        assert len(failed) < len(both)
    assert _state(recipe, workspace) == undisturbed
