"""What each annotator said of each item: a chain of Parquet files of which the last word on an item counts.

A line is one answer: key, annotator, and the answer in canonical JSON with class names. An item that nobody
answers for any more has one line without annotator.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop.dataset.digest import canonical
from goldloop.dataset.manifest import Manifest

if TYPE_CHECKING:
    import pyarrow


def read_answers(folder: Path) -> Iterator[dict[str, str]]:
    """Every answer of a version as `key`, `annotator`, `answer`, in the order of keys and annotators.

    Raises:
        VersionError: the version cannot be read.
        OSError, ValueError: one of its files cannot be read.
    """
    from pyarrow import parquet

    paths = [folder / part.path for part in Manifest.load(folder).answers]
    table = last_answers([parquet.read_table(path) for path in paths])
    for batch in table.to_batches(max_chunksize=10_000):
        yield from batch.to_pylist()


def last_answers(tables: Sequence[pyarrow.Table], *, whole: bool = True) -> pyarrow.Table:
    """The last answers to each item, by key and annotator.

    Args:
        tables: oldest first.
        whole: nothing is before them, so that items without an answer can be left out.
    """
    import pyarrow
    from pyarrow import compute

    functions: Any = compute
    if not tables:
        return _schema().empty_table()
    seen: set[str] = set()
    kept = []
    for table in reversed(tables):
        keys = table["key"].to_pylist()
        kept.append(table.filter(pyarrow.array([key not in seen for key in keys], pyarrow.bool_())))
        seen.update(keys)
    found = pyarrow.concat_tables(kept).sort_by([("key", "ascending"), ("annotator", "ascending")])
    return found.filter(functions.is_valid(found["annotator"])) if whole else found


def write_answers(path: Path, answers: Mapping[str, Mapping[str, Any]]) -> int:
    """Write answers as one file; returns how many lines that makes.

    Args:
        path: of the file.
        answers: key -> annotator -> target; of an item that has no answer any more, nothing.
    """
    import pyarrow

    lines = [
        {"key": key, "annotator": annotator, "answer": answer}
        for key, given in sorted(answers.items())
        for annotator, answer in _said(given)
    ]
    _write(path, pyarrow.Table.from_pylist(lines, schema=_schema()))
    return len(lines)


def merge_answers(path: Path, paths: Sequence[Path], *, whole: bool) -> int:
    """Write the last answers of some files that follow each other as one; returns the number of lines."""
    from pyarrow import parquet

    table = last_answers([parquet.read_table(each) for each in paths], whole=whole)
    _write(path, table)
    return len(table)


def has_answers(path: Path, key: str) -> bool:
    """Whether a file has an answer about an item."""
    from pyarrow import compute, parquet

    functions: Any = compute
    return bool(functions.any(functions.equal(parquet.read_table(path, columns=["key"])["key"], key)).as_py())


def answers_without(path: Path, source: Path, key: str) -> int:
    """Write a file anew without the answers about an item; returns the number of lines left.

    Args:
        path: of the new file.
        source: the file.
        key: the item's.
    """
    from pyarrow import compute, parquet

    functions: Any = compute
    table = parquet.read_table(source)
    table = table.filter(functions.not_equal(table["key"], key))
    _write(path, table)
    return len(table)


def _write(path: Path, table: pyarrow.Table) -> None:
    from pyarrow import parquet

    parquet.write_table(table, path, compression="zstd")


def _said(given: Mapping[str, Any]) -> list[tuple[str | None, str | None]]:
    if not given:
        return [(None, None)]
    return [(annotator, canonical(target).decode()) for annotator, target in sorted(given.items())]


def _schema() -> pyarrow.Schema:
    import pyarrow

    return pyarrow.schema([(name, pyarrow.string()) for name in ("key", "annotator", "answer")])
