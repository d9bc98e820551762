"""Images that lie outside of a version: named by address and digest, fetched when it is read, and proven."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import datasets
import pytest

from goldloop.dataset import certificate
from goldloop.dataset import version as versions
from goldloop.dataset.config import DatasetConfig
from goldloop.dataset.croissant import croissant
from goldloop.dataset.forgetting import forget
from goldloop.dataset.manifest import Manifest
from goldloop.dataset.shards import live_rows
from goldloop.errors import CertificateError, VersionError, WorkspaceError
from goldloop.media import MediaStore
from goldloop.records import content_key

from .test_croissant import validated

REFERENCE = DatasetConfig(media="reference")


@pytest.fixture
def material(make_images, tmp_path: Path):
    """The examples of the image task, each a file of the source as well as in the workspace."""
    made = make_images()
    made.media, before = MediaStore(made.root / "media" / "items"), made.media
    source = tmp_path / "photos"
    source.mkdir()
    for number, (key, item) in enumerate(made.items.items()):
        content = before.read(item)
        made.media.put(item, content)
        path = source / f"photo {number}.png"
        path.write_bytes(content)
        made.items[key] = replace(item, uri=str(path))
    made.config = REFERENCE
    return made


def without_workspace(material) -> None:
    """Take away the workspace's own copies."""
    for path in material.media.root.rglob("*.png"):
        path.unlink()


def some_row(version, split="train"):
    return next(iter(live_rows(version.folder, split)))


def test_rows_have_address_and_digest_and_no_bytes(material):
    version = material.commit()
    for split in version.counts:
        for row in live_rows(version.folder, split):
            assert row["image"] == {"bytes": None, "path": material.items[row["key"]].uri}
            assert content_key(Path(row["image"]["path"]).read_bytes()) == row["key"]
    assert Manifest.load(version.folder).outside == len(material.labels)
    assert version.labelling()["outside"] == len(material.labels)
    shards = sum(path.stat().st_size for path in (version.folder / "data").iterdir())
    material.config = DatasetConfig()
    inside = material.commit(root=material.root / "other" / "versions")
    assert shards < sum(path.stat().st_size for path in (inside.folder / "data").iterdir())


def test_the_digest_is_that_of_a_version_with_its_images_inside(material):
    version = material.commit()
    inside = material.commit(root=material.root / "other" / "versions", config=DatasetConfig())
    assert version.digest == inside.digest
    assert version.dataset("train").to_list() != []
    for one, other in zip(version.dataset("train"), inside.dataset("train"), strict=True):
        assert one["image"]["bytes"] == other["image"]["bytes"]
        assert {**one, "image": None} == {**other, "image": None}


def test_plain_datasets_read_it(material):
    version = material.commit()
    rows = datasets.load_dataset(str(version.folder), cache_dir=str(material.root / "hf"))["train"]
    ours = {row["key"]: row["image"]["bytes"] for row in version.dataset("train")}
    assert len(rows) == len(ours)
    assert all(min(row["image"].size) > 0 for row in rows)
    assert {row["key"] for row in rows} == ours.keys()


def test_what_the_workspace_lost_comes_from_its_address(material):
    version = material.commit()
    expected = version.dataset("train").to_list()
    for path in version.cache.rglob("*.arrow"):
        path.unlink()
    without_workspace(material)
    assert version.dataset("train").to_list() == expected
    assert certificate.verify(version.folder) == []


def test_what_is_gone_from_both_is_named(material):
    version = material.commit()
    without_workspace(material)
    row = some_row(version)
    Path(row["image"]["path"]).unlink()
    (fault,) = certificate.verify(version.folder)
    assert row["key"] in fault.where
    assert "missing" in fault.problem
    assert row["image"]["path"] in fault.problem
    with pytest.raises(CertificateError, match="missing"):
        certificate.require(version.folder)
    with pytest.raises(VersionError, match=r"neither in the workspace nor at its address"):
        version.dataset("train")
    assert not list(version.cache.rglob("*.arrow"))


