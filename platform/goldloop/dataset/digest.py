"""The digest of a version: the same labels give the same digest on any machine.

SHA-256 over lines of canonical JSON (UTF-8, keys sorted, no blanks, nothing escaped that need not be), each
ended by a line feed:

    {"classes":["cat","dog"],"format":1,"task":"image-classification"}
    {"key":"<sha256>","split":"train","target":{"label":0}}      one per row, in the order of the keys

It depends on content, labels, split and class registry alone: not on who labelled when, on which server, in
which order, under which address.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

FORMAT = 1


def version_digest(
    task: str, classes: Sequence[str], rows: Iterable[tuple[str, str, Mapping[str, Any]]]
) -> str:
    """The digest in hex (64 characters).

    Args:
        task: the task's kind.
        classes: names in id order.
        rows: key, split and target columns of each row, in any order.
    """
    digest = hashlib.sha256()
    digest.update(_line({"format": FORMAT, "task": task, "classes": list(classes)}))
    for key, split, target in sorted(rows, key=lambda row: row[0]):
        digest.update(_row_line(key, split, target))
    return digest.hexdigest()


def row_digest(key: str, split: str, target: Mapping[str, Any]) -> str:
    """SHA-256 in hex of one row's line: tells which row it is when the version's digest does not fit."""
    return hashlib.sha256(_row_line(key, split, target)).hexdigest()


def canonical(value: Any) -> bytes:
    """A JSON value in its one canonical form.

    Raises:
        ValueError: a number is not finite, which JSON cannot say.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def _row_line(key: str, split: str, target: Mapping[str, Any]) -> bytes:
    return _line({"key": key, "split": split, "target": dict(target)})


def _line(value: Any) -> bytes:
    return canonical(value) + b"\n"
