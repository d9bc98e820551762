"""What a commit builds on: the commits of a name so far, and the version that new files are added to."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from goldloop.dataset import history
from goldloop.dataset.certificate import DESCRIPTION, held_by
from goldloop.dataset.ledger import Ledger
from goldloop.dataset.ledger_lines import Line
from goldloop.dataset.manifest import Manifest
from goldloop.dataset.shards import ROW, rows_numbered, schema_of, target_columns
from goldloop.dataset.tally import Tally
from goldloop.errors import VersionError
from goldloop.records import Label
from goldloop.tasks.base import Task

NAME_LENGTH = 16
"""Digits of its digest that a version's folder is named by."""


@dataclass(frozen=True, slots=True)
class Ground:
    """A version to build on: whole, as far as its files' names and sizes and its certificate's seal tell.

    Attributes:
        folder: its own.
        manifest: its files.
        ledger: its items.
        certificate, description: what they say.
    """

    folder: Path
    manifest: Manifest
    ledger: Ledger
    certificate: Mapping[str, Any]
    description: Mapping[str, Any]

    @classmethod
    def at(cls, folder: Path) -> Ground | None:
        """The version in a folder; None if nothing can be built on it."""
        certificate = held_by(folder)
        if certificate is None:
            return None
        try:
            manifest = Manifest.load(folder)
            ledger = Ledger([folder / part.path for part in manifest.ledger])
            description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        except (VersionError, OSError, ValueError, KeyError):
            return None
        return cls(folder, manifest, ledger, certificate, description)

    def suits(self, task: Task[Any]) -> bool:
        """Whether rows of this task have the columns that its files have."""
        from pyarrow import parquet

        if self.description["task"]["kind"] != task.config.kind:
            return False
        shards = [part for parts in self.manifest.shards.values() for part in parts]
        if not shards:
            return False
        smallest = min(shards, key=lambda part: part.bytes)
        return bool(parquet.read_schema(self.folder / smallest.path).equals(schema_of(task)))

    def labels(self, task: Task[Any], lines: Iterable[Line]) -> list[tuple[str, Label[Any]]]:
        """Split and label of the rows that these lines are about, as far as a tally needs them."""
        asked = {line.number: line for line in lines if line.split is not None}
        # Not the key, of which a row group has far more bytes than of all these.
        columns = ["provenance", "annotators", "agreement", "shown_models", *target_columns(task)]
        shards = [part for parts in self.manifest.shards.values() for part in parts]
        found = []
        for row in rows_numbered(self.folder, shards, asked, columns):
            label = Label(
                key=asked[row[ROW]].key,
                target=task.from_row(row),
                annotators=tuple(row["annotators"]),
                agreement=row["agreement"],
                provenance=row["provenance"],
                shown_models=tuple(row["shown_models"]),
            )
            found.append((str(asked[row[ROW]].split), label))
        return found

    def tally(self, task: Task[Any]) -> Tally:
        """What its rows and items add up to, classes by the names that they have now."""
        names = dict(zip(self.description["classes"], task.classes, strict=False))
        classes = {
            (split, names[name]): count
            for split, counts in self.description["class_counts"].items()
            for name, count in counts.items()
        }
        told = self.certificate
        return Tally(
            splits=+Counter(self.description["counts"]),
            classes=+Counter(classes),
            annotators=Counter(told["annotators"]),
            provenance=Counter(told["provenance"]),
            shown_models=Counter(told["shown_models"]),
            outcomes=Counter(told["ledger"]["commit"]),
        )


@dataclass(frozen=True, slots=True)
class Past:
    """The commits of one name.

    Attributes:
        folder: of all its versions.
        commits: oldest first.
        ground: the newest version, if it is there and can be built on.
        known: those, newest first, that say all that was ever fixed: that one, and where a version came back
            that had been before, those that came in between; or the newest that can be read.
    """

    folder: Path
    commits: tuple[history.Commit, ...]
    ground: Ground | None
    known: tuple[Ground, ...]

    @classmethod
    def of(cls, folder: Path) -> Past:
        """What has been committed so far.

        Raises:
            VersionError: the log cannot be read.
        """
        known = history.commits(folder)
        newest = list(dict.fromkeys(commit.digest for commit in reversed(known)))
        grounds = (Ground.at(folder / digest[:NAME_LENGTH]) for digest in newest)
        ground = next(grounds, None)
        if ground is None:
            return cls(folder, tuple(known), None, tuple(islice((each for each in grounds if each), 1)))
        first = next(place for place, commit in enumerate(known) if commit.digest == newest[0])
        between = len({commit.digest for commit in known[first:]}) - 1
        others = (each for each in islice(grounds, between) if each)
        return cls(folder, tuple(known), ground, (ground, *others))

    @property
    def classes(self) -> tuple[str, ...]:
        """The class registry as the last commit left it."""
        return self.commits[-1].classes if self.commits else ()
