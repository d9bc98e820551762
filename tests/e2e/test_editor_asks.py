"""Label Studio's editor, in a real browser, asks the prediction server and shows what it suggests."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from goldloop import loop, wiring
from goldloop.catalog.content import items_of
from goldloop.catalog.server_side import annotations_of, tasks_of
from goldloop.connectors._content import Limits
from goldloop.inference import Predictor
from goldloop.labeling.backend import connect
from goldloop.labeling.session import Session
from goldloop.recipe import Recipe, parse
from goldloop.records import Prediction, content_key
from goldloop.serving.app import create_app
from goldloop.serving.config import ServingConfig
from goldloop.serving.hosted import Candidate, Models
from goldloop.serving.keys import ApiKeys
from goldloop.serving.label_studio_backend import Backend
from goldloop.serving.label_studio_media import TaskReader
from goldloop.serving.metrics import Metrics
from goldloop.tasks import tasks
from goldloop.tasks.base import Example

pytestmark = pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on this machine")


class ByHeart(Predictor):
    """A model that knows its examples by heart, so that there is something to be seen of every kind."""

    def __init__(self, kind: str, examples: Mapping[str, Example[Any]]) -> None:
        task = tasks.create(tasks.get(kind).example_config())
        super().__init__(task, task.example_model(), {"name": kind}, "cpu")
        self.examples = examples

    def prepare_each(self, contents: Sequence[bytes | str], first: int = 0) -> list[Any]:
        keys = [content_key(each.encode() if isinstance(each, str) else each) for each in contents]
        return [{"answer": self.examples[key].target} for key in keys]

    def answer_prepared(self, rows: Sequence[Mapping[str, Any]]) -> list[Prediction[Any]]:
        return [Prediction(target=row["answer"], confidence=0.9) for row in rows]


@dataclass(frozen=True)
class Asked:
    """A project whose model is a running prediction server."""

    recipe: Recipe
    session: Session
    items: Mapping[int, Any]
    url: str
    backend: int

    def served(self) -> int:
        """How many answers the server has given."""
        name = f'goldloop_items_total{{model="{self.recipe.name}",outcome="answered"}} '
        figures = httpx.get(f"{self.url}/metrics", trust_env=False).text
        return int(float(figures.partition(name)[2].partition("\n")[0] or 0))


@contextmanager
def _listening(app: Any) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def _sources(kind: str, examples: Mapping[str, Example[Any]], folder: Path) -> list[dict[str, Any]]:
    import pandas

    first = next(iter(examples.values()))
    if first.content is None:
        task = tasks.create(tasks.get(kind).example_config())
        rows = [task.task_data(example.item, None) for example in examples.values()]
        pandas.DataFrame(rows).to_parquet(folder / "texts.parquet")
        names = list(rows[0])
        text = names[0] if len(names) == 1 else names
        return [{"kind": "table", "url": str(folder / "texts.parquet"), "text": text}]
    for number, example in enumerate(examples.values()):
        (folder / f"{number}.png").write_bytes(example.content or b"")
    return [{"kind": "files", "url": str(folder)}]


@contextmanager
def asked(kind: str, workspace: Any, folder: Path, name: str | None = None) -> Iterator[Asked]:
    """A project with three examples of a task type, which asks a server about them."""
    task = tasks.create(tasks.get(kind).example_config())
    shown = [example for example in task.examples() if example.target][:3]
    examples = {example.item.key: example for example in shown}
    folder.mkdir()
    name = name or f"asks-{kind}"
    section = {"name": name, "sources": _sources(kind, examples, folder)}
    recipe = parse({**section, "task": tasks.get(kind).example_config()})
    loop.pull(recipe, workspace)
    loop.push(recipe, workspace)
    session = wiring.session(recipe, workspace)
    with workspace.engine.connect() as connection:
        live = tasks_of(connection, session.place)
        items = {live[item.key]: item for item in items_of(connection, recipe.name)}
    metrics = Metrics()
    known = {example.item.key: example for example in task.examples()}
    candidate = Candidate(name, f"{name}/1", lambda device: (ByHeart(kind, known), ServingConfig()))
    models = Models(lambda: [candidate], metrics, device="cpu")
    models.refresh()
    reader = TaskReader(lambda key: None, lambda: session.access, Limits(64, 2), 64_000_000)
    backend = Backend(reader, None, metrics)
    app = create_app(models, ServingConfig(), ApiKeys(folder / "none.json"), metrics, backend)
    with _listening(app) as url:
        at = f"{url}/label-studio/{name}"
        number = connect(session.access, session.project.id, at, name)
        assert connect(session.access, session.project.id, at, name) == number
        yield Asked(recipe, session, items, url, number)
    models.close()


def _annotated(asked: Asked, workspace: Any) -> dict[str, list[Any]]:
    """What was submitted, by content key, as targets."""
    loop.collect(asked.recipe, workspace)
    task = tasks.create(asked.recipe.task)
    items = {item.key: item for item in asked.items.values()}
    found: dict[str, list[Any]] = {}
    with workspace.engine.connect() as connection:
        for act in annotations_of(connection, asked.recipe.name):
            found.setdefault(act.key, []).append((task.decode(act.results, items[act.key]), act.shown_model))
    return found


@pytest.mark.parametrize("kind", tasks.names())
def test_an_opened_task_shows_what_the_server_says_and_it_can_be_submitted(
    kind: str, workspace: Any, server: Any, page: Any, tmp_path: Path
) -> None:
    with asked(kind, workspace, tmp_path / "items") as project:
        task = tasks.create(project.recipe.task)
        truth = {example.item.key: example.target for example in task.examples()}
        number, item = min(project.items.items())
        assert project.served() == 0
        page.goto(f"{server.access().url}/projects/{project.session.project.id}/data?task={number}")
        submit = page.locator("button:has-text('Submit')")
        submit.wait_for(timeout=60_000)
        page.wait_for_timeout(3_000)
        page.screenshot(path=str(tmp_path / f"{kind}.png"))
        assert project.served() >= 1
        with page.expect_response(lambda answer: "/annotations" in answer.url and answer.status == 201):
            submit.click()
        submitted = _annotated(project, workspace)
    assert submitted.keys() == {item.key}
    ((target, shown),) = submitted[item.key]
    assert task.agreement(target, truth[item.key]) > 0.99
    assert shown == f"{project.recipe.name}/1"


def test_predictions_of_a_whole_project_are_retrieved_in_one_go(
    workspace: Any, server: Any, tmp_path: Path
) -> None:
    with asked("image-classification", workspace, tmp_path / "batch", "asks-batch") as project:
        access = server.access()
        headers = {"Authorization": f"Token {access.api_key.get_secret_value()}", "Connection": "close"}
        with httpx.Client(base_url=access.url, headers=headers, timeout=120, trust_env=False) as client:
            place = {"id": "retrieve_tasks_predictions", "project": project.session.project.id}
            everything = {"selectedItems": {"all": True, "excluded": []}}
            client.post("/api/dm/actions", params=place, json=everything).raise_for_status()
            found = client.get("/api/predictions/", params={"project": project.session.project.id}).json()
            versions = client.get(f"/api/ml/{project.backend}/versions").json()
        assert {each["task"] for each in found} >= set(project.items)
        assert {each["model_version"] for each in found} == {f"{project.recipe.name}/1"}
        assert f"{project.recipe.name}/1" in str(versions)
        assert project.served() >= len(project.items)
