"""The same answers, given on two servers that have nothing in common, are the same version to the byte."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from pydantic import SecretStr

from goldloop import loop, wiring
from goldloop.dataset.certificate import verify
from goldloop.dataset.version import Version
from goldloop.labeling import push
from goldloop.labeling.access import Access
from goldloop.labeling.environment import prepare, process_variables
from goldloop.recipe import Recipe, parse
from goldloop.settings import Settings
from goldloop.tasks import tasks
from goldloop.workspace import Workspace

TASKS: dict[str, dict[str, Any]] = {
    "boxes": {"kind": "object-detection", "classes": ["square", "disc"], "rotated": True},
    "spans": {"kind": "token-classification", "classes": ["person", "place"]},
}
START_SECONDS = 300


@pytest.fixture(scope="module")
def on_postgresql(database: str, workspace: Workspace, tmp_path_factory) -> Iterator[Access]:
    """A Label Studio as somebody else runs it: its own command, PostgreSQL, another name of this host."""
    server = urlsplit(database)
    with psycopg.connect(database.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("CREATE DATABASE label_studio")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder, token = tmp_path_factory.mktemp("elsewhere"), secrets.token_hex(20)
    variables = process_variables(
        DJANGO_DB="default",
        POSTGRE_NAME="label_studio",
        POSTGRE_USER="goldloop",
        POSTGRE_PASSWORD="none",
        POSTGRE_HOST="127.0.0.1",
        POSTGRE_PORT=str(server.port),
        LABEL_STUDIO_BASE_DATA_DIR=str(folder),
        LABEL_STUDIO_USERNAME="team@example.org",
        LABEL_STUDIO_PASSWORD=secrets.token_hex(8),
        LABEL_STUDIO_USER_TOKEN=token,
        LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN="true",
        LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK="true",
        XDG_CONFIG_HOME=str(folder),
    )
    python = prepare(workspace.environment.cache, print).python
    command = [
        python,
        "-m",
        "label_studio.server",
        "start",
        "-b",
        "-p",
        str(port),
        "--internal-host",
        "127.0.0.1",
    ]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=variables, cwd=folder, stdout=log, stderr=log)
    try:
        _wait(f"http://127.0.0.1:{port}/health", process, folder / "log")
        yield Access(f"http://localhost:{port}", SecretStr(token), embedded=False)
    finally:
        process.terminate()
        process.wait(60)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            if httpx.get(url, timeout=10, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(1)
    raise AssertionError(f"no Label Studio after {START_SECONDS} s: {log.read_text()[-3000:]}")


def _sources(folder: Path, name: str, *, backwards: bool) -> Recipe:
    """The examples of a task as files, whose names put them in one order or in the other."""
    task = tasks.create(TASKS[name])
    folder.mkdir(parents=True)
    examples = task.examples()
    for number, example in enumerate(examples):
        place = len(examples) - number if backwards else number
        path = folder / f"{place:03}{'.png' if task.modality == 'image' else '.txt'}"
        path.write_bytes(example.content or (example.item.text or "").encode())
    return parse(
        {
            "name": f"two-servers-{name}",
            "sources": [{"kind": "files", "url": str(folder)}],
            "task": TASKS[name],
            "dataset": {"split": {"train": 0.6, "validation": 0.2, "test": 0.2}},
        }
    )


def _annotate(recipe: Recipe, workspace: Workspace, *, backwards: bool) -> None:
    """Answer every task but one as its example says, on one server with a slip that is put right later."""
    task = tasks.create(recipe.task)
    answers = {example.item.key: example for example in task.examples()}
    session = wiring.session(recipe, workspace)
    listed = sorted(session.client.annotations(session.project), key=lambda found: found.task_id)
    skipped = min(answers)
    for found in reversed(listed) if backwards else listed:
        example = answers[found.key]
        result = task.encode(example.target, example.item)
        first = [] if backwards else result
        fields = {"result": first, "was_cancelled": found.key == skipped, "lead_time": 3.5 + backwards}
        made = session.client._api.call("POST", f"/api/tasks/{found.task_id}/annotations/", json=fields)
        if first != result and found.key != skipped:
            session.client._api.call("PATCH", f"/api/annotations/{made['id']}/", json={"result": result})


def _committed(folder: Path, access: Access | None, name: str, *, backwards: bool, own: Workspace) -> Version:
    workspace = own
    if access is not None:
        environment = Settings(LABEL_STUDIO_URL=access.url, LABEL_STUDIO_API_KEY=access.api_key)
        workspace = Workspace(folder / "state", environment)
    recipe = _sources(folder / "files", name, backwards=backwards)
    loop.pull(recipe, workspace)
    loop.push(recipe, workspace)
    _annotate(recipe, workspace, backwards=backwards)
    loop.collect(recipe, workspace)
    return loop.commit(recipe, workspace)


def _rows(version: Version) -> dict[str, dict[str, Any]]:
    task = tasks.create(version.task)
    return {
        row["key"]: {"split": split, "target": task.from_row(row), "uri": row["uri"], "by": row["annotators"]}
        for split in version.counts
        for row in version.dataset(split)
    }


def test_imports_that_meet_on_postgresql_lose_nothing(tmp_path, on_postgresql, monkeypatch):
    monkeypatch.setattr(push, "BATCH", 50)
    environment = Settings(LABEL_STUDIO_URL=on_postgresql.url, LABEL_STUDIO_API_KEY=on_postgresql.api_key)
    workspace = Workspace(tmp_path / "state", environment)
    table = tmp_path / "texts.csv"
    table.write_text("text,said\n" + "".join(f"text {number},yes\n" for number in range(800)))
    source = {
        "kind": "table",
        "url": str(table),
        "text": "text",
        "label": {"from": "said", "use": "annotation"},
    }
    recipe = parse(
        {
            "name": "together",
            "sources": [source],
            "task": {"kind": "text-classification", "classes": ["yes", "no"]},
            "labeling": {"parallel_imports": 4},
        }
    )
    loop.pull(recipe, workspace)
    assert loop.push(recipe, workspace).created == 800
    assert loop.push(recipe, workspace).created == 0
    session = wiring.session(recipe, workspace)
    totals = session.client.project_totals(session.project)
    assert (totals.tasks, totals.annotations) == (800, 800)
    assert len({found.key for found in session.client.annotations(session.project)}) == 800


@pytest.mark.parametrize("name", TASKS)
def test_the_same_answers_on_sqlite_and_on_postgresql_are_one_version(
    tmp_path, workspace, label_studio, on_postgresql, name
):
    ours = _committed(tmp_path / "one", None, name, backwards=False, own=workspace)
    theirs = _committed(tmp_path / "other", on_postgresql, name, backwards=True, own=workspace)

    assert ours.digest == theirs.digest
    assert ours.folder != theirs.folder
    assert verify(ours.folder) == verify(theirs.folder) == []
    one, other = _rows(ours), _rows(theirs)
    assert len(one) == len(tasks.create(TASKS[name]).examples()) - 1
    assert any(row["target"] for row in one.values())
    assert {key: (row["split"], row["target"]) for key, row in one.items()} == {
        key: (row["split"], row["target"]) for key, row in other.items()
    }
    # What must not matter was different.
    assert all(one[key]["uri"] != other[key]["uri"] for key in one)
    assert all(one[key]["by"] != other[key]["by"] for key in one)
    assert os.path.commonpath([ours.folder, theirs.folder]) not in (str(ours.folder), str(theirs.folder))
