"""DVC, by its own Python interface in one process, so that no start of a command is timed.

    with_dvc.py MATERIAL SCRATCH OUT

Laid out as suits it best: contents lie apart from labels, so that a changed label rewrites `labels.csv`
alone, and added items are new files in a folder; `dvc add` is asked for nothing else. The cache is linked,
not copied. No git commit is timed. Timed from labels in memory, as for the others.
"""

from __future__ import annotations

import csv
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from clock import Record, used
from dvc.repo import Repo
from material import load

COLUMNS = ("key", "label", "group", "uri", "provenance", "annotators", "agreement", "shown_models")
_ROWS_OF_A_FILE = 100_000


class Arm:
    """A repository of DVC without git."""

    def __init__(self, material: Path, scratch: Path, out: Path) -> None:
        table, self.size, self.steps = load(material)
        self.record = Record(out, "DVC", self.size.kind)
        self.folder = scratch / "repository"
        self.folder.mkdir(parents=True)
        os.chdir(self.folder)
        self.repo = Repo.init(".", no_scm=True)
        with self.repo.config.edit() as config:
            config["cache"]["type"] = ["reflink", "hardlink", "copy"]
        self.repo.close()
        self.repo = Repo(".")
        self.rows = table.to_pydict()
        self.labels = list(self.rows["label"])
        self.there = 0

    def put(self, count: int) -> None:
        """Write the contents of the next rows."""
        content = self.rows.get("image") or self.rows["text"]
        start, self.there = self.there, self.there + count
        folder = self.folder / "contents"
        folder.mkdir(exist_ok=True)
        if self.size.kind == "images":
            for row in range(start, self.there):
                (folder / f"{self.rows['key'][row]}.png").write_bytes(content[row])
            return
        for first in range(start, self.there, _ROWS_OF_A_FILE):
            with (folder / f"{first:07}.csv").open("w", newline="") as file:
                last = min(first + _ROWS_OF_A_FILE, self.there)
                csv.writer(file).writerows(
                    zip(self.rows["key"][first:last], content[first:last], strict=True)
                )

    def put_labels(self) -> None:
        """Write all labels; a file that is linked gives way."""
        count = self.there
        keys, uris = self.rows["key"][:count], self.rows["uri"][:count]
        same = [["human"] * count, ["annotator-1 annotator-2"] * count, [1.0] * count, [""] * count]
        aside = self.folder / "labels.csv.new"
        with aside.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(zip(keys, self.labels[:count], keys, uris, *same, strict=True))
        aside.replace(self.folder / "labels.csv")

    def commit(self, what: str, step: dict[str, Any] | None = None) -> None:
        """Write what changed, and add it."""
        with self.record.timed(what, unflushed=True):
            if step is None:
                self.put(self.size.rows)
            elif step["what"] == "added":
                self.put(len(step["rows"]))
            else:
                for row, label in zip(step["rows"], step["labels"], strict=True):
                    self.labels[row] = label
            self.put_labels()
            targets = (
                ["labels.csv"]
                if step is not None and step["what"] == "changed"
                else ["contents", "labels.csv"]
            )
            self.repo.add(targets)


def main(material: Path, scratch: Path, out: Path) -> None:
    """Measure."""
    arm = Arm(material, scratch, out)
    record, cache = arm.record, arm.folder / ".dvc" / "cache"
    arm.commit("first commit")
    before = used(cache)
    record.add("bytes of the first commit", bytes=before)
    for step in arm.steps:
        arm.commit(f"commit, {step['what']}", step)
        now = used(cache)
        record.add(f"bytes of a commit, {step['what']}", bytes=now - before)
        before = now
    record.add("bytes after all", bytes=before)
    shutil.rmtree("contents")
    Path("labels.csv").unlink()
    with record.timed("checkout, with nothing there"):
        arm.repo.checkout()
    assert Path("labels.csv").exists()
    with record.timed("verify"):
        changed = arm.repo.status()
    assert not changed, changed
    record.memory()


if __name__ == "__main__":
    main(*(Path(argument).absolute() for argument in sys.argv[1:]))
