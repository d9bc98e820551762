"""A content that is forgotten is nowhere under the workspace; all else holds, and work goes on."""

from __future__ import annotations

import base64
import io
import json
import sqlite3
import zipfile
from pathlib import Path

import pyarrow
import pytest
from PIL import Image
from pyarrow import ipc, parquet
from typer.testing import CliRunner

import goldloop
from goldloop import exchange, loop, wiring
from goldloop.catalog.content import items_of
from goldloop.catalog.ledger import balance
from goldloop.cli.app import app
from goldloop.dataset import version as versions
from goldloop.dataset.certificate import verify
from goldloop.erasure import forget, tombstones
from goldloop.errors import WorkspaceBusy, WorkspaceError
from goldloop.examples.digits import write_digits
from goldloop.recipe import Recipe, parse
from goldloop.records import content_key
from goldloop.workspace import Workspace

SECRET = "Ada Lovelace of 12 St James's Square"
CLASSES = ["greeting", "weather"]
TEXT_MODEL = {
    "model_type": "bert", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
    "num_attention_heads": 2, "vocab_size": 300,
}  # fmt: skip


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Workspace:
    monkeypatch.setenv("GOLDLOOP_HOME", str(tmp_path / "state"))
    return Workspace.open()


def _table(folder: Path, extra: tuple[str, ...] = ()) -> Path:
    path = folder / "texts.csv"
    lines = [f"{number},{CLASSES[number % 2]} number {number},{CLASSES[number % 2]}" for number in range(60)]
    lines += [f's{number},"{SECRET} says hello {number}",greeting' for number in range(1)]
    path.write_text("\n".join(["id,text,label", *lines, *extra]) + "\n")
    return path


@pytest.fixture
def texts(tmp_path) -> Recipe:
    table = _table(tmp_path)
    source = {"kind": "table", "url": str(table), "text": "text", "id": "id"}
    return parse(
        {
            "name": "notes",
            "sources": [{**source, "label": {"from": "label", "use": "imported"}}],
            "task": {"kind": "text-classification", "classes": CLASSES},
            # By this seed what is to be forgotten is trained on.
            "dataset": {"split": {"train": 0.6, "validation": 0.2, "test": 0.2, "seed": 1}},
            "training": {"checkpoint": {"from-config": TEXT_MODEL}, "epochs": 1, "batch_size": 8},
            "gates": [{"kind": "at-least", "metric": "accuracy", "value": 0.0}],
        }
    )


KEY = content_key(f"{SECRET} says hello 0".encode())


