"""Rows that lie in several files are put in order once, and read as if one commit had written them."""

from __future__ import annotations

import os
from dataclasses import replace

from goldloop.dataset import arrow_files
from goldloop.dataset.garbage import unused_arrow_files
from goldloop.dataset.manifest import Manifest


def changed(material, place, target="no"):
    """A commit of one changed label."""
    other = target if material.labels[place].target != target else "yes"
    material.labels[place] = replace(material.labels[place], target=other)
    return material.commit()


def ordered(version):
    return sorted(version.cache.glob("arrow/*.ordered.arrow"))


def train_place(material, version):
    """The first label whose item is in the training split."""
    keys = set(version.dataset("train")["key"])
    return next(place for place, label in enumerate(material.labels) if label.key in keys)


def test_a_version_whose_rows_lie_in_order_has_the_file_of_its_shard_alone(make_texts):
    version = make_texts(count=200).commit()
    assert len(version.dataset("train")) == version.counts["train"]
    assert ordered(version) == []
    assert len(list(version.cache.glob("arrow/*.arrow"))) == 1


def test_rows_of_several_files_are_one_mapped_file_with_few_batches(make_texts):
    material = make_texts(count=200)
    first = material.commit()
    version = changed(material, train_place(material, first))
    rows = version.dataset("train")
    (path,) = ordered(version)
    assert rows.cache_files == [{"filename": str(path)}]
    assert rows.data.column("key").num_chunks == 1
    assert list(rows["key"]) == sorted(rows["key"])
    before = path.stat().st_mtime_ns, path.stat().st_ino
    os.utime(path, (1, 1))
    assert version.dataset("train").to_list() == rows.to_list()
    assert path.stat().st_ino == before[1]
    assert path.stat().st_mtime > 1, "being opened is what keeps it"


def test_rows_of_an_earlier_version_are_not_decoded_again(make_texts, monkeypatch):
    """Its file is mapped; with it gone, shards are read and the rows are the same."""
    material = make_texts(count=200)
    first = material.commit()
    version = changed(material, train_place(material, first))
    with_first = version.dataset("train").to_list()
    for path in version.cache.glob("arrow/*"):
        path.unlink()
    assert version.dataset("train").to_list() == with_first
    assert [path.name for path in version.cache.glob("arrow/*")] == [path.name for path in ordered(version)]


def test_those_not_opened_for_longest_go_first(make_texts, monkeypatch):
    material = make_texts(count=200)
    first = material.commit()
    place = train_place(material, first)
    made = []
    for number in range(3):
        made.append(changed(material, place + number))
        made[-1].dataset("train")
        for age, path in enumerate(reversed(ordered(first))):
            os.utime(path, (1_000 + age, 1_000 + age))
    made[0].dataset("train")
    size = max(path.stat().st_size for path in ordered(first))
    monkeypatch.setattr(arrow_files, "MOST_KEPT", 2 * size)
    last = changed(material, place + 3)
    last.dataset("train")
    names = {arrow_files.ordered_name(Manifest.load(each.folder), "train") for each in (made[0], last)}
    assert {path.name for path in ordered(first)} == names


def test_the_file_of_a_version_that_is_gone_is_garbage(make_texts):
    material = make_texts(count=200)
    first = material.commit()
    second = changed(material, train_place(material, first))
    second.dataset("train")
    cache = first.cache / "arrow"
    assert unused_arrow_files(cache, [first.folder, second.folder]) == []
    assert [each.path for each in unused_arrow_files(cache, [first.folder])] == ordered(second)


def test_a_label_of_another_split_leaves_the_file_as_it_is(make_texts):
    material = make_texts(count=400)
    first = material.commit()
    place = train_place(material, first)
    second = changed(material, place)
    second.dataset("train")
    tests = set(first.dataset("test")["key"])
    third = changed(material, next(n for n, label in enumerate(material.labels) if label.key in tests))
    names = [arrow_files.ordered_name(Manifest.load(each.folder), "train") for each in (second, third)]
    assert names[0] == names[1]
