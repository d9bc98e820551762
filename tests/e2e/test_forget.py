"""A content that is forgotten is gone from a real Label Studio too, and does not come back."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from goldloop import loop, wiring
from goldloop.dataset.certificate import verify
from goldloop.erasure import forget, tombstones
from goldloop.labeling.server import EmbeddedServer
from goldloop.recipe import Recipe, parse
from goldloop.records import content_key
from goldloop.settings import Settings
from goldloop.tasks import tasks
from goldloop.workspace import Workspace

SECRET = "Grace Hopper lives at 3 Harbour Street"
KEY = content_key(SECRET.encode())


@pytest.fixture
def own(tmp_path):
    """A workspace with a Label Studio of its own, so that all of its files can be looked through."""
    workspace = Workspace(tmp_path / "state", Settings())
    server = EmbeddedServer(workspace.label_studio, workspace.environment.cache, workspace.media.root.parent)
    server.up()
    yield workspace
    server.down()


@pytest.fixture
def recipe(tmp_path) -> Recipe:
    (tmp_path / "texts").mkdir()
    for number in range(12):
        (tmp_path / "texts" / f"{number}.txt").write_text(f"nobody is in number {number}")
    (tmp_path / "texts" / "secret.txt").write_text(SECRET)
    return parse(
        {
            "name": "names",
            "sources": [{"kind": "files", "url": str(tmp_path / "texts")}],
            "task": {"kind": "token-classification", "classes": ["person", "place"]},
            "dataset": {"split": {"train": 0.6, "validation": 0.2, "test": 0.2}},
        }
    )


def _annotate(recipe: Recipe, workspace: Workspace) -> None:
    """Mark the first word of every text; leave a draft on the secret one, and mark it too."""
    task = tasks.create(recipe.task)
    session = wiring.session(recipe, workspace)
    for found in session.client.annotations(session.project):
        (text,) = _texts(workspace, found.key)
        first = text.partition(" ")[0]
        result = task.encode(
            [{"label": "person", "start": 0, "end": len(first), "text": first}], _item(workspace, found.key)
        )
        place = f"/api/tasks/{found.task_id}"
        if found.key == KEY:
            session.client._api.call("POST", f"{place}/drafts", json={"result": result, "lead_time": 1})
        session.client._api.call("POST", f"{place}/annotations/", json={"result": result})


def _item(workspace: Workspace, key: str):
    from goldloop.catalog.content import items_of

    with workspace.engine.connect() as connection:
        (item,) = items_of(connection, "names", keys={key})
    return item


def _texts(workspace: Workspace, key: str) -> list[str]:
    return [_item(workspace, key).text]


def everything(folder: Path) -> bytes:
    """All bytes of all files, and all rows of SQLite files."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        found.append(content)
        if content[:15] == b"SQLite format 3":
            with sqlite3.connect(path) as connection:
                found.append("\n".join(connection.iterdump()).encode())
    return b"\n".join(found)


def test_a_text_goes_from_label_studio_with_all_that_was_said_of_it(own, recipe):
    loop.pull(recipe, own)
    loop.push(recipe, own)
    _annotate(recipe, own)
    loop.collect(recipe, own)
    version = loop.commit(recipe, own)
    session = wiring.session(recipe, own)
    assert session.client.project_totals(session.project).tasks == 13
    assert SECRET.encode() in everything(own.label_studio)

    told = forget(KEY, workspace=own)
    assert any(place.kind == "label-studio" for place in told.places)
    assert session.client.project_totals(session.project).tasks == 13
    done = forget(KEY, reason="asked", apply=True, workspace=own)
    assert done.left == ()

    assert SECRET.encode() not in everything(own.root)
    assert session.client.project_totals(session.project).tasks == 12
    assert verify(version.folder) == []
    (stone,) = tombstones(own)
    assert stone.gone_at is not None

    # The source still has it; nothing takes it in again, and the books of every stage balance.
    assert loop.pull(recipe, own).outcomes == {"pulled": 12, "forgotten": 1}
    assert loop.push(recipe, own).created == 0
    assert loop.collect(recipe, own).balance.outcomes == {"labelled": 12}
    assert sum(loop.commit(recipe, own).counts.values()) == 12
    assert SECRET.encode() not in everything(own.root)
