"""goldloop: `write` for the first commit, `amend` for each set of changes, as `goldloop commit` uses them.

    with_goldloop.py MATERIAL SCRATCH OUT

Timed from labels in memory to a version that is certified, on the disk (flushed) and listed. What a version
has beside the rows (a ledger line and two annotators' answers for each item, a certificate, a card) is
written too.
"""

from __future__ import annotations

import random
import shutil
import sys
from pathlib import Path
from typing import Any

from clock import Record, used
from material import CLASSES, load

from goldloop.dataset.amendment import amend
from goldloop.dataset.certificate import verify
from goldloop.dataset.config import DatasetConfig
from goldloop.dataset.version import Version
from goldloop.dataset.whole import write
from goldloop.media import MediaStore
from goldloop.records import Item, Label, Outcome
from goldloop.tasks import tasks

ANNOTATORS = ("annotator-1", "annotator-2")


class Arm:
    """All that there is to commit."""

    def __init__(self, material: Path, scratch: Path, out: Path) -> None:
        table, self.size, self.steps = load(material)
        self.record = Record(out, "goldloop", self.size.kind)
        self.root, self.media = scratch / "versions", MediaStore(scratch / "media" / "items")
        is_image = self.size.kind == "images"
        kind = "image-classification" if is_image else "text-classification"
        self.task = tasks.create({"kind": kind, "classes": list(CLASSES)})
        self.items = [self._item(row, is_image) for batch in table.to_batches() for row in batch.to_pylist()]
        self.labels = [CLASSES[label] for label in table["label"].to_pylist()]
        self.there = list(range(self.size.rows))

    def _item(self, row: dict[str, Any], is_image: bool) -> Item:
        item = Item(
            key=row["key"],
            modality="image" if is_image else "text",
            uri=row["uri"],
            group=row["key"],
            source="0:files",
            text=None if is_image else row["text"],
            media_type="image/png" if is_image else "text/plain",
        )
        if is_image:
            # Not timed: images are in the workspace since they were pulled.
            path = self.media.path(item)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(row["image"])
        return item

    def label(self, row: int) -> Label[str]:
        """What two annotators say of a row."""
        return Label(
            key=self.items[row].key,
            target=self.labels[row],
            annotators=ANNOTATORS,
            agreement=1.0,
            provenance="human",
        )

    def told(self, rows: list[int]) -> dict[str, Any]:
        """Labels, items and answers of some rows."""
        return {
            "labels": [self.label(row) for row in rows],
            "items": {self.items[row].key: self.items[row] for row in rows},
            "answers": {self.items[row].key: dict.fromkeys(ANNOTATORS, self.labels[row]) for row in rows},
        }

    def common(self) -> dict[str, Any]:
        """What every commit is given."""
        return {
            "root": self.root,
            "name": "bench",
            "task": self.task,
            "media": self.media,
            "config": DatasetConfig(),
            "recipe_digest": "0" * 64,
        }

    def write(self) -> Version:
        """Commit everything."""
        told = self.told(self.there)
        outcomes = [Outcome(subject=key, outcome="labelled") for key in told["items"]]
        return write(**self.common(), **told, outcomes=outcomes, balances={})

    def amend(self, step: dict[str, Any]) -> Version:
        """Commit a set of changes."""
        if step["what"] == "added":
            self.there += step["rows"]
        for row, label in zip(step["rows"], step["labels"], strict=False):
            self.labels[row] = CLASSES[label]
        version = amend(**self.common(), **self.told(step["rows"])).version
        assert version is not None
        return version


def main(material: Path, scratch: Path, out: Path) -> None:
    """Measure."""
    arm = Arm(material, scratch, out)
    record, size = arm.record, arm.size
    _warm(arm)
    with record.timed("first commit"), record.timed("first commit, flushed"):
        version = arm.write()
    before = used(arm.root)
    record.add("bytes of the first commit", bytes=before)
    cache = scratch / "cache" / "arrow"
    with record.timed("checkout, the first"):
        _open(version)
    for step in arm.steps:
        what = f"commit, {step['what']}"
        with record.timed(what), record.timed(f"{what}, flushed"):
            version = arm.amend(step)
        now = used(arm.root)
        record.add(f"bytes of a commit, {step['what']}", bytes=now - before)
        before = now
    record.add("bytes after all", bytes=before)
    with record.timed("checkout, after one that is there"):
        splits = _open(version)
    shutil.rmtree(cache)
    with record.timed("checkout, with nothing there"):
        splits = _open(version)
    _read(splits["train"], size.reads, record)
    with record.timed("verify"):
        faults = verify(version.folder)
    assert not faults, faults[:3]
    rows = sorted(random.Random(5).sample(range(size.rows), max(1, size.rows // 1000)))
    with record.timed("commit, 0.1% changed"):
        version = arm.amend(
            {
                "what": "changed",
                "rows": rows,
                "labels": [(CLASSES.index(arm.labels[row]) + 1) % 10 for row in rows],
            }
        )
    record.add("bytes of a commit, 0.1% changed", bytes=used(arm.root) - before)
    for row in random.Random(6).sample(range(size.rows), size.changed):
        arm.labels[row] = CLASSES[(CLASSES.index(arm.labels[row]) + 1) % 10]
    with record.timed("commit, changed, by comparing everything"):
        version = arm.write()
    assert sum(version.counts.values()) == len(arm.there)
    record.memory()


def _warm(arm: Arm) -> None:
    """Have everything imported: a small version of another name."""
    few = Arm.__new__(Arm)
    for name in ("record", "media", "task", "items", "labels", "size", "steps"):
        setattr(few, name, getattr(arm, name))
    few.root, few.there = arm.root.with_name("warm"), list(range(50))
    few.labels = list(arm.labels)
    few.write()
    few.amend({"what": "changed", "rows": [0, 1], "labels": [3, 4]})
    shutil.rmtree(few.root)


def _open(version: Version) -> dict[str, Any]:
    return {split: version.dataset(split) for split in version.counts}


def _read(rows: Any, count: int, record: Record) -> None:
    draw = random.Random(3)
    places = [draw.randrange(len(rows)) for _ in range(count)]
    with record.timed("random read, one by one"):
        for place in places:
            rows[place]
    with record.timed("random read, in batches of 100"):
        for start in range(0, count, 100):
            rows[places[start : start + 100]]
    record.add("rows read", rows=count)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
