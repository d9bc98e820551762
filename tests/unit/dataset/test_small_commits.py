"""Commits of a few changes: what they write, and that they say what a commit of everything says."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from goldloop.dataset import version as versions
from goldloop.dataset.answers import read_answers
from goldloop.dataset.certificate import CERTIFICATE, verify
from goldloop.dataset.ledger import Ledger
from goldloop.dataset.manifest import Manifest
from goldloop.dataset.version import Version
from goldloop.errors import LedgerError, VersionError
from goldloop.records import Outcome

TOLD = ("digest", "rows", "annotators", "provenance", "shown_models")


def certificate(version: Version) -> dict:
    return json.loads((version.folder / CERTIFICATE).read_text())


def rows(version: Version) -> dict[str, list[dict]]:
    return {split: version.dataset(split).to_list() for split in version.counts}


def lines(version: Version) -> list[tuple]:
    """The ledger without the numbers of rows, which depend on how they came."""
    ledger = Ledger([version.folder / part.path for part in Manifest.load(version.folder).ledger])
    return [(line.key, line.outcome, line.reason, line.split, line.row) for line in ledger.lines()]


def assert_same(one: Version, other: Version) -> None:
    """Two versions say the same, however they came to be."""
    assert one.digest == other.digest
    assert (one.counts, one.class_counts, one.classes) == (other.counts, other.class_counts, other.classes)
    assert rows(one) == rows(other)
    assert lines(one) == lines(other)
    assert list(read_answers(one.folder)) == list(read_answers(other.folder))
    first, second = certificate(one), certificate(other)
    assert {name: first[name] for name in TOLD} == {name: second[name] for name in TOLD}
    assert first["ledger"]["commit"] == second["ledger"]["commit"]
    assert first["agreement"] == pytest.approx(second["agreement"])


def new_bytes(version: Version, before: Version) -> int:
    """What a version adds to the disk: files that the one before has not under any name."""
    known = {path.stat().st_ino for path in before.folder.rglob("*") if path.is_file()}
    files = (path.stat() for path in version.folder.rglob("*") if path.is_file())
    return sum(found.st_size for found in files if found.st_ino not in known)


class History:
    """Labels that change at random, and how they are committed."""

    def __init__(self, material: Any, seed: int) -> None:
        self.material = material
        self.random = random.Random(seed)
        keys = sorted(material.items)
        self.template = material.labels[0]
        self.labels = {label.key: label for label in material.labels[: len(keys) // 2]}
        self.open = set(keys[-3:]) - self.labels.keys()

    def step(self) -> None:
        keys = sorted(self.material.items)
        for key in self.random.sample(sorted(self.labels), self.random.randint(1, 4)):
            self.labels[key] = replace(self.template, key=key, target=self.random.choice(["yes", "no", "1"]))
        for key in self.random.sample(keys, 3):
            draw = self.random.random()
            self.open.discard(key)
            if draw < 0.6:
                self.labels[key] = replace(self.template, key=key, target="no")
            else:
                self.labels.pop(key, None)
                if draw < 0.8:
                    self.open.add(key)

    def answers(self) -> dict[str, dict[str, str]]:
        return {key: dict.fromkeys(label.annotators, label.target) for key, label in self.labels.items()}

    def outcomes(self) -> list[Outcome]:
        labelled = [Outcome(subject=key, outcome="labelled") for key in self.labels]
        return labelled + [Outcome(subject=key, outcome="open", reason="0 of 2") for key in self.open]

    def commit(self, name: str) -> Version:
        """Commit all of it."""
        keys = self.labels.keys() | self.open
        return self.material.commit(
            name=name,
            labels=list(self.labels.values()),
            items={key: self.material.items[key] for key in keys},
            outcomes=self.outcomes(),
            answers=self.answers(),
        )

    def amend(self, name: str, before: History) -> Version:
        """Commit what is not as it was."""
        changed = [label for key, label in self.labels.items() if before.labels.get(key) != label]
        opened = self.open - before.open
        keys = {label.key for label in changed} | opened
        return self.material.amend(
            name=name,
            labels=changed,
            items={key: self.material.items[key] for key in keys},
            outcomes=[Outcome(subject=key, outcome="open", reason="0 of 2") for key in opened],
            removed=sorted((before.labels.keys() | before.open) - self.labels.keys() - self.open),
            answers={label.key: dict.fromkeys(label.annotators, label.target) for label in changed},
        )

    def copy(self) -> History:
        other = History(self.material, 0)
        other.labels, other.open = dict(self.labels), set(self.open)
        return other


@pytest.mark.parametrize("seed", range(3))
def test_whatever_led_to_some_labels_the_version_is_the_same(make_texts, seed):
    history = History(make_texts(count=300), seed)
    history.commit("whole")
    history.commit("amended")
    for _ in range(24):
        before = history.copy()
        history.step()
        whole, amended = history.commit("whole"), history.amend("amended", before)
        assert verify(whole.folder) == []
        assert verify(amended.folder) == []
        assert_same(whole, amended)
    assert_same(whole, history.commit("at once"))


def test_versions_from_before_files_were_merged_stay_as_they_were(make_texts):
    history = History(make_texts(count=300), 7)
    seen = {}
    for _ in range(20):
        version = history.commit("signs")
        seen[version.digest] = rows(version)
        history.step()
    listed = versions.versions(history.material.versions, "signs")
    assert len(listed) == len(seen) == 20
    assert any(len(part) > 2 for version in listed for part in Manifest.load(version.folder).shards.values())
    for version in listed:
        assert verify(version.folder) == []
        assert rows(version) == seen[version.digest]


def test_what_a_small_commit_adds_does_not_grow_with_the_version(make_texts):
    """Bytes are counted, not timed; what goldloop tells of any version, large or small, is let off."""
    added = {}
    for count in (2_000, 8_000):
        material = make_texts(where=str(count), count=count)
        answers = {label.key: dict.fromkeys(label.annotators, label.target) for label in material.labels}
        first = material.commit(answers=answers)
        for place in range(count // 1_000):
            material.labels[place] = replace(material.labels[place], target="1")
        for place in range(8):
            material.labels[-1 - place] = replace(material.labels[-1 - place], target="no")
        answers = {label.key: dict.fromkeys(label.annotators, label.target) for label in material.labels}
        second = material.commit(answers=answers)
        whole = sum(path.stat().st_size for path in first.folder.rglob("*") if path.is_file())
        added[count] = new_bytes(second, first)
        assert second.digest != first.digest
        assert added[count] < whole / 8
    assert added[8_000] < added[2_000] * 1.5


@pytest.mark.parametrize(("most_ordered", "most_runs"), [(1 << 30, 0), (0, 0), (0, 25_000)])
def test_rows_are_read_alike_however_they_lie(make_texts, monkeypatch, most_ordered, most_runs):
    """By number and by name, one and several, in another process too."""
    import pickle

    from goldloop.dataset import arrow_files, ordered_table

    monkeypatch.setattr(arrow_files, "MOST_ORDERED", most_ordered)
    monkeypatch.setattr(ordered_table, "MOST_RUNS", most_runs)
    history = History(make_texts(count=300), 4)
    history.commit("signs")
    for _ in range(6):
        history.step()
        version = history.commit("signs")
    opened = version.dataset("train")
    keys = sorted(opened["key"])
    assert list(opened["key"]) == keys
    assert [opened[place]["key"] for place in range(len(opened))] == keys
    assert opened[[7, 3, 3, 0]]["key"] == [keys[7], keys[3], keys[3], keys[0]]
    assert opened[5:9]["text"] == [opened[place]["text"] for place in range(5, 9)]
    pickled = pickle.dumps(opened)
    assert b"with two lines" not in pickled
    again = pickle.loads(pickled)
    assert again.to_list() == opened.to_list()
    assert again.shuffle(seed=1).select(range(5)).to_list() == opened.shuffle(seed=1).to_list()[:5]


def test_a_commit_that_changes_much_writes_everything_anew(make_texts):
    material = make_texts()
    first = material.commit()
    material.labels = [replace(label, target="no") for label in material.labels]
    second = material.commit()
    assert {path.stat().st_ino for path in first.folder.glob("data/*")}.isdisjoint(
        path.stat().st_ino for path in second.folder.glob("data/*")
    )
    assert Manifest.load(second.folder).dead == ()


def test_a_version_that_was_deleted_is_nothing_that_others_need(make_texts):
    import shutil

    history = History(make_texts(count=300), 3)
    made = []
    for _ in range(4):
        made.append(history.commit("signs"))
        history.step()
    expected = rows(made[-1])
    for version in made[:-1]:
        shutil.rmtree(version.folder)
    assert verify(made[-1].folder) == []
    assert rows(made[-1]) == expected


def test_a_folder_that_was_copied_away_is_whole(make_texts, tmp_path):
    import shutil

    history = History(make_texts(count=300), 5)
    history.commit("signs")
    history.step()
    version = history.commit("signs")
    there = tmp_path / "elsewhere" / "versions" / "signs" / "copy"
    shutil.copytree(version.folder, there)
    assert verify(there) == []
    assert rows(replace(version, folder=there)) == rows(version)


def test_where_files_cannot_be_linked_they_are_copied(make_texts, monkeypatch):
    import errno
    import os

    def refuse(source, target):
        raise OSError(errno.EPERM, "Operation not permitted")

    history = History(make_texts(count=300), 5)
    first = history.commit("signs")
    monkeypatch.setattr(os, "link", refuse)
    history.step()
    second = history.commit("signs")
    assert Manifest.load(second.folder).dead
    assert verify(second.folder) == []
    assert {path.stat().st_nlink for path in Path(first.folder).rglob("*") if path.is_file()} == {1}


def test_a_commit_on_a_version_that_is_broken_writes_everything(make_texts):
    material = make_texts()
    first = material.commit()
    shard = first.folder / "data" / "train-00000-of-00001.parquet"
    shard.write_bytes(shard.read_bytes()[:-1])
    material.labels[0] = replace(material.labels[0], target="no")
    second = material.commit()
    assert verify(second.folder) == []
    assert Manifest.load(second.folder).dead == ()


def test_a_version_of_the_first_format_is_refused_and_the_next_commit_writes_anew(make_texts):
    material = make_texts()
    first = material.commit()
    path = first.folder / "goldloop" / "version.json"
    fields = json.loads(path.read_text())
    del fields["format"]
    path.write_text(json.dumps(fields))
    with pytest.raises(VersionError, match=r"an earlier goldloop wrote it.*commit"):
        versions.load(material.versions, "signs")
    assert verify(material.commit().folder) == []


def test_only_a_version_can_be_amended(make_texts):
    with pytest.raises(VersionError, match=r"no whole version of this task.*goldloop commit"):
        make_texts().amend()


def test_an_amendment_tells_of_each_item_once(make_texts):
    material = make_texts()
    material.commit()
    key = material.labels[0].key
    with pytest.raises(LedgerError, match=key):
        material.amend(labels=material.labels[:1], items={key: material.items[key]}, removed=[key])


def test_an_amendment_that_leaves_nothing_is_refused(make_texts):
    material = make_texts(count=5)
    before = material.commit()
    with pytest.raises(VersionError, match="no labelled item would be left"):
        material.amend(labels=[], items={}, removed=[label.key for label in material.labels])
    assert versions.versions(material.versions, "signs") == [before]


def test_a_group_is_not_torn_apart_by_an_amendment(make_texts):
    """Rows that a commit does not read are where they were, and those of their groups stay with them."""
    from goldloop.dataset.config import DatasetConfig, Split

    material = make_texts()
    one, two = material.labels[:2]
    for label in (one, two):
        material.items[label.key] = replace(material.items[label.key], group="both")
    material.commit()
    elsewhere = DatasetConfig(split=Split(train=0.01, validation=0.98, test=0.01))
    changed = replace(one, target="no")
    after = material.amend(labels=[changed], items={one.key: material.items[one.key]}, config=elsewhere)
    held = {split: set(after.dataset(split)["key"]) & {one.key, two.key} for split in after.counts}
    assert sorted(map(len, held.values())) == [0, 0, 2]
    assert verify(after.folder) == []
