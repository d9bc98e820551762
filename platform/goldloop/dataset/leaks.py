"""Near-duplicates among the rows of a version, from its bytes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop.dataset.by_address import content_of_row, media_beside
from goldloop.dataset.manifest import Manifest
from goldloop.dataset.shards import live_rows
from goldloop.errors import VersionError
from goldloop.records import Modality, content_key

if TYPE_CHECKING:
    from goldloop.dataset.placement import Clique
    from goldloop.duplicates.finder import Rule
    from goldloop.duplicates.likeness import Content


def version_cliques(
    folder: Path, modality: Modality, rule: Rule | None, cache: Path | None
) -> Sequence[Clique] | None:
    """Which rows are near-duplicates, by the rule that the version was committed by; None where it had none.

    Args:
        folder: the version's.
        modality: what its rows are.
        rule: what counts as a near-duplicate.
        cache: where contents that were looked at before are remembered.

    Raises:
        VersionError, OSError, ValueError: the version cannot be read.
    """
    from goldloop.duplicates.finder import Finder

    if rule is None:
        return None
    with tempfile.TemporaryDirectory() as aside:
        finder = Finder(Path(aside) if cache is None else cache / "duplicates", modality, rule)
        keys = [row["key"] for row in _rows(folder, ["key"])]
        unknown = set(finder.unknown(keys))
        if unknown:
            contents = _contents(folder, modality, unknown)
            unknown.difference_update(finder.learn(contents))
        # What is left has another content than its key says, and is told of elsewhere.
        return finder.cliques([key for key in keys if key not in unknown])


def _contents(folder: Path, modality: Modality, keys: set[str]) -> Iterator[tuple[str, Content]]:
    media = media_beside(folder)
    for row in _rows(folder, ["key", modality]):
        if row["key"] not in keys:
            continue
        with suppress(VersionError):
            content = content_of_row(row, modality, media)
            if content_key(content.encode() if isinstance(content, str) else content) == row["key"]:
                yield row["key"], content


def _rows(folder: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    for split in Manifest.load(folder).shards:
        yield from live_rows(folder, split, columns)
