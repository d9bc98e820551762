"""An existing Label Studio project as a source: read with its annotations and media, and never written to."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

import httpx
import pytest
from PIL import Image

from goldloop import loop
from goldloop.catalog.content import items_of
from goldloop.connectors import connectors
from goldloop.connectors.base import Found, Kept, NothingKnown
from goldloop.errors import LabelStudioDenied, SourceError
from goldloop.recipe import parse
from goldloop.records import Item, Quarantined
from goldloop.settings import Settings
from goldloop.workspace import Workspace

TEXTS = (
    '<View><Text name="words" value="$body"/><Choices name="mood" toName="words">'
    '<Choice value="good"/><Choice value="bad"/></Choices></View>'
)
IMAGES = (
    '<View><Image name="photo" value="$photo"/><Choices name="kind" toName="photo">'
    '<Choice value="cat"/><Choice value="dog"/></Choices></View>'
)


def _png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (6, 4), (shade, 0, 0)).save(buffer, format="PNG")
    return buffer.getvalue()


def _choice(name: str, shown: str, value: str) -> dict:
    region = {"from_name": name, "to_name": shown, "type": "choices", "value": {"choices": [value]}}
    return {"result": [region], "ground_truth": False}


@pytest.fixture
def api(label_studio, monkeypatch):
    """Somebody else's server, by HTTP alone; whatever is asked of it must leave its projects as they are."""
    token = label_studio.api_key.get_secret_value()
    monkeypatch.setenv("THEIR_TOKEN", token)
    client = httpx.Client(
        base_url=label_studio.url, headers={"Authorization": f"Token {token}"}, trust_env=False, timeout=60
    )
    yield client
    client.close()


@pytest.fixture
def texts(api):
    made = api.post("/api/projects/", json={"title": "moods of theirs", "label_config": TEXTS}).json()
    tasks = [
        {"data": {"body": f"text number {number}", "who": f"p{number % 2}"}, "annotations": annotations}
        for number, annotations in enumerate(
            (
                [
                    _choice("mood", "words", "good"),
                    _choice("mood", "words", "good"),
                    _choice("mood", "words", "bad"),
                ],
                [_choice("mood", "words", "bad")],
                [],
            )
        )
    ]
    api.post(f"/api/projects/{made['id']}/import", json=tasks).raise_for_status()

    def state():
        project = api.get(f"/api/projects/{made['id']}/").json()
        listed = api.get("/api/tasks/", params={"project": made["id"], "fields": "all"}).json()["tasks"]
        names = ("title", "description", "label_config", "task_number", "total_annotations_number")
        return [project[name] for name in names], listed

    before = state()
    yield made["id"]
    assert state() == before
    api.delete(f"/api/projects/{made['id']}/")


def _section(label_studio, project, **fields):
    return {
        "kind": "label-studio",
        "url": label_studio.url,
        "token_from": "THEIR_TOKEN",
        "project": project,
        **fields,
    }


def _read(section, known=None) -> list[Found | Kept]:
    return list(connectors.create(section).read(known or NothingKnown()))


def test_texts_come_with_what_most_annotators_said(tmp_path, label_studio, texts):
    workspace = Workspace(tmp_path / "state", Settings())
    section = _section(label_studio, "moods of theirs", text="body", label={"use": "imported"}, group="who")
    recipe = parse(
        {
            "name": "moods",
            "sources": [section],
            "task": {"kind": "text-classification", "classes": ["good", "bad"]},
        }
    )
    assert loop.pull(recipe, workspace).outcomes == {"pulled": 3}
    with workspace.engine.connect() as connection:
        items = {item.text: item for item in items_of(connection, "moods")}
    labels = {text: (item.label, item.label_use, item.group) for text, item in items.items()}
    assert labels == {
        "text number 0": ("good", "imported", "p0"),
        "text number 1": ("bad", "imported", "p1"),
        "text number 2": (None, None, "p0"),
    }


