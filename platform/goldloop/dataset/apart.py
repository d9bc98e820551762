"""Whether what must be in one split is in one split, and each row where a policy of the version puts it.

What is wrong is told as `(where, problem)`.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from goldloop.dataset.ledger_lines import Line
from goldloop.dataset.manifest import Manifest
from goldloop.dataset.placement import Clique
from goldloop.dataset.policies import Policy
from goldloop.dataset.shards import ROW
from goldloop.dataset.splits import PROTECTED

Found = tuple[str, str]


class Read(Protocol):
    """What matters here of a row that was read."""

    @property
    def where(self) -> str:
        """File and key."""

    @property
    def key(self) -> str:
        """Of its content."""

    @property
    def split(self) -> str:
        """By its file's name."""

    @property
    def group(self) -> str:
        """What it is in one split with."""


def torn_groups(rows: Iterable[Read]) -> Iterator[Found]:
    """Groups that are in several splits."""
    splits: dict[str, set[str]] = {}
    for row in rows:
        splits.setdefault(row.group, set()).add(row.split)
    for group, found in sorted(splits.items()):
        if len(found) > 1:
            yield f"group {group}", f"is in {' and in '.join(sorted(found))}"


def groups_torn_from(
    folder: Path, manifest: Manifest, rows: Iterable[Read], new: Container[str]
) -> Iterator[Found]:
    """Groups of these rows that have rows in another split's shards, which were not read."""
    import pyarrow
    from pyarrow import compute, parquet

    splits = {row.group: row.split for row in rows if row.group != row.key}
    if not splits:
        return
    functions: Any = compute
    dead = pyarrow.array(manifest.dead, pyarrow.int64())
    for split, parts in manifest.shards.items():
        wanted = pyarrow.array([group for group, own in splits.items() if own != split], pyarrow.string())
        for part in parts:
            if part.path in new or not len(wanted):
                continue
            table = parquet.read_table(folder / part.path, columns=["group", ROW])
            table = table.filter(functions.is_in(table["group"], wanted))
            table = table.filter(functions.invert(functions.is_in(table[ROW], dead)))
            for group in functions.unique(table["group"]).to_pylist():
                yield f"group {group}", f"is in {' and in '.join(sorted((split, splits[group])))}"


def moved_rows(
    rows: Iterable[Read], lines: Mapping[str, Line], policies: Sequence[Policy]
) -> Iterator[Found]:
    """Rows that are not where their policy puts them.

    Args:
        rows: as they were read.
        lines: the ledger's, by key; rows without one are told of elsewhere.
        policies: of the version.
    """
    for row in rows:
        line = lines.get(row.key)
        if line is None:
            continue
        group = line.group or row.key
        if group != row.group:
            yield row.where, f"is of the group {row.group}, in the ledger of {group}"
        elif line.policy is None or not 0 <= line.policy < len(policies):
            yield row.where, "was placed by no policy of the version"
        else:
            expected = policies[line.policy].place(group, line.basis)
            if row.split != expected:
                yield row.where, f"belongs to {expected or 'no split'}"


def leaks(cliques: Iterable[Clique], places: Mapping[str, str]) -> Iterator[Found]:
    """Near-duplicates in two splits, both named.

    Args:
        cliques: of near-duplicates.
        places: key -> split, of the rows that matter.
    """
    for clique in cliques:
        held = [key for key in clique if key in places]
        if len({places[key] for key in held}) < 2:
            continue
        first = max(held, key=lambda key: (PROTECTED[places[key]], key))
        for key in held:
            if places[key] != places[first]:
                yield (
                    f"row {key}",
                    f"is in {places[key]}, and a near-duplicate of row {first} in {places[first]}",
                )
