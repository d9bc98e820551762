"""One item in a version: found through the ledger, so that it costs the same however large the version is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from goldloop.dataset.ledger import Ledger
from goldloop.dataset.manifest import Manifest
from goldloop.dataset.shards import rows_numbered
from goldloop.dataset.version import Version


def row_of(version: Version, key: str, columns: Sequence[str]) -> dict[str, Any] | None:
    """Some columns of an item's row, with its `split`; None where it has no row.

    Raises:
        VersionError: the version cannot be read.
    """
    manifest = Manifest.load(version.folder)
    line = Ledger([version.folder / part.path for part in manifest.ledger]).find([key]).get(key)
    if line is None or line.split is None or line.number < 0:
        return None
    parts = manifest.shards.get(line.split, ())
    (row,) = rows_numbered(version.folder, parts, [line.number], columns)
    return {**row, "split": line.split}
