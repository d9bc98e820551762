"""Whether a row's label means something, and whether it fits the content that it is a label of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from goldloop.errors import GoldloopError
from goldloop.records import Item
from goldloop.tasks._images import upright_size
from goldloop.tasks.base import Task


@dataclass(frozen=True, slots=True)
class Judged:
    """What is wrong with a label.

    Attributes:
        meaningless: why its columns are no label of the task; None where they are one.
        misfit: why it is no label of this item (a place outside, another quote); None where it is one.
    """

    meaningless: str | None = None
    misfit: str | None = None


def judge(task: Task[Any], key: str, content: bytes | str, target: Mapping[str, Any]) -> Judged:
    """Judge the label of one row.

    Args:
        task: with the version's class registry.
        key: the item's.
        content: the text, or the bytes of the image's file.
        target: the columns of its label.
    """
    try:
        found = task.from_row(target)
    except (GoldloopError, ValueError, LookupError, TypeError) as error:
        return Judged(meaningless=str(error))
    try:
        return Judged(misfit=task.misfit(found, _item(task, key, content)))
    except GoldloopError as error:
        return Judged(misfit=str(error))


def _item(task: Task[Any], key: str, content: bytes | str) -> Item:
    """As much of the item as its content tells."""
    width, height = (None, None)
    if isinstance(content, bytes) and task.needs_size:
        width, height = upright_size({"bytes": content})
    return Item(
        key=key,
        modality=task.modality,
        uri="",
        group=key,
        source="",
        text=content if isinstance(content, str) else None,
        media_type="",
        width=width,
        height=height,
    )
