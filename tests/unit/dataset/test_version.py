"""A version: committed whole or not at all, the same for the same labels, found by its digest."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from goldloop.dataset import history
from goldloop.dataset import version as versions
from goldloop.dataset.certificate import verify
from goldloop.dataset.config import DatasetConfig, Split
from goldloop.errors import CertificateError, LedgerError, VersionError, WorkspaceError
from goldloop.records import Outcome


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_version_says_what_it_is(make_texts):
    material = make_texts()
    version = material.commit(message="the first")
    assert version.ref == f"signs@{version.digest[:12]}"
    assert version.folder.parent == material.versions / "signs"
    assert sum(version.counts.values()) == len(material.labels) == 58
    assert list(version.counts) == ["train", "validation", "test"]
    assert sum(sum(found.values()) for found in version.class_counts.values()) == 58
    assert (version.agreement, version.message, version.parent) == (1.0, "the first", None)
    assert {name: version.split[name] for name in ("train", "validation", "test", "seed")} == {
        "train": 0.8,
        "validation": 0.1,
        "test": 0.1,
        "seed": 0,
    }
    assert version.split["policy"] == {"kind": "group"}
    assert version.facts()["version"] == version.ref
    json.dumps(version.facts())


def test_a_commit_is_read_back_as_it_was_made(make_texts):
    material = make_texts()
    version = material.commit()
    assert versions.load(material.versions, "signs") == version
    assert versions.load(material.versions, "signs", version.digest[:8]) == version
    assert versions.versions(material.versions, "signs") == [version]
    assert versions.names(material.versions) == ["signs"]


@pytest.mark.parametrize("kind", ["make_texts", "make_images"])
def test_rows_come_back_with_their_content_and_label(request, kind):
    material = request.getfixturevalue(kind)()
    version = material.commit()
    task = material.task.with_classes(version.classes)
    expected = {label.key: label for label in material.labels}
    seen = {}
    for split in version.counts:
        rows = version.dataset(split)
        assert [row["key"] for row in rows] == material.keys(split)
        seen |= {row["key"]: row for row in rows}
    assert seen.keys() == expected.keys()
    for key, row in seen.items():
        item = material.items[key]
        assert task.from_row(row) == expected[key].target
        assert (row["uri"], row["group"], row["provenance"]) == (item.uri, item.group, "human")
        assert (row["annotators"], row["agreement"], row["shown_models"]) == (["ann-1", "ann-2"], 1.0, [])
        if item.text is None:
            assert row["image"]["bytes"] == material.media.read(item)
        else:
            assert row["text"] == item.text


def test_what_datasets_makes_of_rows_stays_in_the_workspace(make_texts):
    material = make_texts()
    (cached,) = {Path(file["filename"]) for file in material.commit().dataset("train").cache_files}
    assert cached.is_relative_to(material.root / "cache")


def test_an_empty_split_has_no_file_and_no_rows(make_texts):
    everything = DatasetConfig(split=Split(train=1.0, validation=0.0, test=0.0))
    version = make_texts().commit(config=everything)
    assert version.counts == {"train": 58, "validation": 0, "test": 0}
    assert [path.name for path in (version.folder / "data").iterdir()] == ["train-00000-of-00001.parquet"]
    empty = version.dataset("test")
    assert len(empty) == 0
    assert empty.features == version.dataset("train").features


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.randoms())
def test_the_same_labels_in_another_order_are_the_same_bytes(make_texts, tmp_path, order: random.Random):
    material = make_texts("first")
    first = material.commit()
    where = tmp_path / str(order.random())
    other = make_texts(where)
    order.shuffle(other.labels)
    order.shuffle(other.outcomes)
    other.items = dict(order.sample(sorted(other.items.items()), len(other.items)))
    second = other.commit(balances={"pull": {"pulled": 900}}, message="later, elsewhere")
    assert second.digest == first.digest
    assert files(second.folder / "data") == files(first.folder / "data")


def test_who_labelled_under_which_address_does_not_change_the_digest(make_texts):
    first = make_texts("one").commit()
    other = make_texts("two")
    other.labels = [replace(label, annotators=("someone",), agreement=None) for label in other.labels]
    other.items = {key: replace(item, uri=f"s3://elsewhere/{key}") for key, item in other.items.items()}
    assert other.commit().digest == first.digest


def test_committing_again_adds_nothing(make_texts):
    material = make_texts()
    version = material.commit(message="once")
    before = files(version.folder)
    assert material.commit(message="twice") == version
    assert files(version.folder) == before
    assert len(versions.versions(material.versions, "signs")) == 1


def test_a_changed_label_is_a_new_version_with_the_old_one_as_parent(make_texts):
    material = make_texts()
    first = material.commit()
    material.labels[0] = replace(material.labels[0], target="no")
    second = material.commit()
    assert second.digest != first.digest
    assert second.parent == first.digest
    assert versions.versions(material.versions, "signs") == [first, second]
    material.labels[0] = replace(material.labels[0], target="yes")
    assert material.commit() == first
    assert versions.load(material.versions, "signs") == first
    assert [each.digest for each in versions.versions(material.versions, "signs")] == [
        first.digest,
        second.digest,
        first.digest,
    ]


def test_class_ids_stay_when_the_recipe_reorders_drops_and_adds_classes(make_texts):
    material = make_texts()
    first = material.commit()
    recipe = material.task.with_classes(["new", "no", "yes"])
    second = material.commit(task=recipe)
    assert second.classes == (*first.classes, "new")
    ids = {row["key"]: row["label"] for row in first.dataset("train")}
    assert {row["key"]: row["label"] for row in second.dataset("train")} == ids


def test_a_class_that_nobody_chose_keeps_its_id_and_counts_no_rows(make_texts):
    material = make_texts()
    material.labels = [replace(label, target="1") for label in material.labels]
    version = material.commit()
    assert version.classes == ("yes", "no", "1")
    assert [sum(found[name] for found in version.class_counts.values()) for name in version.classes] == [
        0,
        0,
        58,
    ]
    rows = version.dataset("train")
    assert rows.features["label"].names == ["yes", "no", "1"]
    assert set(rows["label"]) == {2}
    assert verify(version.folder) == []


def test_class_ids_stay_even_when_the_older_version_is_deleted(make_texts):
    import shutil

    material = make_texts()
    first = material.commit()
    shutil.rmtree(first.folder)
    assert versions.versions(material.versions, "signs") == []
    with pytest.raises(VersionError, match="no such version"):
        versions.load(material.versions, "signs")
    second = material.commit(task=material.task.with_classes(["1", "no", "yes"]))
    assert second.classes == first.classes
    assert second.digest == first.digest


def test_one_broken_version_leaves_the_others_usable_and_commit_mends_it(make_texts):
    material = make_texts()
    first = material.commit()
    material.labels[0] = replace(material.labels[0], target="no")
    second = material.commit()
    (second.folder / "goldloop" / "version.json").write_text("{")
    assert versions.load(material.versions, "signs", first.digest) == first
    with pytest.raises(VersionError, match="goldloop commit"):
        versions.load(material.versions, "signs")
    assert material.commit().digest == second.digest
    assert verify(second.folder) == []
    assert len(versions.versions(material.versions, "signs")) == 2


def test_a_version_of_another_digest_in_its_place_is_not_taken_for_it(make_texts):
    material = make_texts()
    first = material.commit()
    material.labels[0] = replace(material.labels[0], target="no")
    second = material.commit()
    second.folder.rename(second.folder.with_name("aside"))
    first.folder.rename(second.folder)
    with pytest.raises(VersionError, match=first.digest):
        versions.load(material.versions, "signs", second.digest)


def test_unknown_and_ambiguous_digests_are_told_apart(make_texts):
    material = make_texts()
    version = material.commit()
    with pytest.raises(VersionError, match=f"no such version.*{version.ref}"):
        versions.load(material.versions, "signs", "zzz")
    with pytest.raises(VersionError, match="goldloop commit"):
        versions.load(material.versions, "nothing")
    material.labels[0] = replace(material.labels[0], target="no")
    material.commit()
    with pytest.raises(VersionError, match="several versions begin so"):
        versions.load(material.versions, "signs", "")


def test_without_a_label_there_is_no_version_and_the_counts_say_why(make_texts):
    material = make_texts(count=5)
    states = ["open", "open", "skipped", "disputed", "rejected"]
    outcomes = [
        Outcome(subject=key, outcome=state) for key, state in zip(material.items, states, strict=True)
    ]
    with pytest.raises(VersionError, match="nothing is labelled yet") as caught:
        material.commit(labels=[], outcomes=outcomes)
    assert caught.value.found == "1 disputed, 2 open, 1 rejected, 1 skipped"
    assert "goldloop collect" in str(caught.value)
    assert not material.versions.exists()


def test_without_an_item_there_is_no_version(make_texts):
    with pytest.raises(VersionError, match="no items"):
        make_texts().commit(labels=[], outcomes=[], items={})


@pytest.mark.parametrize(
    "spoil",
    [
        lambda m: m.outcomes.pop(),
        lambda m: m.outcomes.append(m.outcomes[0]),
        lambda m: m.outcomes.append(Outcome(subject="f" * 64, outcome="open")),
        lambda m: m.labels.pop(),
        lambda m: m.labels.append(m.labels[0]),
        lambda m: m.outcomes.__setitem__(0, replace(m.outcomes[0], outcome="open")),
    ],
    ids=["no outcome", "two outcomes", "unknown item", "no label", "two labels", "label of an open item"],
)
def test_books_that_do_not_balance_write_nothing(make_texts, spoil):
    material = make_texts()
    spoil(material)
    with pytest.raises(LedgerError, match="account for every item"):
        material.commit()
    assert not material.versions.exists()


def test_an_image_that_is_gone_is_named_and_nothing_is_written(make_images):
    material = make_images()
    item = material.items[material.labels[3].key]
    material.media.path(item).unlink()
    with pytest.raises(WorkspaceError, match=item.key):
        material.commit()
    assert list(material.versions.iterdir()) == []


def test_an_image_that_was_changed_in_the_workspace_is_named(make_images):
    material = make_images()
    item = material.items[material.labels[3].key]
    material.media.path(item).write_bytes(b"something else")
    with pytest.raises(VersionError, match=f"{item.key}.*goldloop pull"):
        material.commit()
    assert list(material.versions.iterdir()) == []


def test_a_text_that_does_not_have_its_key_is_caught_by_the_certificate(make_texts):
    material = make_texts()
    key = material.labels[0].key
    material.items[key] = replace(material.items[key], text="something else")
    with pytest.raises(CertificateError, match=f"{key}: its content has another digest"):
        material.commit()
    assert list(material.versions.iterdir()) == []


def test_a_broken_version_gives_way_to_a_whole_one(make_texts):
    material = make_texts()
    version = material.commit()
    shard = version.folder / "data" / "train-00000-of-00001.parquet"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-20])
    assert material.commit() == version
    assert shard.read_bytes() == whole
    assert sorted(path.name for path in version.folder.parent.iterdir()) == [version.folder.name, "log.jsonl"]


def test_figures_of_agreement_over_all_items_are_kept_as_they_are_given(make_texts):
    version = make_texts().commit(agreement={"mean": 0.75, "items": 60, "alpha": 0.5})
    assert version.agreement == 0.75
    certificate = json.loads((version.folder / "goldloop" / "certificate.json").read_text())
    assert certificate["agreement"] == {"mean": 0.75, "items": 60, "alpha": 0.5}
    card = (version.folder / "README.md").read_text()
    assert "75.0%" in card
    assert "0.500" in card


def test_a_disk_that_is_full_at_the_very_end_leaves_nothing(make_texts, monkeypatch):
    import errno

    def full(folder, commit):
        raise OSError(errno.ENOSPC, "No space left on device")

    material = make_texts()
    monkeypatch.setattr(history, "add", full)
    with pytest.raises(VersionError, match=r"No space left on device.*Make room"):
        material.commit()
    assert list(material.versions.iterdir()) == []


def test_what_each_annotator_said_is_kept_beside_the_labels(make_texts):
    from goldloop.dataset.answers import read_answers

    material = make_texts()
    one, two = sorted(material.items)[:2]
    version = material.commit(answers={two: {"y": ["b"], "x": []}, one: {"x": "a"}})

    assert list(read_answers(version.folder)) == [
        {"key": one, "annotator": "x", "answer": '"a"'},
        {"key": two, "annotator": "x", "answer": "[]"},
        {"key": two, "annotator": "y", "answer": '["b"]'},
    ]
    assert verify(version.folder) == []
