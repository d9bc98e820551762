"""Which files a version is made of, oldest first: it shares most of them with the version before.

    {"format": 2, "next": 1204,
     "shards":  {"train": [{"path": "data/train-00000-of-00002.parquet", "sha256": ..., "bytes": ...,
                            "rows": 900, "first": 0, "last": 899}, ...], ...},
     "ledger":  [{"path": "goldloop/ledger-00000.arrow", ...}, ...],
     "answers": [...],
     "dead": [17, 902]}

Every row of every shard has a number, which it keeps in all versions. `dead` are the numbers of rows that are
still in a shard but not in the version: newer rows stand for them, or none. The card tells `datasets` to
leave them out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from goldloop.errors import VersionError

MANIFEST = "goldloop/manifest.json"
FORMAT = 2
"""Of a version's folder. The first one was rewritten whole by every commit."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file that never changes.

    Attributes:
        path: within the version's folder; another version may have it under another name.
        sha256: of its bytes, in hex.
        bytes: its size.
        rows: how many it has, dead ones included; of the ledger and the answers, lines.
        first, last: the lowest and the highest number of its rows, which ascend; of shards alone.
        outside: how many rows have the address of their image, not its bytes (see `by_address.py`).
    """

    path: str
    sha256: str
    bytes: int
    rows: int
    first: int = 0
    last: int = -1
    outside: int = 0

    @property
    def is_gapless(self) -> bool:
        """Whether it has every number from its first to its last."""
        return self.last - self.first + 1 == self.rows


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of one version.

    Attributes:
        shards: split -> its Parquet files; a split without rows has none.
        ledger, answers: chains of which the last word on an item counts.
        dead: numbers of rows to leave out, ascending.
        next: the number that the next row gets.
    """

    shards: Mapping[str, tuple[Part, ...]] = field(default_factory=dict)
    ledger: tuple[Part, ...] = ()
    answers: tuple[Part, ...] = ()
    dead: tuple[int, ...] = ()
    next: int = 0

    def parts(self) -> Iterator[Part]:
        """All of them."""
        for shards in self.shards.values():
            yield from shards
        yield from self.ledger
        yield from self.answers

    @property
    def outside(self) -> int:
        """How many rows have the address of their image, not its bytes; dead ones among them."""
        return sum(part.outside for part in self.parts())

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """The manifest of a version's folder.

        Raises:
            VersionError: it is missing, broken, or of another format.
        """
        path = folder / MANIFEST
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            if fields.pop("format") != FORMAT:
                raise ValueError(f"it has another format than {FORMAT}")
            return cls(
                shards={split: _parts(parts) for split, parts in fields["shards"].items()},
                ledger=_parts(fields["ledger"]),
                answers=_parts(fields["answers"]),
                dead=tuple(fields["dead"]),
                next=fields["next"],
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise VersionError(
                "the list of a version's files cannot be read",
                where=path,
                found=str(error) or type(error).__name__,
                remedy="Bring the folder back from a copy, or commit the same labels again",
            ) from error

    def save(self, folder: Path) -> None:
        """Write it into a version's folder."""
        # One by one: `asdict` would copy each number of the dead.
        fields = {
            "shards": {split: [asdict(part) for part in parts] for split, parts in self.shards.items()},
            "ledger": [asdict(part) for part in self.ledger],
            "answers": [asdict(part) for part in self.answers],
            "dead": self.dead,
            "next": self.next,
            "format": FORMAT,
        }
        (folder / MANIFEST).write_text(json.dumps(fields, separators=(",", ":")) + "\n", encoding="utf-8")


def _parts(fields: list[dict[str, Any]]) -> tuple[Part, ...]:
    return tuple(Part(**each) for each in fields)
