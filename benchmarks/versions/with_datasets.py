"""`datasets`: a whole copy of every version, by `save_to_disk` or as `push_to_hub` writes Parquet.

    with_datasets.py MATERIAL SCRATCH OUT save-to-disk | parquet

Timed is the writing alone: what a version is to hold is made ready in memory before.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import datasets
import pyarrow
from clock import Record, used
from material import CLASSES, SPLITS, load, split_of
from pyarrow import compute

datasets.disable_progress_bars()


class Arm:
    """The rows as they are at each commit."""

    def __init__(self, material: Path, scratch: Path, out: Path, way: str) -> None:
        table, self.size, self.steps = load(material)
        self.record = Record(
            out, "save_to_disk" if way == "save-to-disk" else "Parquet rewrite", self.size.kind
        )
        self.scratch, self.way = scratch, way
        self.labels = table["label"].to_pylist()
        self.there = self.size.rows
        self.table = self._with_all_columns(table)
        self.splits = {split: [] for split in SPLITS}
        for row, key in enumerate(table["key"].to_pylist()):
            self.splits[split_of(key)].append(row)
        self.versions: list[Path] = []

    def _with_all_columns(self, table: Any) -> Any:
        """The same columns that a row of goldloop's has."""
        count = len(table)
        if self.size.kind == "images":
            images = pyarrow.StructArray.from_arrays(
                [
                    table["image"].combine_chunks(),
                    pyarrow.array([f"{key}.png" for key in table["key"].to_pylist()]),
                ],
                ["bytes", "path"],
            )
            table = table.set_column(1, "image", images)
        table = table.append_column("group", table["key"])
        table = table.append_column("provenance", pyarrow.array(["human"] * count))
        table = table.append_column("annotators", pyarrow.array([["annotator-1", "annotator-2"]] * count))
        table = table.append_column("agreement", pyarrow.array([1.0] * count))
        shown = pyarrow.array([[]] * count, pyarrow.list_(pyarrow.string()))
        table = table.append_column("shown_models", shown)
        return table.append_column("confidence", pyarrow.nulls(count, pyarrow.float64()))

    def rows(self) -> datasets.DatasetDict:
        """What is to be saved, as one contiguous table for each split."""
        place = self.table.schema.get_field_index("label")
        table = self.table.set_column(place, "label", pyarrow.array(self.labels, pyarrow.int64()))
        content = (
            {"image": datasets.Image()} if self.size.kind == "images" else {"text": datasets.Value("string")}
        )
        features = datasets.Features(
            {
                "key": datasets.Value("string"),
                **content,
                "label": datasets.ClassLabel(names=list(CLASSES)),
                **{name: datasets.Value("string") for name in ("uri", "group", "provenance")},
                "annotators": datasets.List(datasets.Value("string")),
                "agreement": datasets.Value("float64"),
                "shown_models": datasets.List(datasets.Value("string")),
                "confidence": datasets.Value("float64"),
            }
        )
        found = {}
        for split, rows in self.splits.items():
            part = table.take(pyarrow.array([row for row in rows if row < self.there])).combine_chunks()
            found[split] = datasets.Dataset(
                part.cast(features.arrow_schema), info=datasets.DatasetInfo(features=features)
            )
        return datasets.DatasetDict(found)

    def save(self, what: str) -> None:
        """Write a whole version."""
        rows = self.rows()
        target = self.scratch / f"version-{len(self.versions):03}"
        with self.record.timed(what, unflushed=True):
            if self.way == "save-to-disk":
                rows.save_to_disk(target)
            else:
                target.mkdir(parents=True)
                for split, part in rows.items():
                    (target / "data").mkdir(exist_ok=True)
                    part.to_parquet(target / "data" / f"{split}-00000-of-00001.parquet")
        self.versions.append(target)

    def apply(self, step: dict[str, Any]) -> None:
        """Make a set of changes, in memory."""
        if step["what"] == "added":
            self.there += len(step["rows"])
        for row, label in zip(step["rows"], step["labels"], strict=False):
            self.labels[row] = label

    def open(self, cache: str) -> Any:
        """The last version, ready to be read."""
        if self.way == "save-to-disk":
            return datasets.load_from_disk(self.versions[-1])
        return datasets.load_dataset(str(self.versions[-1]), cache_dir=str(self.scratch / cache))


def main(material: Path, scratch: Path, out: Path, way: str) -> None:
    """Measure."""
    arm = Arm(material, scratch, out, way)
    record = arm.record
    arm.save("first commit")
    before = used(scratch)
    record.add("bytes of the first commit", bytes=before)
    for step in arm.steps:
        arm.apply(step)
        arm.save(f"commit, {step['what']}")
        now = used(scratch)
        record.add(f"bytes of a commit, {step['what']}", bytes=now - before)
        before = now
    record.add("bytes after all", bytes=before)
    with record.timed("checkout, with nothing there"):
        splits = arm.open("cache")
    train = splits["train"]
    if arm.size.kind == "images":
        train = train.cast_column("image", datasets.Image(decode=False))
    draw = random.Random(3)
    places = [draw.randrange(len(train)) for _ in range(arm.size.reads)]
    with record.timed("random read, one by one"):
        for place in places:
            train[place]
    with record.timed("random read, in batches of 100"):
        for start in range(0, len(places), 100):
            train[places[start : start + 100]]
    assert sum(map(len, splits.values())) == arm.there
    assert compute.sum(train.data["label"]).as_py() >= 0
    record.memory()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), sys.argv[4])