@pytest.mark.parametrize("how", ["flipped", "another", "cut off"])
def test_another_image_at_the_address_is_never_taken(material, how):
    version = material.commit()
    without_workspace(material)
    row = some_row(version)
    path = Path(row["image"]["path"])
    content = path.read_bytes()
    others = [Path(item.uri).read_bytes() for item in material.items.values() if item.key != row["key"]]
    path.write_bytes(
        {
            "flipped": content[:-20] + bytes([content[-20] ^ 1]) + content[-19:],
            "another": others[0],
            "cut off": content[: len(content) // 2],
        }[how]
    )
    (fault,) = certificate.verify(version.folder)
    assert "was changed" in fault.problem
    assert row["key"] in fault.where
    with pytest.raises(VersionError, match="changed"):
        version.dataset("train")


def test_a_spoiled_copy_in_the_workspace_is_not_taken_either(material):
    version = material.commit()
    row = some_row(version)
    material.media.path(material.items[row["key"]]).write_bytes(b"spoiled")
    assert certificate.verify(version.folder) == []
    assert row["key"] in {content_key(each["image"]["bytes"]) for each in version.dataset("train")}


def test_an_image_without_an_address_of_its_own_lies_inside(material):
    keys = list(material.items)
    gone, row_of_table = keys[0], keys[1]
    Path(material.items[gone].uri).unlink()
    material.items[row_of_table] = replace(material.items[row_of_table], uri="table.parquet#17")
    version = material.commit()
    inside = {
        row["key"]
        for split in version.counts
        for row in live_rows(version.folder, split)
        if row["image"]["bytes"] is not None
    }
    assert inside == {gone, row_of_table}
    without_workspace(material)
    assert certificate.verify(version.folder) == []


def test_a_change_of_the_recipe_holds_for_new_rows(material):
    material.config = DatasetConfig()
    first = material.commit()
    material.config = REFERENCE
    assert material.commit() == first
    label = next(label for label in material.labels if label.target == material.task.classes[0])
    changed = replace(label, target=material.task.classes[1])
    version = material.amend(labels=[changed], items={label.key: material.items[label.key]})
    assert Manifest.load(version.folder).outside == 1
    assert certificate.verify(version.folder) == []
    everything = [row for split in version.counts for row in version.dataset(split)]
    assert len(everything) == len(material.labels)
    assert all(content_key(row["image"]["bytes"]) == row["key"] for row in everything)


def test_rows_stay_outside_when_their_files_become_one(material):
    material.commit()
    classes = material.task.classes
    for turn in range(12):
        label = material.labels[turn % len(material.labels)]
        other = replace(label, target=classes[(classes.index(label.target) + 1) % len(classes)])
        material.labels[turn % len(material.labels)] = other
        version = material.amend(labels=[other], items={label.key: material.items[label.key]})
    rows = [row for split in version.counts for row in live_rows(version.folder, split)]
    assert all(row["image"]["bytes"] is None for row in rows)
    manifest = Manifest.load(version.folder)
    assert manifest.outside == sum(part.rows for parts in manifest.shards.values() for part in parts)
    assert certificate.verify(version.folder) == []


def test_one_that_is_forgotten_leaves_its_address_nowhere(material):
    version = material.commit()
    version.dataset("train")
    key = some_row(version)["key"]
    uri = material.items[key].uri
    forget(material.versions, key, None, lambda digest: None)
    assert certificate.verify(version.folder) == []
    assert all(uri.encode() not in path.read_bytes() for path in version.folder.rglob("*.parquet"))
    assert key not in {row["key"] for row in version.dataset("train")}


def test_what_is_shown_and_measured_of_it_has_its_images(material):
    version = material.commit()
    assert content_key(version.content(0)) in material.items
    for each in version.sample("train", 3):
        assert content_key(each["image"]["bytes"]) == each["key"]


def test_its_card_and_its_croissant_tell_so(material):
    version = material.commit()
    count = len(material.labels)
    assert f"Images of {count} rows are not in these files" in (version.folder / "README.md").read_text()
    facts = croissant(version)
    found = validated(version.folder, facts, "train-rows")
    assert found["errors"] == []
    addresses = {row["train-rows/key"]: row["train-rows/image_address"] for row in found["rows"]}
    assert addresses == {row["key"]: row["uri"] for row in version.dataset("train")}


def test_texts_lie_inside_whatever_the_recipe_says(make_texts):
    material = make_texts()
    version = material.commit(config=REFERENCE)
    assert Manifest.load(version.folder).outside == 0
    assert certificate.verify(version.folder) == []


def test_a_commit_whose_image_is_nowhere_is_refused_and_lists_nothing(material):
    version = material.commit()
    label = material.labels[0]
    item = material.items[label.key]
    material.media.path(item).unlink()
    Path(item.uri).unlink()
    classes = material.task.classes
    other = replace(label, target=classes[(classes.index(label.target) + 1) % len(classes)])
    with pytest.raises(WorkspaceError, match="missing from the workspace"):
        material.amend(labels=[other], items={label.key: item})
    assert [each.digest for each in versions.versions(material.versions, "signs")] == [version.digest]
