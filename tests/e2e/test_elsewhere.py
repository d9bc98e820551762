"""A Label Studio that goldloop did not start: reached by address and token, its other projects left alone."""

from __future__ import annotations

import httpx
import pytest
from pydantic import SecretStr

from goldloop import loop, wiring
from goldloop.errors import LabelStudioDenied, LabelStudioError, LabelStudioUnreachable
from goldloop.examples.digits import write_digits
from goldloop.recipe import Recipe, parse
from goldloop.settings import Settings
from goldloop.simulation import simulate
from goldloop.workspace import Workspace


def _elsewhere(folder, url: str, token: str) -> Workspace:
    environment = Settings(
        LABEL_STUDIO_URL=url, LABEL_STUDIO_API_KEY=SecretStr(token), GOLDLOOP_HOME=folder / "state"
    )
    return Workspace(folder / "state", environment)


@pytest.fixture
def recipe(tmp_path) -> Recipe:
    folder = str(write_digits(tmp_path / "digits", per_class=3))
    return parse(
        {
            "name": "elsewhere",
            "sources": [{"kind": "files", "url": folder, "label": {"from": "folder", "use": "truth"}}],
            "task": {
                "kind": "image-classification",
                "classes": [
                    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
                ],
            },
        }
    )  # fmt: skip


@pytest.fixture
def theirs(label_studio):
    """Somebody else's project on the same server, which has the title that ours would get."""
    client = httpx.Client(
        base_url=label_studio.url,
        headers={"Authorization": f"Token {label_studio.api_key.get_secret_value()}"},
        trust_env=False,
        timeout=60,
    )
    config = (
        '<View><Text name="t" value="$t"/><Choices name="c" toName="t"><Choice value="a"/></Choices></View>'
    )
    made = client.post("/api/projects/", json={"title": "goldloop elsewhere", "label_config": config}).json()
    client.post(f"/api/projects/{made['id']}/import", json=[{"t": "their work"}]).raise_for_status()

    def state():
        project = client.get(f"/api/projects/{made['id']}/").json()
        return {name: project[name] for name in ("title", "label_config", "task_number", "description")}

    before = state()
    yield client
    assert state() == before
    client.close()


def test_images_are_sent_there_and_open_in_the_browser(tmp_path, label_studio, theirs, recipe):
    workspace = _elsewhere(tmp_path, label_studio.url, label_studio.api_key.get_secret_value())
    loop.pull(recipe, workspace)
    assert loop.push(recipe, workspace).created == 30
    assert loop.push(recipe, workspace).created == 0
    session = wiring.session(recipe, workspace)
    listed = theirs.get("/api/tasks", params={"project": session.project.id, "page_size": 100}).json()[
        "tasks"
    ]
    assert len(listed) == 30
    shown = theirs.get(listed[0]["data"]["image"])
    assert shown.status_code == 200
    with workspace.engine.connect() as connection:
        from goldloop.catalog.content import items_of

        (item,) = items_of(connection, recipe.name, keys={listed[0]["data"]["key"]})
    assert shown.content == workspace.media.read(item)


def test_simulated_annotators_never_work_there(tmp_path, label_studio, theirs, recipe):
    workspace = _elsewhere(tmp_path, label_studio.url, label_studio.api_key.get_secret_value())
    loop.pull(recipe, workspace)
    loop.push(recipe, workspace)
    with pytest.raises(LabelStudioError, match="embedded Label Studio only"):
        simulate(recipe, workspace=workspace)


def test_a_wrong_token_is_refused_and_not_told(tmp_path, label_studio, recipe):
    workspace = _elsewhere(tmp_path, label_studio.url, "0123456789" * 4)
    loop.pull(recipe, workspace)
    with pytest.raises(LabelStudioDenied, match="legacy token") as caught:
        loop.push(recipe, workspace)
    assert "0123456789" not in str(caught.value)


def test_a_server_that_is_down_is_told_by_its_address(tmp_path, recipe):
    workspace = _elsewhere(tmp_path, "http://127.0.0.1:9", "0123456789" * 4)
    loop.pull(recipe, workspace)
    with pytest.raises(LabelStudioUnreachable, match="LABEL_STUDIO_URL"):
        loop.push(recipe, workspace)
