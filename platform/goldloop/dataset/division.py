"""Answers that named a class which was split since, where a file told what each item is now."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from goldloop.dataset.migrations import migrations
from goldloop.errors import RecipeError
from goldloop.records import Annotation

_KEY = re.compile(r"[0-9a-f]{64}")
_COLUMNS = ["key", "class"]


def read_items(path: Path, parts: Sequence[str]) -> dict[str, str]:
    """Content key -> class, from a CSV file with the columns `key` and `class`.

    Args:
        path: of the file.
        parts: the classes that it may say.

    Raises:
        RecipeError: it cannot be read, or a line says something else or contradicts another.
    """
    found: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file)
            if lines.fieldnames is None or not set(_COLUMNS) <= set(lines.fieldnames):
                raise RecipeError(
                    "columns are missing", where=path, found=lines.fieldnames, expected=", ".join(_COLUMNS)
                )
            for line in lines:
                key, name = (line[column] for column in _COLUMNS)
                where = f"{path}, line {lines.line_num}"
                if key is None or not _KEY.fullmatch(key):
                    raise RecipeError(
                        "this is no content key", where=where, found=repr(key), expected="64 digits"
                    )
                if name not in parts:
                    raise RecipeError(
                        "the class is none of the parts",
                        where=where,
                        found=repr(name),
                        expected=", ".join(parts),
                    )
                if found.setdefault(key, name) != name:
                    raise RecipeError("an item is told of twice", where=where, found=f"{found[key]}, {name}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RecipeError("the file cannot be read", where=path, found=str(error)) from error
    return found


def told_apart(folder: Path, acts: Iterable[Annotation]) -> Iterator[Annotation]:
    """Annotations, in which a class that was split is the part of it that the item was said to be.

    Args:
        folder: of the versions, with the record of what was done to classes.
        acts: as annotators gave them.

    Raises:
        VersionError: the record cannot be read.
    """
    splits = [each for each in migrations(folder) if each.items]
    for act in acts:
        results = act.results
        for split in splits:
            if act.key in split.items:
                results = tuple(_named(result, split.names, split.items[act.key]) for result in results)
        yield act if results is act.results else replace(act, results=results)


def _named(result: Mapping[str, Any], old: Sequence[str], new: str) -> Mapping[str, Any]:
    """A region or choice with one class for others: Label Studio has them under the name of its type."""
    kind, value = result.get("type"), result.get("value")
    if not isinstance(value, Mapping) or not isinstance(value.get(kind), list):
        return result
    names = [new if name in old else name for name in value[kind]]
    return {**result, "value": {**value, kind: list(dict.fromkeys(names))}}
