"""What the last commit settled, and from what: so that the next need settle only what is new since.

A file of the cache for each name, an Arrow file sorted by key; without it a commit settles everything.

    key     SHA-256 of the content (32 bytes)
    mark    64 bits of all that was known of the item when it was settled
    alike   how far its annotators agree, in [0, 1]; null where fewer than two have answered
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from math import fsum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop.durable import flush

if TYPE_CHECKING:
    import pyarrow

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Settled:
    """How things stood when a version was made.

    Attributes:
        version: its digest.
        settings: a digest of all else that it came of: the recipe, the code.
        since: how many items have been settled anew since all of them were, in this version included.
        marks: key -> mark, of every item that it considers.
        alike: key -> how far its annotators agree, of items that two have answered or more.
    """

    version: str
    settings: str
    since: int
    marks: Mapping[str, int]
    alike: Mapping[str, float]

    def changed(self, marks: Mapping[str, int]) -> set[str]:
        """Keys of items that are new, or of which anything is."""
        known = self.marks
        return {key for key, mark in marks.items() if known.get(key) != mark}

    def after(
        self, marks: Mapping[str, int], settled: Collection[str], alike: Mapping[str, float]
    ) -> Settled:
        """How things stand once some items are settled anew, and others are gone; of this same version.

        Args:
            marks: of all items.
            settled: keys of those that were settled.
            alike: of those, how far their annotators agree.
        """
        kept = {key: value for key, value in self.alike.items() if key in marks and key not in settled}
        changed = len(self.changed(marks)) + len(self.marks.keys() - marks.keys())
        return replace(self, since=self.since + changed, marks=marks, alike={**kept, **alike})

    def mean(self) -> tuple[float | None, int]:
        """The mean of how far annotators agree on items, and over how many that is."""
        if not self.alike:
            return None, 0
        return fsum(self.alike.values()) / len(self.alike), len(self.alike)

    @classmethod
    def load(cls, path: Path) -> Settled | None:
        """What a file says; None where there is none, or none that can be read."""
        import pyarrow

        try:
            with pyarrow.memory_map(str(path)) as source:
                table = pyarrow.ipc.open_file(source).read_all()
                told = json.loads(table.schema.metadata[b"settled"])
                if told.pop("format") != _FORMAT:
                    return None
                keys = [key.hex() for key in table["key"].to_pylist()]
                alike = zip(keys, table["alike"].to_pylist(), strict=True)
                return cls(
                    **told,
                    marks=dict(zip(keys, table["mark"].to_pylist(), strict=True)),
                    alike={key: value for key, value in alike if value is not None},
                )
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return None

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        import pyarrow

        keys = sorted(self.marks)
        told = {name: getattr(self, name) for name in ("version", "settings", "since")} | {"format": _FORMAT}
        columns: dict[str, list[Any]] = {
            "key": [bytes.fromhex(key) for key in keys],
            "mark": [self.marks[key] for key in keys],
            "alike": [self.alike.get(key) for key in keys],
        }
        schema = _schema().with_metadata({"settled": json.dumps(told)})
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}")
        try:
            with pyarrow.OSFile(str(aside), "wb") as sink, pyarrow.ipc.new_file(sink, schema) as writer:
                writer.write_table(pyarrow.table(columns, schema=schema))
            flush(aside)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)


def _schema() -> pyarrow.Schema:
    import pyarrow

    return pyarrow.schema({"key": pyarrow.binary(32), "mark": pyarrow.uint64(), "alike": pyarrow.float64()})
