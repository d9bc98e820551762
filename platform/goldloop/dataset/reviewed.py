"""What came of items that were sent back to annotators: a file of the version beside its labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from goldloop.dataset.digest import canonical
from goldloop.durable import flush
from goldloop.records import Reviewed

REVIEWED = "goldloop/reviewed.parquet"


def write_reviewed(path: Path, reviewed: Sequence[Reviewed]) -> None:
    """A line per item that was sent back: why, what came of it, and its label before and after."""
    import pyarrow
    from pyarrow import parquet

    lines = [
        {
            "key": each.key,
            "reason": each.reason,
            "outcome": each.outcome,
            "before": canonical(each.before).decode(),
            "after": None if each.outcome == "disputed" else canonical(each.after).decode(),
            "reviewers": list(each.reviewers),
        }
        for each in sorted(reviewed, key=lambda each: each.key)
    ]
    texts = ("key", "reason", "outcome", "before", "after")
    fields = [(name, pyarrow.string()) for name in texts]
    schema = pyarrow.schema([*fields, ("reviewers", pyarrow.list_(pyarrow.string()))])
    parquet.write_table(pyarrow.Table.from_pylist(lines, schema=schema), path, compression="zstd")
    flush(path)


def has_reviewed(path: Path, key: str) -> bool:
    """Whether a version's file of reviews, which need not be there, tells of an item."""
    from pyarrow import parquet

    return path.exists() and key in parquet.read_table(path, columns=["key"])["key"].to_pylist()


def reviewed_without(path: Path, source: Path, key: str) -> None:
    """Write a file of reviews anew without an item.

    Args:
        path: of the new file.
        source: the file.
        key: the item's.
    """
    from pyarrow import parquet

    table = parquet.read_table(source)
    kept = [place for place, each in enumerate(table["key"].to_pylist()) if each != key]
    parquet.write_table(table.take(kept), path, compression="zstd")


def reviewed_outcomes(path: Path) -> Counter[str]:
    """How many items came back with which outcome."""
    from pyarrow import parquet

    return Counter(
        parquet.read_table(path, columns=["outcome"])["outcome"].to_pylist() if path.exists() else ()
    )
