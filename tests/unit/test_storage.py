"""`goldloop gc`, `publish` and `fetch`: what the workspace knows is heeded."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import goldloop
from goldloop import storage
from goldloop.dataset.version import Version
from goldloop.errors import CertificateError, VersionError, WorkspaceBusy
from goldloop.examples.digits import write_digits
from goldloop.recipe import Recipe, parse
from goldloop.settings import Settings
from goldloop.workspace import Workspace


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    found = Workspace(tmp_path / "state", Settings())
    yield found
    found.engine.dispose()


@pytest.fixture
def commit(tmp_path, workspace) -> Callable[[int], Version]:
    """Commits the first so many digits of each class, as imported labels."""

    def commit(per_class: int) -> Version:
        folder = write_digits(tmp_path / f"digits-{per_class}", per_class=per_class)
        made = goldloop.commit(_pulled(_recipe(folder), workspace), workspace)
        assert isinstance(made, Version)
        return made

    return commit


def _recipe(folder: Path) -> Recipe:
    return parse(
        {
            "name": "digits",
            "sources": [
                {"kind": "files", "url": str(folder), "label": {"from": "folder", "use": "imported"}}
            ],
            "task": {
                "kind": "image-classification",
                "classes": [
                    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
                ],
            },
        }
    )  # fmt: skip


def _pulled(recipe: Recipe, workspace: Workspace) -> Recipe:
    goldloop.pull(recipe, workspace)
    return recipe


def test_a_version_goes_out_and_comes_back_elsewhere(commit, workspace, tmp_path):
    version = commit(3)
    url = str(tmp_path / "place")
    sent = storage.publish("digits", url, workspace=workspace)
    assert (sent.version, sent.place, sent.sent) == (version.ref, url, sent.files)
    there = Workspace(tmp_path / "there", Settings())
    got = storage.fetch(url, f"digits@{version.digest[:12]}", workspace=there)
    assert (got.sent, got.bytes) == (sent.files, sent.bytes)
    assert goldloop.show("digits", there).digest == version.digest
    assert goldloop.verify("digits", workspace=there) == []
    assert storage.fetch(url, "digits", workspace=there).sent == 0
    there.engine.dispose()


def test_a_version_that_does_not_hold_is_not_published(commit, workspace, tmp_path):
    version = commit(3)
    (version.folder / "README.md").write_text("forged")
    with pytest.raises(CertificateError, match=r"README\.md: was changed"):
        storage.publish("digits", str(tmp_path / "place"), workspace=workspace)
    assert not (tmp_path / "place").exists()


def test_a_collection_shows_first_and_removes_when_told_to(commit, workspace):
    made = [commit(count) for count in (3, 4, 5)]
    assert storage.gc(workspace=workspace).garbage == []
    shown = storage.gc(keep=1, workspace=workspace)
    assert [each.path for each in shown.garbage] == [made[0].folder, made[1].folder]
    assert not shown.removed
    assert shown.bytes > 0
    assert goldloop.versions("digits", workspace) == made
    json.dumps(shown.facts())
    assert storage.gc(keep=1, remove=True, workspace=workspace).removed
    assert goldloop.versions("digits", workspace) == made[2:]
    assert goldloop.verify("digits", workspace=workspace) == []


def test_what_a_run_a_report_or_a_model_names_stays(commit, workspace):
    from goldloop import wiring

    by_run, by_report, by_model, unfinished, unused, _ = [commit(count) for count in range(3, 9)]
    runs = workspace.runs / "digits"
    (runs / "one").mkdir(parents=True)
    (runs / "one" / "run.json").write_text(json.dumps({"facts": {"version": by_run.ref}}))
    (runs / "one" / "reports" / f"{by_report.digest[:12]}-test").mkdir(parents=True)
    model = runs / "one" / "model"
    model.mkdir()
    (model / "goldloop.json").write_text("{}")
    wiring.registry(workspace).register(
        "digits", model, run="one", version=by_model.ref, metric="accuracy", value=0.5
    )
    facts = {"version": unfinished.ref, "recipe": {}}
    with pytest.raises(KeyboardInterrupt), wiring.tracking(workspace).run("digits", "two", facts):
        raise KeyboardInterrupt
    found = storage.gc(keep=1, workspace=workspace)
    assert [each.path for each in found.garbage] == [unused.folder]


def test_a_recipe_that_another_process_works_on_is_left_alone(commit, workspace):
    commit(3)
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from goldloop.settings import Settings\n"
        "from goldloop.workspace import Workspace\n"
        "with Workspace(Path(sys.argv[1]), Settings()).lock('digits'):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(workspace.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(WorkspaceBusy, match="digits"):
            storage.gc(workspace=workspace)
        other.communicate()


def test_arrow_files_of_versions_that_went_go_too(commit, workspace):
    first = commit(3)
    first.dataset("train")
    second = commit(9)
    second.dataset("train")
    cache = workspace.cache / "arrow"
    assert len(list(cache.iterdir())) == 2
    storage.gc(keep=1, remove=True, workspace=workspace)
    assert len(list(cache.iterdir())) == 1
    assert len(second.dataset("train")) == second.counts["train"]


def test_an_unknown_version_is_said(workspace, tmp_path):
    with pytest.raises(VersionError, match="no such version"):
        storage.publish("nothing", str(tmp_path), workspace=workspace)