def everything(folder: Path) -> bytes:
    """All bytes of all files, and what is packed in them."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        found += [str(path.relative_to(folder)).encode(), content]
        if content[:4] == b"PAR1":
            found.append(repr(parquet.read_table(path).to_pylist()).encode())
        elif content[:15] == b"SQLite format 3":
            with sqlite3.connect(path) as connection:
                found.append("\n".join(connection.iterdump()).encode())
        elif zipfile.is_zipfile(path):
            found += [zipfile.ZipFile(path).read(name) for name in zipfile.ZipFile(path).namelist()]
        elif content[:6] == b"ARROW1":
            found.append(repr(ipc.open_file(pyarrow.py_buffer(content)).read_all().to_pylist()).encode())
    return b"\n".join(found)


def _whole_loop(recipe: Recipe, workspace: Workspace, folder: Path) -> str:
    """A version, a model, its report and judgement, an export; returns the model."""
    version = loop.run(recipe, workspace).version
    assert version is not None
    exchange.export(recipe.name, "jsonl", folder / "jsonl", workspace=workspace)
    return wiring.registry(workspace).models(recipe.name)[-1].ref


def test_a_text_is_nowhere_after_it_was_forgotten(workspace, texts, tmp_path):
    model = _whole_loop(texts, workspace, tmp_path)
    first = versions.load(workspace.versions, "notes")
    _table(tmp_path, ("99,weather number 99,weather",))
    loop.pull(texts, workspace)
    loop.commit(texts, workspace)
    exchange.export(f"notes@{first.digest}", "csv", tmp_path / "csv", workspace=workspace)
    for place in (workspace.root, tmp_path / "jsonl", tmp_path / "csv"):
        assert SECRET.encode() in everything(place), place

    told = forget(KEY, workspace=workspace)
    assert not told.applied
    assert SECRET.encode() in everything(workspace.root)
    assert {"version", "catalog", "export", "prepared", "arrow"} <= told.counts.keys()

    done = forget(KEY, reason="asked by the person", apply=True, workspace=workspace)
    assert done.applied
    assert done.places == told.places
    assert done.left == ()
    held = first.dataset("train")["key"][:]
    assert KEY not in held
    for place in (workspace.root, tmp_path / "jsonl", tmp_path / "csv"):
        assert SECRET.encode() not in everything(place), place
    found = versions.versions(workspace.versions, "notes")
    assert len(found) == 2
    for version in found:
        assert verify(version.folder) == []
    trained = any(each.split in ("train", "validation") for each in _held(workspace))
    assert done.retrain == ((model,) if trained else ())
    (stone,) = tombstones(workspace)
    assert (stone.key, stone.reason) == (KEY, "asked by the person")
    assert stone.gone_at is not None
    assert workspace.audit.verify() == []


def _held(workspace: Workspace):
    from goldloop.dataset.forgetting import held

    return list(held(workspace.versions, KEY))


def test_it_never_comes_back_and_training_goes_on(workspace, texts, tmp_path):
    before = _whole_loop(texts, workspace, tmp_path)
    forget(KEY, apply=True, workspace=workspace)
    with workspace.engine.connect() as connection:
        assert balance(connection, "notes", "pull").outcomes == {"pulled": 60, "forgotten": 1}
    books = loop.pull(texts, workspace)
    assert books.outcomes == {"pulled": 60, "forgotten": 1}
    with workspace.engine.connect() as connection:
        assert KEY not in {
            item.key for item in items_of(connection, "notes", ("current", "gone", "superseded"))
        }
    old = versions.load(workspace.versions, "notes")
    run = loop.train(texts, workspace, on=old)
    assert run.value is not None
    turn = loop.run(texts, workspace)
    assert turn.version is not None
    assert turn.version.digest != old.digest
    assert sum(turn.version.counts.values()) == 60
    certificate = json.loads((turn.version.folder / "goldloop" / "certificate.json").read_text())
    assert certificate["ledger"]["pull 0:table"] == {"pulled": 60, "forgotten": 1}
    assert wiring.registry(workspace).models("notes")[-1].ref != before
    assert SECRET.encode() not in everything(workspace.root)


def test_forgetting_again_is_done_at_once_and_an_unknown_content_is_refused(workspace, texts):
    loop.pull(texts, workspace)
    forget(KEY, apply=True, workspace=workspace)
    again = forget(KEY, apply=True, workspace=workspace)
    assert again.places == ()
    assert len(tombstones(workspace)) == 1
    with pytest.raises(WorkspaceError, match="nothing is known"):
        forget("0" * 64, apply=True, workspace=workspace)
    with pytest.raises(WorkspaceError, match=r"whole key.*goldloop lineage"):
        forget(KEY[:12], workspace=workspace)


def test_an_image_is_nowhere_after_it_was_forgotten(workspace, tmp_path):
    digits = write_digits(tmp_path / "digits", per_class=6)
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    recipe = parse(
        {
            "name": "digits",
            "sources": [
                {"kind": "files", "url": str(digits), "label": {"from": "folder", "use": "imported"}}
            ],
            "task": {"kind": "image-classification", "classes": words},
            "dataset": {"split": {"train": 0.5, "validation": 0.2, "test": 0.3}},
            "training": {
                "checkpoint": {"from-config": {"model_type": "resnet", "hidden_sizes": [8], "depths": [1],
                                               "embedding_size": 8, "layer_type": "basic"}},
                "epochs": 1, "batch_size": 16, "image_size": 32,
            },
            "gates": [{"kind": "at-least", "metric": "accuracy", "value": 0.99}],
        }
    )  # fmt: skip
    turn = loop.run(recipe, workspace)
    assert turn.report is not None
    wrong = turn.report.wrong()[0].key
    with workspace.engine.connect() as connection:
        (item,) = items_of(connection, "digits", keys={wrong})
    content = workspace.media.read(item)
    exchange.export("digits", "image-folder", tmp_path / "out", workspace=workspace)
    page = next(workspace.runs.rglob("reports/*/report.html")).read_text()
    thumbnails = _thumbnails(page, content)
    assert len(thumbnails) == 1
    for place in (workspace.root, tmp_path / "out"):
        assert content in everything(place), place
    done = forget(wrong, apply=True, workspace=workspace)
    assert {"report", "mlflow", "media"} <= done.counts.keys()
    for place in (workspace.root, tmp_path / "out"):
        said = everything(place)
        assert content not in said
        assert thumbnails[0] not in said
    assert wrong.encode() not in everything(workspace.runs)
    for version in versions.versions(workspace.versions, "digits"):
        assert verify(version.folder) == []
    assert loop.run(recipe, workspace).version is not None


def _thumbnails(page: str, content: bytes) -> list[bytes]:
    """The pictures of a page that are of this image, as they stand there."""
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    picture.thumbnail((144, 144))
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=80)
    encoded = base64.b64encode(buffer.getvalue())
    return [encoded] if encoded.decode() in page else []


def test_nothing_is_forgotten_while_a_recipe_is_worked_on(workspace, texts, monkeypatch):
    loop.pull(texts, workspace)
    import subprocess
    import sys

    program = (
        "import sys\nfrom goldloop.workspace import Workspace\nwith Workspace.open().lock('notes'):\n"
        "    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(WorkspaceBusy):
        forget(KEY, apply=True, workspace=workspace)
    assert tombstones(workspace) == []
    process.stdin.close()
    process.wait(30)
    process.stdout.close()
    assert forget(KEY, apply=True, workspace=workspace).applied


def test_the_command_tells_first_and_erases_if_so_asked(workspace, texts):
    loop.pull(texts, workspace)
    told = CliRunner().invoke(app, ["forget", KEY])
    assert told.exit_code == 0
    assert "It would be erased from" in told.output
    assert f"goldloop forget {KEY} --apply" in told.output
    assert CliRunner().invoke(app, ["forget"]).exit_code == 0
    done = CliRunner().invoke(app, ["forget", KEY, "--apply", "--reason", "asked", "--json"])
    assert json.loads(done.stdout)["applied"]
    assert KEY in CliRunner().invoke(app, ["forget"]).output
    assert goldloop.forget is forget
