"""A version's rows for training and evaluation: mapped into memory from Arrow files (see `arrow_files.py`).

Rows come in the order of their keys, however they lie in files.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop.dataset.arrow_files import is_soon_ordered, ordered_file, put_in_order, shard_file
from goldloop.dataset.by_address import content_of_row, media_beside
from goldloop.dataset.ledger import Ledger
from goldloop.dataset.manifest import Manifest, Part
from goldloop.dataset.shards import ROW, features_of, live_rows, numbers_of, rows_numbered
from goldloop.tasks.base import Task

if TYPE_CHECKING:
    import datasets
    from numpy.typing import NDArray

_LONGEST = 8


def open_split(folder: Path, task: Task[Any], split: str, cache: Path) -> datasets.Dataset:
    """The rows of a version's split, in the order of their keys; images as the bytes of their files.

    Args:
        folder: the version's.
        task: with the version's class registry.
        split: which; one that the version has not is empty.
        cache: where the Arrow files are kept.

    Raises:
        VersionError: the version cannot be read; or an image that lies outside is missing or was changed.
    """
    import datasets

    features = _undecoded(task)
    manifest = Manifest.load(folder)
    parts = manifest.shards.get(split, ())
    if not parts:
        return datasets.Dataset.from_dict({column: [] for column in features}, features=features)
    ordered = ordered_file(manifest, split, cache)
    if ordered is not None:
        return _mapped([ordered], features, None)
    places = _places(folder, manifest, parts, split)
    if any(part.outside for part in parts) or (places is not None and is_soon_ordered(folder, parts)):
        every = range(sum(part.rows for part in parts)) if places is None else places
        return _mapped([put_in_order(folder, manifest, split, features, every, cache)], features, None)
    files = [shard_file(folder / part.path, part, features, cache) for part in parts]
    return _mapped(files, features, places)


def _mapped(files: Sequence[Path], features: datasets.Features, places: NDArray[Any] | None) -> Any:
    """Rows of Arrow files, all of them as they lie or those at some places."""
    import datasets
    from datasets.table import MemoryMappedTable, concat_tables

    from goldloop.dataset.ordered_table import MOST_RUNS, OrderedTable, begins_run

    info = datasets.DatasetInfo(features=features)
    if places is not None and begins_run(places).sum() <= MOST_RUNS:
        return datasets.Dataset(OrderedTable(files, features.arrow_schema, places), info=info)
    table = concat_tables([MemoryMappedTable.from_file(str(file)) for file in files])
    rows = datasets.Dataset(table.cast(features.arrow_schema), info=info)
    return rows if places is None else rows.select(places)


def _undecoded(task: Task[Any]) -> datasets.Features:
    """All columns of a version, images as the bytes of their files."""
    import datasets

    features = features_of(task)
    for column, feature in features.items():
        if isinstance(feature, datasets.Image):
            features[column] = datasets.Image(decode=False)
    return features


def sample_of(folder: Path, task: Task[Any], split: str, count: int) -> datasets.Dataset:
    """Some rows of a split, the longest texts among them; nothing is written.

    The first rows are as good as drawn by lot: they are in the order of their keys, which are digests.
    """
    import datasets

    features = _undecoded(task)
    if task.modality == "text":
        chosen = _with_longest(folder, split, count, list(features))
    else:
        chosen = list(islice(live_rows(folder, split), count))
        media = media_beside(folder)
        for row in chosen:
            row["image"] = {"bytes": content_of_row(row, "image", media), "path": None}
    columns = {name: [row[name] for row in chosen] for name in features}
    return datasets.Dataset.from_dict(columns, features=features)


def content_of(folder: Path, modality: str, number: int) -> bytes | str | None:
    """The image or text of the row of a version that has a number; None if none has it.

    Raises:
        VersionError: the image lies outside, and is missing or was changed.
    """
    parts = [part for parts in Manifest.load(folder).shards.values() for part in parts]
    found = rows_numbered(folder, parts, [number], ["key", modality])
    return content_of_row(found[0], modality, media_beside(folder)) if found else None


def _places(folder: Path, manifest: Manifest, parts: Sequence[Part], split: str) -> NDArray[Any] | None:
    """Places of the rows among those of all shards, in the order of their keys; None: as they lie."""
    import numpy
    from pyarrow import compute

    functions: Any = compute
    lines = Ledger([folder / part.path for part in manifest.ledger]).table()
    wanted = lines.filter(functions.equal(lines["split"], split))["number"].to_numpy()
    numbers = numpy.concatenate([numpy.asarray(numbers_of(folder / part.path, part)) for part in parts])
    places: NDArray[Any] = numpy.searchsorted(numbers, wanted)
    if len(places) == len(numbers) and (places == numpy.arange(len(places))).all():
        return None
    return places


def _with_longest(folder: Path, split: str, count: int, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The longest texts, and the first ones."""
    import numpy
    import pyarrow
    from pyarrow import compute, parquet

    functions: Any = compute
    manifest = Manifest.load(folder)
    parts = manifest.shards.get(split, ())
    if not parts:
        return []
    table = pyarrow.concat_tables(
        parquet.read_table(folder / part.path, columns=["text", ROW]) for part in parts
    )
    table = table.filter(
        functions.invert(functions.is_in(table[ROW], pyarrow.array(manifest.dead, pyarrow.int64())))
    )
    lengths, numbers = functions.utf8_length(table["text"]).to_numpy(), table[ROW].to_numpy()
    longest = numbers[numpy.argsort(-lengths, kind="stable")[: min(count, _LONGEST)]]
    others = numbers[~numpy.isin(numbers, longest)][: count - len(longest)]
    return rows_numbered(folder, parts, sorted([*longest.tolist(), *others.tolist()]), columns)
