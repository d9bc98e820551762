"""What nothing needs goes, and what anything needs stays."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from goldloop.dataset import version as versions
from goldloop.dataset.certificate import verify
from goldloop.dataset.draft import ASIDE
from goldloop.dataset.garbage import find_garbage, take_away, unused_arrow_files
from goldloop.dataset.tags import put as tag
from goldloop.dataset.version import Version
from goldloop.errors import VersionError


@pytest.fixture
def made(make_texts) -> list[Version]:
    """Four versions, each with one label changed."""
    material = make_texts(count=300)
    found = []
    for place in range(4):
        material.labels[place] = replace(material.labels[place], target="1" if place % 3 != 2 else "no")
        found.append(material.commit())
    assert len({version.digest for version in found}) == 4
    return found


def used(version: Version) -> int:
    """Bytes of all files of the name, each counted once."""
    files = (path.stat() for path in version.folder.parent.rglob("*") if path.is_file())
    return sum({told.st_ino: told.st_size for told in files}.values())


def test_where_all_is_needed_nothing_is_garbage(made):
    folder = made[0].folder.parent
    assert find_garbage(folder) == []
    assert find_garbage(folder, keep=4) == []
    assert find_garbage(folder.parent / "nothing") == []


def test_what_was_never_listed_or_was_cut_off_is_garbage(made):
    folder = made[0].folder.parent
    (folder / f"{ASIDE}0123").mkdir()
    (folder / f"{ASIDE}0123" / "x").write_bytes(b"left")
    shutil.copytree(made[0].folder, folder / "00112233445566ff")
    (folder / "notes.txt").write_text("not ours to touch")
    found = find_garbage(folder)
    assert {each.path.name: each.why for each in found} == {
        f"{ASIDE}0123": "a command that was killed left it",
        "00112233445566ff": "it was never listed",
    }
    assert found[0].bytes == 4
    take_away(found)
    assert find_garbage(folder) == []
    assert (folder / "notes.txt").exists()
    assert versions.versions(folder.parent, "signs") == made


def test_old_versions_go_if_told_to_but_never_one_that_is_named(made):
    folder = made[0].folder.parent
    found = find_garbage(folder, keep=1, needed={made[1].digest[:12]})
    assert [each.path for each in found] == [made[0].folder, made[2].folder]
    before = used(made[0])
    assert take_away(found) == before - used(made[3]) == sum(each.bytes for each in found) > 0
    assert versions.versions(folder.parent, "signs") == [made[1], made[3]]
    for version in (made[1], made[3]):
        assert verify(version.folder) == []
    assert find_garbage(folder, keep=1, needed={made[1].digest}) == []


def test_the_newest_version_is_kept_however_often_it_was_committed(make_texts):
    material = make_texts()
    first = material.commit()
    kept = material.labels[0]
    material.labels[0] = replace(kept, target="no")
    second = material.commit()
    material.labels[0] = kept
    assert material.commit() == first
    assert [each.path for each in find_garbage(first.folder.parent, keep=1)] == [second.folder]


def test_labels_go_on_after_a_collection_with_ids_where_they_were(make_texts):
    material = make_texts()
    material.commit()
    material.labels[0] = replace(material.labels[0], target="no")
    second = material.commit(task=material.task.with_classes(["new", "no", "yes", "1"]))
    take_away(find_garbage(second.folder.parent, keep=1))
    material.labels[1] = replace(material.labels[1], target="1")
    third = material.commit()
    assert third.classes == second.classes == ("yes", "no", "1", "new")
    assert verify(third.folder) == []


def test_a_log_that_cannot_be_read_lets_nothing_go(made):
    (made[0].folder.parent / "log.jsonl").write_text("{")
    with pytest.raises(VersionError, match="line 1"):
        find_garbage(made[0].folder.parent, keep=1)


def test_arrow_files_of_rows_that_no_version_has_go(made):
    for version in made:
        version.dataset("train")
    cache = made[0].folder.parents[2] / "cache" / "arrow"
    assert unused_arrow_files(cache, [version.folder for version in made]) == []
    found = unused_arrow_files(cache, [made[0].folder])
    assert {each.why for each in found} == {"no version has its rows"}
    take_away(found)
    assert len(list(cache.iterdir())) == 1
    assert len(made[3].dataset("train")) == made[3].counts["train"]


def test_a_version_that_cannot_be_read_lets_no_arrow_file_go(made):
    made[0].dataset("train")
    (made[2].folder / "goldloop" / "manifest.json").unlink()
    cache = made[0].folder.parents[2] / "cache" / "arrow"
    with pytest.raises(VersionError, match=r"manifest\.json"):
        unused_arrow_files(cache, [version.folder for version in made])


def test_a_version_with_a_tag_stays(made):
    folder = made[0].folder.parent
    tag(folder, "v1", made[0].digest, by="somebody")
    assert [each.path for each in find_garbage(folder, keep=1)] == [made[1].folder, made[2].folder]
