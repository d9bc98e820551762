"""A content that is forgotten is in no file of any version, and every version still proves itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import datasets
import pyarrow
import pytest
from pyarrow import ipc, parquet

from goldloop.dataset import version as versions
from goldloop.dataset.certificate import CERTIFICATE, signer_of, verify
from goldloop.dataset.forgetting import forget, held
from goldloop.dataset.signing import SigningKey, new_key
from goldloop.errors import VersionError
from goldloop.records import Outcome


def everything(folder: Path) -> bytes:
    """All that is said in any file under a folder, unpacked."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".parquet":
            table = parquet.read_table(path)
            found += [repr(table.to_pylist()).encode(), repr(parquet.read_schema(path)).encode()]
        elif path.suffix == ".arrow" and path.parent.name == "goldloop":
            with pyarrow.memory_map(str(path)) as file:
                table = ipc.open_file(file).read_all()
            found += [repr(table.to_pylist()).encode()]
            found += [
                repr(column.chunk(0).dictionary.to_pylist()).encode()
                for column in table.columns
                if pyarrow.types.is_dictionary(column.type) and column.num_chunks
            ]
        if path.is_file():
            found.append(path.read_bytes())
    return b"\n".join(found)


def gone(root: Path, key: str, signing: SigningKey | None = None) -> list[str]:
    shards: list[str] = []
    forget(root, key, signing, shards.append)
    return shards


def row_keys(version: versions.Version) -> set[str]:
    return {key for split in version.counts for key in version.dataset(split)["key"]}


def secret(material, position: int) -> tuple[str, str]:
    """The key of a labelled item, and words that are in its text alone."""
    key = material.labels[position].key
    return key, material.items[key].text.split(" \N{WAVING HAND SIGN}")[0]


def test_a_forgotten_text_is_in_no_file_and_every_version_verifies(make_texts):
    material = make_texts()
    key, words = secret(material, 17)
    answers = {key: {"ann-1": f"said of {words}"}, material.labels[1].key: {"ann-1": "no"}}
    first = material.commit(answers=answers)
    material.labels[3] = replace(material.labels[3], target="no")
    second = material.commit(answers=answers)
    assert words.encode() in everything(material.versions)
    assert [each.version for each in held(material.versions, key)] == [first, second]
    old = {version.digest: version.counts for version in (first, second)}

    assert len(gone(material.versions, key)) >= 1

    assert words.encode() not in everything(material.versions)
    for version in versions.versions(material.versions, "signs"):
        assert verify(version.folder) == []
        assert key not in row_keys(version)
        assert sum(version.counts.values()) == sum(old[version.digest].values()) - 1
        assert sum(sum(found.values()) for found in version.class_counts.values()) == 57
    for each in held(material.versions, key):
        assert each.is_tombstone
        assert each.split in ("train", "validation", "test")
    certificate = json.loads((second.folder / CERTIFICATE).read_text())
    assert certificate["ledger"]["commit"] == {"labelled": 57, "open": 2, "forgotten": 1}
    assert certificate["annotators"] == {"ann-1": 57, "ann-2": 57}
    left = {path.name for path in (material.versions / "signs").iterdir()}
    assert left == {first.folder.name, second.folder.name, "log.jsonl"}
    assert not (material.versions / ".forgetting").exists()


def test_forgetting_again_changes_nothing(make_texts):
    material = make_texts()
    version = material.commit()
    key, _ = secret(material, 5)
    gone(material.versions, key)
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in version.folder.rglob("*")}
    assert gone(material.versions, key) == []
    assert {
        path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in version.folder.rglob("*")
    } == before


def test_other_contents_and_other_versions_are_left_as_they_are(make_texts):
    material = make_texts()
    elsewhere = make_texts("two", count=20)
    elsewhere.root = material.root
    elsewhere.name = "other"
    elsewhere.labels, elsewhere.outcomes = elsewhere.labels[:9], elsewhere.outcomes[:9]
    elsewhere.items = {label.key: elsewhere.items[label.key] for label in elsewhere.labels}
    other = elsewhere.commit()
    version = material.commit()
    before = {path: path.read_bytes() for path in other.folder.rglob("*") if path.is_file()}
    rows = {row["key"]: row for split in version.counts for row in version.dataset(split)}
    key, _ = secret(material, 30)
    gone(material.versions, key)
    assert {path: path.read_bytes() for path in other.folder.rglob("*") if path.is_file()} == before
    after = {row["key"]: row for split in version.counts for row in version.dataset(split)}
    del rows[key]
    assert after == rows


def test_an_image_goes_with_its_shard_and_shared_files_stay_shared(make_images):
    material = make_images()
    key = material.labels[2].key
    content = material.media.read(material.items[key])
    first = material.commit()
    other = material.labels[5]
    material.labels[5] = replace(
        other, target=next(name for name in material.task.classes if name != other.target)
    )
    second = material.commit()
    gone(material.versions, key)
    assert content not in everything(material.versions)
    assert verify(first.folder) == verify(second.folder) == []
    inodes = [
        {path.stat().st_ino for path in version.folder.joinpath("data").iterdir()}
        for version in (first, second)
    ]
    assert inodes[0] & inodes[1]


def test_rows_that_are_dead_go_too(make_texts):
    material = make_texts()
    key, words = secret(material, 17)
    first = material.commit()
    place = next(place for place, label in enumerate(material.labels) if label.key == key)
    material.labels[place] = replace(material.labels[place], target="no")
    second = material.commit()
    del material.labels[place]
    material.items.pop(key)
    material.outcomes = [outcome for outcome in material.outcomes if outcome.subject != key]
    third = material.commit()
    assert json.loads((third.folder / "goldloop" / "manifest.json").read_text())["dead"]
    (last,) = [each for each in held(material.versions, key) if each.version == third]
    assert last.files
    assert last.line is None
    gone(material.versions, key)
    assert words.encode() not in everything(material.versions)
    for version in (first, second, third):
        assert verify(version.folder) == []
    assert [each.version.digest for each in held(material.versions, key)] == [first.digest, second.digest]


