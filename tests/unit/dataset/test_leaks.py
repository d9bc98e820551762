"""The same thing in two splits is refused, and both are named: in the sources, and in a version's bytes."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from goldloop import loop
from goldloop.dataset.certificate import DESCRIPTION, verify
from goldloop.dataset.grouping import grouping_of
from goldloop.errors import VersionError
from goldloop.recipe import Recipe, parse

sys.path.insert(0, str(Path(__file__).parents[1] / "duplicates"))

from pictures import COPIES, scene, stored

COUNT = 40


def images(folder: Path, **dataset: Any) -> Recipe:
    for number in range(COUNT):
        path = folder / "signs" / ("yes" if number % 2 else "no") / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(stored(scene(number)))
    return parse(
        {
            "name": "signs",
            "sources": [
                {
                    "kind": "files",
                    "url": str(folder / "signs"),
                    "label": {"from": "folder", "use": "imported"},
                }
            ],
            "task": {"kind": "image-classification", "classes": ["no", "yes"]},
            "dataset": dataset,
        }
    )


def texts(folder: Path, rows: list[tuple[str, str]], **policy: Any) -> Recipe:
    with (folder / "texts.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "split", "label"), *((*row, "yes") for row in rows)])
    source = {"kind": "table", "url": str(folder / "texts.csv"), "text": "text", "metadata": ["split"]}
    return parse(
        {
            "name": "notes",
            "sources": [{**source, "label": {"from": "label", "use": "imported"}}],
            "task": {"kind": "text-classification", "classes": ["no", "yes"]},
            "dataset": {"split": {"policy": {"kind": "predefined", **policy}}},
        }
    )


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_of_a_test_image_never_enters_training(tmp_path, workspace, copy):
    recipe = images(tmp_path)
    loop.pull(recipe, workspace)
    before = loop.commit(recipe, workspace)
    first = {row["uri"]: split for split in before.counts for row in before.dataset(split)}
    (path, *_) = sorted(uri for uri, split in first.items() if split == "test")
    name = Path(path).name
    original = scene(int(name.partition(".")[0]))
    (tmp_path / "signs" / "yes" / "copy.jpg").write_bytes(COPIES[copy](original))
    loop.pull(recipe, workspace)
    after = loop.commit(recipe, workspace)
    second = {row["uri"]: split for split in after.counts for row in after.dataset(split)}
    assert first.items() <= second.items()
    assert [split for uri, split in second.items() if uri.endswith("copy.jpg")] == ["test"]
    told = grouping_of(after)
    assert (told.groups, told.grouped, told.largest, told.withheld) == (1, 2, 2, 0)
    assert told.in_words()["near-duplicates"] == "near"
    assert verify(after.folder, cache=workspace.cache) == []
    assert verify(after.folder) == []


def test_a_text_with_other_punctuation_in_another_split_of_the_source_is_refused(tmp_path, workspace):
    rows = [("Where is my card?", "train"), ("where is my card", "test"), ("How do I pay?", "train")]
    recipe = texts(tmp_path, rows)
    loop.pull(recipe, workspace)
    with pytest.raises(VersionError, match=r"texts\.csv#1 .* in test, and .*texts\.csv#0 .* in train"):
        loop.commit(recipe, workspace)
    assert not (workspace.versions / "notes").exists()
    kept = loop.commit(texts(tmp_path, rows, leaks="keep-out"), workspace)
    assert kept.counts == {"train": 1, "validation": 0, "test": 1}


def test_a_leak_in_a_versions_bytes_is_named(tmp_path, workspace):
    """As of someone who makes a version without looking for near-duplicates, and says that they did."""
    rows = [("Where is my card?", "train"), ("where is my card", "test"), ("How do I pay?", "train")]
    fields = texts(tmp_path, rows).model_dump(mode="json", by_alias=True)
    recipe = parse({**fields, "dataset": {**fields["dataset"], "duplicates": "off"}})
    loop.pull(recipe, workspace)
    version = loop.commit(recipe, workspace)
    assert verify(version.folder) == []
    path = version.folder / DESCRIPTION
    path.write_text(json.dumps({**json.loads(path.read_text()), "duplicates": "near"}))
    (train,) = [row["key"] for row in version.dataset("train") if "card" in row["text"]]
    (test,) = version.dataset("test")["key"]
    leaked = f"row {train}: is in train, and a near-duplicate of row {test} in test"
    assert leaked in [str(fault) for fault in verify(version.folder)]
