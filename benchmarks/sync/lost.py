"""What is lost when annotated tasks are sent to a Label Studio on SQLite while people work; see README.md.

.venv/bin/python benchmarks/sync/lost.py [--times 10] [--tasks 5000] [--server plain-sqlite]
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

sys.path.insert(0, str(Path(__file__).parent))

import load
import run
import servers
import step

from goldloop import loop, wiring
from goldloop.labeling.client import LabelStudioClient
from goldloop.labeling.simulate import Persona, SimulatedAnnotator
from goldloop.recipe import load as load_recipe
from goldloop.settings import Settings
from goldloop.workspace import Workspace

_OPEN_TASKS = 20_000
"""More than two people annotate meanwhile."""


Work = Callable[[], tuple[int, int]]
"""Sends; returns the project and how many requests failed."""


@dataclass(frozen=True)
class Place:
    """A server, its database file, and a folder for what is sent."""

    server: servers.Running
    file: Path
    folder: Path


def main() -> None:
    """Send the same tasks in both ways, again and again, and count what is there afterwards."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--tasks", type=int, default=5_000)
    parser.add_argument("--pause", type=float, default=0.5, help="seconds that each person takes to answer")
    parser.add_argument("--server", choices=("plain-sqlite", "sqlite"), default="plain-sqlite")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    name = f"{datetime.now(UTC):%Y-%m-%d}-lost"
    facts = {
        **run.facts(f"{datetime.now(UTC):%Y-%m-%d}"),
        "command": f"benchmarks/sync/lost.py {' '.join(sys.argv[1:])}".strip(),
    }
    facts["pause"] = arguments.pause
    measured = []
    with (arguments.out / f"{name}.jsonl").open("w", encoding="utf-8") as file:
        file.write(json.dumps(facts) + "\n")
        for line in measure(arguments.server, arguments.times, arguments.tasks, arguments.pause):
            measured.append(line)
            file.write(json.dumps(line) + "\n")
            file.flush()
            print(json.dumps(line), flush=True)
    text = report(facts, measured)
    print(text)
    (arguments.out / f"{name}.md").write_text(text, encoding="utf-8")


def measure(kind: str, times: int, count: int, pause: float) -> Iterator[dict[str, Any]]:
    """One line for each sending."""
    with (
        tempfile.TemporaryDirectory(prefix="goldloop-lost-") as made,
        servers.running(kind, Path(made) / "server") as server,
    ):
        folder = Path(made)
        data = (
            folder / "server"
            if kind == "plain-sqlite"
            else folder / "server" / "home" / "label-studio" / "data"
        )
        place = Place(server, data / "label_studio.sqlite3", folder)
        for number in range(times):
            for way, prepare in (("SDK import_tasks", _sdk), ("goldloop push", _goldloop)):
                work = prepare(place, count, number)
                with _annotators(place, pause) as people:
                    project, failed = work()
                yield {"way": way, "run": number, "tasks": count, "failed requests": failed,
                       "by people": people.submitted, "lost by people": people.lost,
                       **_there(place.file, project, count)}  # fmt: skip


def _there(file: Path, project: int, count: int) -> dict[str, int]:
    """What of the tasks and their annotations is in the database."""
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=120)) as connection:
        tasks, annotations, predictions = (
            connection.execute(f"SELECT count(*) FROM {table} WHERE project_id = ?", (project,)).fetchone()[0]
            for table in ("task", "task_completion", "prediction")
        )
    return {
        "there": tasks,
        "lost annotations": 2 * min(tasks, count) - annotations,
        "lost predictions": min(tasks, count) - predictions,
    }


def _sdk(place: Place, count: int, number: int) -> Work:
    """As the SDK's documentation does it; a request that fails is counted, and not sent again."""
    from label_studio_sdk import LabelStudio
    from label_studio_sdk.core.api_error import ApiError

    client = LabelStudio(
        base_url=place.server.url,
        api_key=place.server.token,
        timeout=1800,
        httpx_client=httpx.Client(timeout=1800, headers={"Connection": "close"}),
    )
    project = client.projects.create(title=f"sdk {number}", label_config=load.CONFIG).id

    def work() -> tuple[int, int]:
        failed = 0
        for batch in load.requests(count):
            try:
                client.projects.import_tasks(project, request=batch)
            except (ApiError, httpx.HTTPError):
                failed += 1
        return project, failed

    return work


