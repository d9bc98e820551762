from __future__ import annotations

import os
import subprocess
import sys

import pytest

import goldloop
from goldloop.dataset import tags
from goldloop.dataset import version as versions
from goldloop.errors import VersionError
from goldloop.workspace import Workspace


@pytest.fixture
def two(make_texts):
    """Two versions of one name: material, the older, the newer."""
    material = make_texts()
    older = material.commit()
    material.labels = material.labels[1:]
    material.outcomes = material.outcomes[1:]
    material.items = {key: item for key, item in material.items.items() if key != next(iter(material.items))}
    return material, older, material.commit()


def test_a_tag_stands_for_its_version_wherever_one_is_named(two):
    material, older, newer = two
    tags.put(older.folder.parent, "v1", older.digest, by="ann")
    assert versions.load(material.versions, "signs", "v1") == older
    assert versions.find(material.versions, "signs@v1") == older
    assert versions.find(material.versions, "signs") == newer
    assert tags.tagged(older.folder.parent) == {older.digest}


def test_a_tag_moves_only_when_told_and_where_it_stood_stays_known(two):
    material, older, newer = two
    folder = older.folder.parent
    first = tags.put(folder, "v1", older.digest, by="ann")
    assert tags.put(folder, "v1", older.digest, by="bob") == first
    with pytest.raises(VersionError, match=rf"{older.digest[:12]}.*by ann.*--move"):
        tags.put(folder, "v1", newer.digest, by="bob")
    assert versions.load(material.versions, "signs", "v1") == older
    tags.put(folder, "v1", newer.digest, by="bob", move=True)
    assert versions.load(material.versions, "signs", "v1") == newer
    assert [(act.digest, act.by) for act in tags.acts(folder)] == [
        (older.digest, "ann"),
        (newer.digest, "bob"),
    ]


@pytest.mark.parametrize(
    "name", ["latest", "Latest", "beef", "0", "ABC", "", "a/b", "-v", "v 1", "v\n", "v" * 64]
)
def test_what_could_be_taken_for_something_else_is_no_tag(two, name):
    _, older, _ = two
    with pytest.raises(VersionError, match="tag"):
        tags.put(older.folder.parent, name, older.digest, by="ann")
    assert not (older.folder.parent / tags.TAGS).exists()


def test_an_unknown_tag_lists_the_known(two):
    material, older, _ = two
    tags.put(older.folder.parent, "v1", older.digest, by="ann")
    with pytest.raises(VersionError, match=rf"signs@{older.digest[:12]}.*signs@v1"):
        versions.load(material.versions, "signs", "v2")


def test_a_tag_whose_version_was_deleted_says_so_and_tags_no_other(two):
    material, older, _ = two
    tags.put(older.folder.parent, "v1", older.digest, by="ann")
    older.folder.rename(older.folder.parent.parent / "elsewhere")
    with pytest.raises(VersionError, match="the version of this tag is gone"):
        versions.load(material.versions, "signs", "v1")


def test_a_broken_line_is_named(two):
    material, older, _ = two
    tags.put(older.folder.parent, "v1", older.digest, by="ann")
    path = older.folder.parent / tags.TAGS
    path.write_text(path.read_text() + '{"name": "v2"\n')
    with pytest.raises(VersionError, match=r"tags\.jsonl, line 2"):
        versions.load(material.versions, "signs", "v1")


def test_a_writer_that_is_killed_leaves_the_tags_that_were(two):
    material, older, newer = two
    folder = older.folder.parent
    tags.put(folder, "v1", older.digest, by="ann")
    program = (
        "import os, signal\nfrom pathlib import Path\nfrom goldloop.dataset import tags\n"
        "tags.flush = tags.write_text = lambda path, *text: "
        "(path.write_text(text[0][:-9]), os.kill(os.getpid(), signal.SIGKILL))\n"
        f"tags.put(Path({str(folder)!r}), 'v2', {newer.digest!r}, by='bob')\n"
    )
    assert subprocess.run([sys.executable, "-c", program], env=os.environ, check=False).returncode == -9
    assert list(tags.tags(folder)) == ["v1"]
    tags.put(folder, "v2", newer.digest, by="bob")
    assert versions.load(material.versions, "signs", "v2") == newer
    assert not list(folder.glob(".writing-*"))


def test_the_functions_tag_and_tell_who(two):
    material, older, _ = two
    workspace = Workspace(material.root)
    given = goldloop.tag(f"signs@{older.digest[:8]}", "v1", workspace=workspace)
    assert given.by.startswith("actor-")
    assert goldloop.tags(workspace=workspace) == {"signs": {"v1": given}}
    assert goldloop.show("signs@v1", workspace) == older
    with pytest.raises(VersionError, match="no such version"):
        goldloop.tag("signs@nothing", "v2", workspace=workspace)