def test_what_was_said_of_an_item_without_a_row_goes_too(make_texts):
    material = make_texts()
    material.outcomes = [
        Outcome(
            subject=outcome.subject,
            outcome="disputed",
            reason=f"annotators disagree about {outcome.subject[:9]}",
        )
        if outcome.outcome == "open"
        else outcome
        for outcome in material.outcomes
    ]
    key = material.outcomes[-1].subject
    version = material.commit()
    assert f"disagree about {key[:9]}".encode() in everything(material.versions)
    gone(material.versions, key)
    assert f"disagree about {key[:9]}".encode() not in everything(material.versions)
    assert verify(version.folder) == []
    assert sum(version.counts.values()) == 58


def test_plain_datasets_reads_a_version_that_something_was_taken_out_of(make_texts, tmp_path):
    material = make_texts()
    version = material.commit()
    material.labels[3] = replace(material.labels[3], target="no")
    second = material.commit()
    key, _ = secret(material, 30)
    gone(material.versions, key)
    for folder in (version.folder, second.folder):
        loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / folder.name))
        assert sum(len(rows) for rows in loaded.values()) == 57
        assert key not in {found for rows in loaded.values() for found in rows["key"]}


@pytest.mark.parametrize("how", ["commit", "amend"])
def test_a_commit_after_forgetting_is_the_one_of_what_is_left(make_texts, how):
    material = make_texts()
    material.commit()
    key, words = secret(material, 17)
    gone(material.versions, key)
    left = make_texts("left")
    for each in (material, left):
        each.labels = [label for label in each.labels if label.key != key]
        each.outcomes = [outcome for outcome in each.outcomes if outcome.subject != key]
        each.items = {other: item for other, item in each.items.items() if other != key}
    alone = left.commit()
    if how == "commit":
        version = material.commit()
    else:
        changed = material.labels[0]
        version = material.amend(labels=[changed], items={changed.key: material.items[changed.key]})
    assert version.digest == alone.digest
    assert verify(version.folder) == []
    assert words.encode() not in everything(material.versions)
    certificate = json.loads((version.folder / CERTIFICATE).read_text())
    assert certificate["ledger"]["commit"] == {"labelled": 57, "open": 2}


def test_the_only_row_of_a_version_can_be_forgotten(make_texts):
    material = make_texts(count=3)
    version = material.commit()
    key, words = secret(material, 0)
    gone(material.versions, key)
    assert words.encode() not in everything(material.versions)
    assert verify(version.folder) == []
    assert versions.load(material.versions, "signs").counts == {"train": 0, "validation": 0, "test": 0}
    assert len(version.dataset("train")) == 0
    more = make_texts("one", count=9)
    assert sum(more.commit().counts.values()) == 7


def test_a_signed_version_is_signed_again_or_loses_its_signature(make_texts, tmp_path):
    from goldloop.dataset.certificate import sign

    material = make_texts()
    version = material.commit()
    key = new_key(tmp_path / "key.pem")
    assert sign(version.folder, key)
    gone(material.versions, secret(material, 1)[0], key)
    assert signer_of(version.folder) == key.public
    assert verify(version.folder, {key.public}) == []
    gone(material.versions, secret(material, 2)[0])
    assert signer_of(version.folder) is None
    assert verify(version.folder) == []


def test_a_broken_version_is_named_and_left_as_it_is(make_texts):
    material = make_texts()
    version = material.commit()
    (version.folder / CERTIFICATE).write_text("{}")
    with pytest.raises(VersionError, match=f"{version.folder.name}.*goldloop verify"):
        gone(material.versions, secret(material, 1)[0])
    assert (version.folder / CERTIFICATE).read_text() == "{}"


def test_what_killed_writers_left_of_a_version_goes(make_texts):
    material = make_texts()
    version = material.commit()
    key, words = secret(material, 1)
    left = version.folder.with_name(".writing-abc")
    left.mkdir()
    (left / "x").write_text(words)
    gone(material.versions, key)
    assert not left.exists()


def killed_at(monkeypatch, moment: int, act: Callable[[], None]) -> bool:
    """Whether something that ends at its so-many-th renaming or removal was cut off there."""
    touched = 0

    class Killed(BaseException):
        pass

    def counting(original):
        def call(*args, **kwargs):
            nonlocal touched
            touched += 1
            if touched == moment:
                raise Killed
            return original(*args, **kwargs)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", counting(Path.rename))
        patched.setattr("shutil.rmtree", counting(__import__("shutil").rmtree))
        patched.setattr("goldloop.dataset.forgetting.flush_all", counting(lambda paths: None))
        try:
            act()
        except Killed:
            return True
    return False


def test_forgetting_that_is_cut_off_ends_the_same_when_it_is_run_again(make_texts, monkeypatch):
    moments = 0
    for moment in range(1, 50):
        material = make_texts(f"moment-{moment}")
        material.commit()
        material.labels[3] = replace(material.labels[3], target="no")
        material.commit()
        key, words = secret(material, 17)
        cut = killed_at(
            monkeypatch,
            moment,
            lambda root=material.versions, key=key: forget(root, key, None, lambda _: None),
        )
        gone(material.versions, key)
        assert words.encode() not in everything(material.versions)
        found = versions.versions(material.versions, "signs")
        assert len(found) == 2
        assert all(verify(version.folder) == [] for version in found)
        assert len(list((material.versions / "signs").iterdir())) == 3
        if not cut:
            break
        moments += 1
    assert moments >= 6