def _goldloop(place: Place, count: int, number: int) -> Work:
    recipe = load_recipe(load.write_recipe(place.folder / f"run-{number}", count))
    variables = place.server.variables
    settings = Settings(
        LABEL_STUDIO_URL=variables.get("LABEL_STUDIO_URL"),
        LABEL_STUDIO_API_KEY=SecretStr(place.server.token) if "LABEL_STUDIO_URL" in variables else None,
    )
    embedded = "LABEL_STUDIO_URL" not in variables
    home = Path(variables["GOLDLOOP_HOME"]) if embedded else place.folder / f"home-{number}"
    recipe = recipe.model_copy(update={"name": f"{recipe.name}-{number}"})
    workspace = Workspace(home, settings)
    loop.pull(recipe, workspace)
    session = wiring.session(recipe, workspace)

    def work() -> tuple[int, int]:
        step.push(recipe, workspace, session)
        workspace.engine.dispose()
        return session.project.id, 0

    return work


@dataclass
class People:
    """What two people submitted, and what of it the server does not have."""

    submitted: int = 0
    lost: int = 0


@contextmanager
def _annotators(place: Place, pause: float) -> Iterator[People]:
    """Two people at work, in a project of their own, by what their browsers send."""

    def answer(*_: Any) -> Any:
        time.sleep(pause)
        return load.results("yes")

    headers = {"Authorization": f"Token {place.server.token}", "Connection": "close"}
    with httpx.Client(base_url=place.server.url, headers=headers, timeout=1800) as http:
        made = http.post("/api/projects/", json={"title": "people", "label_config": load.CONFIG})
        project = made.raise_for_status().json()["id"]
        for batch in load.requests(_OPEN_TASKS // 10):
            bare = [{"data": {**task["data"], "key": task["data"]["text"]}} for task in batch]
            http.post(f"/api/projects/{project}/import", json=bare).raise_for_status()
    invitation = LabelStudioClient(place.server.url, SecretStr(place.server.token)).invitation()
    people = [
        SimulatedAnnotator(place.server.url, Persona(name=f"person-{number}"), answer) for number in (1, 2)
    ]
    for person in people:
        person.log_in(invitation, "a password of nobody")
    stop, result = threading.Event(), People()
    with ThreadPoolExecutor(2) as pool:
        work = [pool.submit(person.work, project, None, stop) for person in people]
        try:
            yield result
        finally:
            stop.set()
    result.submitted = sum(person.annotated for person in people)
    with closing(sqlite3.connect(f"{place.file.as_uri()}?mode=ro", uri=True, timeout=120)) as connection:
        query = "SELECT count(*) FROM task_completion WHERE project_id = ?"
        result.lost = result.submitted - connection.execute(query, (project,)).fetchone()[0]
    for each in work:
        error = each.exception()
        if error is not None and not result.lost:
            raise error


def report(facts: dict[str, Any], measured: list[dict[str, Any]]) -> str:
    """The table."""
    lines = [
        f"# Sending annotated tasks while two people annotate, {facts['day']}",
        "",
        f"`{facts['command']}` at {facts['commit']}; {os.cpu_count()} CPU cores; Label Studio"
        f" {facts['label_studio']} on SQLite.",
        "",
        f"Each person takes {facts['pause']} s to answer.",
        "",
        "| way | run | tasks | there | lost annotations | lost predictions | failed | people | lost |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {line['way']} | {line['run'] + 1} | {line['tasks']:,} | {line['there']:,} "
        f"| {line['lost annotations']:,} | {line['lost predictions']:,} | {line['failed requests']} "
        f"| {line['by people']:,} | {line['lost by people']:,} |"
        for line in measured
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
