r"""Spans of characters: the places that a browser, Python and a tokenizer each count in their own way.

Label Studio's editor counts code points, as Python does; its quote of a span has the two characters `\n`
for each line end (a carriage return and a line feed are two). Other tools send UTF-16 units. So the quote
decides: `text[start:end]` must be what was marked, or nothing is believed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

from goldloop.errors import AnnotationError

_LINE_END = re.compile(r"[\r\n]")
_SHOWN = 60


class Span(TypedDict):
    """One stretch of a text and its class.

    `start` and `end` in code points, `text` what stands there: `item.text[start:end] == text`; `score`, of
    predictions only, in [0, 1].
    """

    label: str
    start: int
    end: int
    text: str
    score: NotRequired[float]


def quote(text: str) -> str:
    """A stretch of text as Label Studio's editor quotes it."""
    return _LINE_END.sub(r"\\n", text)


def from_utf16(text: str, units: int) -> int | None:
    """The code points before a place given in UTF-16 units; None inside a character or outside the text."""
    if text.isascii():
        return units if 0 <= units <= len(text) else None
    try:
        return len(text.encode("utf-16-le")[: 2 * units].decode("utf-16-le")) if units >= 0 else None
    except UnicodeDecodeError:
        return None


def read_span(label: str, value: Mapping[str, Any], text: str, where: str) -> Span:
    """The span that a value means, held against the quote that it carries.

    Args:
        label: its class.
        value: `start`, `end`, and the quote as `text`; without a quote the places are code points.
        text: the item's.
        where: names the region in errors.

    Raises:
        AnnotationError: no places, nothing inside, or another quote than what stands there.
    """
    start, end = (_place(value, name, text, where) for name in ("start", "end"))
    if start >= end:
        raise AnnotationError(
            "a span has nothing inside", where=where, found=f"{start} to {end}", expected="start before end"
        )
    said = value.get("text")
    if said is None or (end <= len(text) and said in (text[start:end], quote(text[start:end]))):
        return _checked(label, start, end, text, where)
    units = from_utf16(text, start), from_utf16(text, end)
    if units[0] is not None and units[1] is not None and text[units[0] : units[1]] == said:
        return _checked(label, units[0], units[1], text, where)
    raise AnnotationError(
        "a span's quote is not what stands there",
        where=where,
        found=f"{_short(said)} at {start} to {end}",
        expected=_short(text[start:end]),
        remedy="Annotate the item again: its text is not the one that was marked",
    )


def misquoted(spans: Sequence[Span], text: str, where: str) -> str | None:
    """Which of some spans, in code points, has another quote than what stands there; None if none has."""
    for number, span in enumerate(spans):
        there = text[span["start"] : span["end"]]
        if there != span["text"]:
            place = f"{where}, span {number}"
            said = f"{_short(span['text'])} at {span['start']} to {span['end']}"
            return (
                f"{place}: a span's quote is not what stands there (found {said}, there is {_short(there)})"
            )
    return None


def _checked(label: str, start: int, end: int, text: str, where: str) -> Span:
    if end > len(text):
        raise AnnotationError(
            "a span ends behind the text", where=where, found=end, expected=f"at most {len(text)}"
        )
    return {"label": label, "start": start, "end": end, "text": text[start:end]}


def _place(value: Mapping[str, Any], name: str, text: str, where: str) -> int:
    place = value.get(name)
    if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place <= 2 * len(text):
        raise AnnotationError(
            f"`{name}` is no place in the text",
            where=where,
            found=_short(place),
            expected=f"a whole number from 0 to {len(text)}",
            remedy="Annotate the item again with this recipe's labelling interface",
        )
    return place


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 1]}…"


def overlapping(spans: Sequence[Span]) -> tuple[int, int] | None:
    """Positions of two spans, of a list sorted by start, that share a character; None if no two do."""
    furthest = 0
    for position in range(1, len(spans)):
        if spans[position]["start"] < spans[furthest]["end"]:
            return furthest, position
        if spans[position]["end"] > spans[furthest]["end"]:
            furthest = position
    return None


def without_overlaps(spans: Sequence[Span]) -> list[Span]:
    """Spans no two of which share a character: of those that do, the longest, then the first."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda span: (span["start"] - span["end"], span["start"])):
        if all(span["end"] <= other["start"] or other["end"] <= span["start"] for other in kept):
            kept.append(span)
    return sorted(kept, key=lambda span: span["start"])
