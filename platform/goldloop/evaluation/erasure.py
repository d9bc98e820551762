"""Reports without one item: what is told of it goes, with its picture or text; the figures stay."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from goldloop.evaluation.gates.base import Verdict
from goldloop.evaluation.report import REPORT_FILE, Content, Report, verdicts_in


def reports_with(root: Path, key: str) -> Iterator[Path]:
    """The folders of reports that tell of an item, as they stand under a folder.

    Raises:
        ModelError: a report cannot be read.
    """
    for path in sorted(root.rglob(REPORT_FILE)):
        report = Report.load(path.parent)
        if key in report.left_out or any(item.key == key for item in report.items) or _is_named(path, key):
            yield path.parent


def rewrite_without(folder: Path, key: str, content: Content | None = None) -> None:
    """Write a report anew without an item; what a killed process left beside it goes too.

    Args:
        folder: the report's.
        key: of the item.
        content: gives the page texts and pictures of the other items.
    """
    for left in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(left, ignore_errors=True)
    verdicts = [_without(verdict, key) for verdict in verdicts_in(folder)]
    Report.load(folder).without(key).save(folder, verdicts, content)


def _without(verdict: Verdict, key: str) -> Verdict:
    return verdict.model_copy(update={"examples": tuple(each for each in verdict.examples if each != key)})


def _is_named(path: Path, key: str) -> bool:
    """Whether a page or a verdict beside a report names an item, as one that was killed over it leaves it."""
    return any(key.encode() in other.read_bytes() for other in path.parent.iterdir() if other.is_file())
