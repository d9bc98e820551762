"""How the splits of a version came about, and what is kept together in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from goldloop.dataset.certificate import figures
from goldloop.dataset.config import Split
from goldloop.dataset.ledger import Ledger
from goldloop.dataset.manifest import Manifest
from goldloop.dataset.placement import WITHHELD
from goldloop.dataset.strata import shares
from goldloop.dataset.version import Version

_WAYS: Mapping[str, str] = {
    "group": "by the group's name",
    "stratified": "stratified by class",
    "temporal": "by time, the newest for testing",
    "predefined": "as the source says",
}


@dataclass(frozen=True, slots=True)
class Grouping:
    """How the rows of a version are split.

    Attributes:
        policy: the kind of policy for new groups.
        frozen: whether the test split takes new groups by an explicit act alone.
        policies: how many policies placed its rows, since the first version.
        duplicates: what counted as a near-duplicate; None: none were looked for.
        groups: how many groups have two rows or more.
        grouped: rows in those.
        largest: rows of the largest.
        withheld: labelled items that are kept out, so that what must be apart is apart.
        off: class -> by how much its share of any split is off the wanted one, at most; in [0, 1].
    """

    policy: str
    frozen: bool
    policies: int
    duplicates: str | None
    groups: int
    grouped: int
    largest: int
    withheld: int
    off: Mapping[str, float]

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    def in_words(self) -> dict[str, str]:
        """For people, a line each."""
        told = {"split": _WAYS.get(self.policy, self.policy) + (", test frozen" if self.frozen else "")}
        if self.policies > 1:
            told["split"] += f"; {self.policies} rules since the first version"
        looked = self.duplicates or "not looked for"
        told["near-duplicates"] = looked + (f", {self.withheld:,} items kept out" if self.withheld else "")
        if self.groups:
            told["groups"] = (
                f"{self.grouped:,} rows in {self.groups:,} groups, the largest of {self.largest:,}"
            )
        if self.off:
            name = max(self.off, key=lambda each: self.off[each])
            told["furthest off"] = f"{name!r}, by {self.off[name]:.1%} of its labels from the wanted shares"
        return told


def grouping_of(version: Version) -> Grouping:
    """How a version is split; what must be told of each row is read from its ledger.

    Raises:
        VersionError: the version cannot be read.
    """
    split = Split.model_validate(version.split)
    sizes = _sizes(version)
    books = figures(version.folder).get("ledger", {}).get("commit", {})
    return Grouping(
        policy=split.policy.kind,
        frozen=split.frozen,
        policies=len(version.policies),
        duplicates=version.duplicates,
        groups=len(sizes),
        grouped=sum(sizes.values()),
        largest=max(sizes.values(), default=0),
        withheld=int(books.get(WITHHELD, 0)),
        off={name: worst for name, _, worst in shares(version.class_counts, split)},
    )


def _sizes(version: Version) -> dict[str, int]:
    """Group -> its rows, of those that have two or more."""
    from pyarrow import compute

    functions: Any = compute
    ledger = Ledger([version.folder / part.path for part in Manifest.load(version.folder).ledger])
    table = ledger.table()
    named = table.filter(
        functions.and_(functions.greater_equal(table["number"], 0), functions.is_valid(table["group"]))
    )
    counts = Counter(named["group"].to_pylist())
    # The item that gave a group its name is in it, and says nothing of a group itself.
    own = ledger.find(name for name in counts if len(name) == 64 and set(name) <= set("0123456789abcdef"))
    counts.update(key for key, line in own.items() if line.number >= 0 and line.group is None)
    return {name: count for name, count in counts.items() if count > 1}