def test_tasks_are_filtered_kept_while_they_are_the_same_and_told_by_their_number(label_studio, texts):
    section = _section(label_studio, texts, text="body")
    found = _read({**section, "filter": "annotations > 0"})
    assert [each.entry.text for each in found] == ["text number 0", "text number 1"]
    assert found[0].entry.uri.startswith(f"{label_studio.url}/projects/{texts}#task-")
    marks = {each.entry.uri: each.mark for each in _read(section)}

    class _Before:
        bookmark = None

        def unchanged(self, asked, *, many=False):
            return {uri for uri, mark in asked.items() if marks.get(uri) == mark}

    assert all(isinstance(each, Kept) for each in _read(section, _Before()))
    assert connectors.create(section).fingerprint() == connectors.create(section).fingerprint()


def test_images_come_through_the_server_and_no_address_leads_into_this_network(label_studio, api):
    made = api.post("/api/projects/", json={"title": "photos of theirs", "label_config": IMAGES}).json()
    try:
        files = {"file": ("cat.png", _png(7), "image/png")}
        api.post(f"/api/projects/{made['id']}/import", files=files).raise_for_status()
        addresses = ["http://127.0.0.1:9/secret.png", "file:///etc/passwd", "/data/upload/none.png"]
        tasks = [{"data": {"photo": address}} for address in addresses]
        api.post(f"/api/projects/{made['id']}/import", json=tasks).raise_for_status()
        found = [each.entry for each in _read(_section(label_studio, made["id"], image="photo"))]
        (item,) = (entry for entry in found if isinstance(entry, Item))
        assert item.content == _png(7)
        reasons = [entry.reason for entry in found if isinstance(entry, Quarantined)]
        for reason, said in zip(
            reasons, ("into this network", "not opened", "/data/upload/none.png"), strict=True
        ):
            assert said in reason
    finally:
        api.delete(f"/api/projects/{made['id']}/")


@pytest.fixture
def section(label_studio, texts):
    """What the contract of every source is held against, here over a server."""
    return _section(label_studio, texts, text="body")


def _contract() -> dict[str, object]:
    path = Path(__file__).parents[1] / "contracts" / "test_connectors.py"
    spec = importlib.util.spec_from_file_location("contract_of_connectors", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    held = {name: value for name, value in vars(module).items() if name.startswith("test_")}
    assert len(held) > 10
    # Of these, the one counts kinds, and the other asks for an entry that cannot be used.
    del held["test_there_are_connectors"], held["test_an_example_has_items_and_something_that_cannot_be_used"]
    return held


globals().update(_contract())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"project": "moods of nobody"}, "no project has this title"),
        ({"project": 999_999}, "no such project"),
        ({"filter": "bodi == 'x'"}, "Did you mean 'body'"),
    ],
)
def test_what_is_not_there_is_an_error_that_says_so(label_studio, texts, fields, said):
    with pytest.raises(SourceError, match=said):
        _read({**_section(label_studio, texts, text="body"), **fields})


def test_a_project_of_goldloops_own_is_no_source(label_studio, api):
    fields = {"title": "ours", "label_config": TEXTS, "description": "Made by goldloop.\ngoldloop:x/y"}
    made = api.post("/api/projects/", json=fields).json()
    try:
        with pytest.raises(SourceError, match="goldloop collect"):
            _read(_section(label_studio, made["id"], text="body"))
    finally:
        api.delete(f"/api/projects/{made['id']}/")


def test_a_token_that_is_missing_or_wrong_is_refused_and_not_told(label_studio, texts, monkeypatch):
    section = _section(label_studio, texts, text="body")
    monkeypatch.setenv("THEIR_TOKEN", "0123456789" * 4)
    with pytest.raises(LabelStudioDenied, match="THEIR_TOKEN") as caught:
        _read(section)
    assert "0123456789" not in str(caught.value)
    monkeypatch.delenv("THEIR_TOKEN")
    with pytest.raises(LabelStudioDenied, match="is not set"):
        _read(section)
