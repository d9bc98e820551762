"""What came of items that were sent back to annotators: a file of the version beside its labels."""

from __future__ import annotations

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
