"""`dataset.media: reference` through all of goldloop: the images of a version lie where they came from."""

from __future__ import annotations

from pathlib import Path

import pytest

import goldloop
from goldloop import storage
from goldloop.dataset.manifest import Manifest
from goldloop.dataset.shards import live_rows
from goldloop.dataset.version import Version
from goldloop.errors import CertificateError
from goldloop.examples.digits import write_digits
from goldloop.recipe import Recipe, parse
from goldloop.settings import Settings
from goldloop.workspace import Workspace

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    found = Workspace(tmp_path / "state", Settings())
    yield found
    found.engine.dispose()


@pytest.fixture
def photos(tmp_path) -> Path:
    return write_digits(tmp_path / "digits", per_class=3)


def recipe(photos: Path, media: str = "reference") -> Recipe:
    return parse(
        {
            "name": "digits",
            "sources": [
                {"kind": "files", "url": str(photos), "label": {"from": "folder", "use": "imported"}}
            ],
            "task": {"kind": "image-classification", "classes": NAMES},
            "dataset": {"media": media},
        }
    )


def committed(photos: Path, workspace: Workspace, media: str = "reference") -> Version:
    goldloop.pull(recipe(photos, media), workspace)
    made = goldloop.commit(recipe(photos, media), workspace)
    assert isinstance(made, Version)
    return made


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_version_of_files_has_all_images_outside(photos, workspace):
    version = committed(photos, workspace)
    assert Manifest.load(version.folder).outside == sum(version.counts.values()) == 30
    assert goldloop.verify("digits", workspace=workspace) == []
    shown = goldloop.show("digits", workspace)
    assert shown.labelling()["outside"] == 30


def test_it_is_exported_like_one_with_its_images_inside(photos, workspace, tmp_path):
    version = committed(photos, workspace)
    goldloop.export(version.ref, "image-folder", tmp_path / "one", workspace=workspace)
    other = Workspace(tmp_path / "other", Settings())
    inside = committed(photos, other, "inside")
    goldloop.export(inside.ref, "image-folder", tmp_path / "two", workspace=other)
    other.engine.dispose()
    assert inside.digest == version.digest
    assert content(tmp_path / "one") == content(tmp_path / "two") != {}


def test_it_travels_without_its_images_to_where_they_can_be_had(photos, workspace, tmp_path):
    version = committed(photos, workspace)
    place = tmp_path / "place"
    storage.publish("digits", str(place), workspace=workspace)
    image = next(photos.rglob("*.png")).read_bytes()
    assert not [path for path in place.rglob("*") if path.is_file() and image in path.read_bytes()]
    there = Workspace(tmp_path / "there", Settings())
    storage.fetch(str(place), "digits", workspace=there)
    assert goldloop.verify("digits", workspace=there) == []
    assert goldloop.show("digits", there).dataset("train").to_list() == version.dataset("train").to_list()
    there.engine.dispose()


def test_where_an_image_cannot_be_had_it_is_not_taken_in(photos, workspace, tmp_path):
    version = committed(photos, workspace)
    storage.publish("digits", str(tmp_path / "place"), workspace=workspace)
    gone = Path(next(live_rows(version.folder, "train"))["uri"])
    gone.unlink()
    assert goldloop.verify("digits", workspace=workspace) == [], "the workspace has it still"
    there = Workspace(tmp_path / "there", Settings())
    with pytest.raises(CertificateError, match=rf"missing.*{gone.name}"):
        storage.fetch(str(tmp_path / "place"), "digits", workspace=there)
    assert goldloop.versions(workspace=there) == []
    there.engine.dispose()


def test_what_is_forgotten_is_gone_from_version_cache_and_workspace(photos, workspace):
    version = committed(photos, workspace)
    version.dataset("train")
    row = next(live_rows(version.folder, "train"))
    image = Path(row["uri"]).read_bytes()
    goldloop.forget(row["key"], reason="asked to", apply=True, workspace=workspace)
    assert goldloop.verify("digits", workspace=workspace) == []
    left = [path for path in workspace.root.rglob("*") if path.is_file() and image in path.read_bytes()]
    assert left == []
    assert Path(row["uri"]).read_bytes() == image, "a source is never written to"
    assert len(goldloop.show("digits", workspace).dataset("train")) == version.counts["train"] - 1


def test_pulling_again_brings_back_what_the_workspace_has_lost(photos, workspace):
    version = committed(photos, workspace)
    kept = sorted(workspace.media.root.rglob("*.png"))
    row = next(live_rows(version.folder, "train"))
    moved = Path(row["uri"]).with_name("moved.png")
    Path(row["uri"]).rename(moved)
    for path in kept:
        path.unlink()
    faults = goldloop.verify("digits", workspace=workspace)
    assert [row["key"] in fault.where for fault in faults] == [True]
    goldloop.pull(recipe(photos), workspace, full=True)
    assert goldloop.verify("digits", workspace=workspace) == []
