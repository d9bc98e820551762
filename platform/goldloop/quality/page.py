"""Doubtful labels, and all findings, as pages: the items themselves, and what is to be said of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from goldloop.errors import GoldloopError
from goldloop.pages import template
from goldloop.pages.pictures import jpeg_uri, small_copy
from goldloop.quality.findings import Findings
from goldloop.quality.suspects import Suspects
from goldloop.tasks.base import Task

_HERE = Path(__file__).parent
_MOST = 120
_LONGEST_TEXT = 600
_DRAWING = 320
_THUMBNAIL = 176

Content = Callable[[str], bytes | str | None]
"""Content key -> an image's bytes or a text; None where it is not at hand."""


@dataclass(frozen=True, slots=True)
class Card:
    """An item as a page shows it.

    Attributes:
        key: the item's.
        title: a few words above.
        note: a sentence below.
        text: its text.
        pictures: what each is, and its address.
        labels: who says what, in words.
    """

    key: str
    title: str
    note: str
    text: str | None
    pictures: tuple[tuple[str, str], ...]
    labels: tuple[tuple[str, str], ...]


def suspects_page(found: Suspects, task: Task[Any], content: Content) -> str:
    """Doubtful labels as HTML, the most doubtful first."""
    chosen = found.items[: max(len(found.flagged), 1)][:_MOST] if found.flagged else found.items[:24]
    flagged = [suspect for suspect in found.items if suspect.flagged][:_MOST]
    cards = [
        _card(
            task,
            content,
            suspect.key,
            f"{number + 1}. {suspect.split}",
            suspect.reason,
            {"labelled": suspect.given, "the model says": suspect.suggested},
        )
        for number, suspect in enumerate(flagged or chosen)
    ]
    return template(_HERE / "suspects.html.jinja").render(
        found=found, flagged=len(found.flagged), cards=cards
    )


def quality_page(found: Findings, task: Task[Any], targets: Mapping[str, Any], content: Content) -> str:
    """All findings as HTML, those to act on first."""
    sections = [
        (
            finding,
            [
                _card(
                    task,
                    content,
                    example.key,
                    "",
                    example.note,
                    example.labels or ({"labelled": targets[example.key]} if example.key in targets else {}),
                )
                for example in finding.examples
            ],
        )
        for finding in found.findings
    ]
    words = {"act": "act", "look": "look at", "fine": "fine", "unknown": "not known"}
    return template(_HERE / "quality.html.jinja").render(found=found, sections=sections, words=words)


def _card(
    task: Task[Any], content: Content, key: str, title: str, note: str, labels: Mapping[str, Any]
) -> Card:
    shown = _content(key, content)
    text = shown if isinstance(shown, str) else None
    if text is not None and len(text) > _LONGEST_TEXT:
        text = text[:_LONGEST_TEXT] + " …"
    return Card(
        key=key,
        title=title,
        note=note[:1].upper() + note[1:],
        text=text,
        pictures=_pictures(task, labels, shown) if isinstance(shown, bytes) else (),
        labels=tuple((who, task.describe(target)) for who, target in labels.items()),
    )


def _content(key: str, content: Content) -> bytes | str | None:
    try:
        return content(key)
    except GoldloopError:
        return None


def _pictures(task: Task[Any], labels: Mapping[str, Any], image: bytes) -> tuple[tuple[str, str], ...]:
    """The image: once small, or with each answer drawn in where answers have a place."""
    small = small_copy(image, _DRAWING)
    if small is None:
        return ()
    picture, scale = small
    drawn: Sequence[tuple[str, Any]] = [
        (who, task.drawn(target, picture, scale)) for who, target in labels.items()
    ]
    if not drawn or any(each is None for _, each in drawn):
        picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
        drawn = [("", picture)]
    return tuple((who, jpeg_uri(each)) for who, each in drawn)
