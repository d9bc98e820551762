"""The difference between two versions as one page of HTML, with pictures and texts before and after."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop.dataset.difference import Change, Difference
from goldloop.pages import template
from goldloop.pages.pictures import jpeg_uri, small_copy
from goldloop.tasks._regions import colour
from goldloop.tasks.base import Task

if TYPE_CHECKING:
    from PIL import Image

_TEMPLATE = Path(__file__).with_name("difference.html.jinja")
_MOST = 60
_LONGEST_TEXT = 600
_LEAD = 120
"""Signs of a long text that are shown before the first mark that differs."""
_DRAWING = 320
_THUMBNAIL = 176
_SEEN = 12
"""Levels of 255 by which a pixel must differ."""
_GONE, _NEW, _OTHERWISE = (200, 50, 40), (30, 140, 80), (225, 160, 20)
_SHADE = 60
"""By how much what is in both drawings is darker than the rest."""

Content = Callable[[Change], bytes | str | None]
"""An item's image or text; None where it is not at hand."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a text: the classes that mark it, those whose mark ends with it, and a colour."""

    text: str
    names: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    colour: str | None = None


@dataclass(frozen=True, slots=True)
class _Side:
    """What one version says of an item; `picture` and `pieces` are left out where they show nothing of it."""

    caption: str
    label: str
    told: str
    picture: str | None
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class _Card:
    """An item: what both versions say, and its picture or text where neither marks anything in it.

    Where both are drawn, `picture` has what differs between them.
    """

    key: str
    uri: str
    move: str | None
    sides: tuple[_Side, ...]
    picture: str | None
    pieces: tuple[Piece, ...]


def page(found: Difference, before: Task[Any], after: Task[Any], content: Content) -> str:
    """A difference as HTML.

    Args:
        found: what to show; of each kind the first items.
        before: the task of the one version, with its classes.
        after: that of the other.
        content: gives texts and pictures.
    """
    cards = {
        kind: [_card(change, before, after, content(change)) for change in changes[:_MOST]]
        for kind, changes in found.changes.items()
    }
    return template(_TEMPLATE).render(found=found, cards=cards)


def _card(change: Change, before: Task[Any], after: Task[Any], content: bytes | str | None) -> _Card:
    said = [
        (caption, task, row)
        for caption, task, row in (("before", before, change.before), ("after", after, change.after))
        if row is not None
    ]
    targets = [(task, row.target) for _, task, row in said]
    pictures, picture = _pictures(targets, content) if isinstance(content, bytes) else ([], None)
    texts, text = _texts(targets, content) if isinstance(content, str) else ([], ())
    splits = [row.split for _, _, row in said]
    return _Card(
        key=change.key,
        uri=said[-1][2].uri,
        move=" → ".join(dict.fromkeys(splits)),
        sides=tuple(
            _Side(
                caption=caption if len(said) > 1 else "",
                label=row.words,
                told=_told(row.annotators, row.agreement),
                picture=pictures[number] if pictures else None,
                pieces=texts[number] if texts else (),
            )
            for number, (caption, _, row) in enumerate(said)
        ),
        picture=picture,
        pieces=text,
    )


def _told(annotators: Sequence[str], agreement: float | None) -> str:
    people = f"{len(annotators)} annotator{'s' * (len(annotators) != 1)}" if annotators else "imported"
    return people if agreement is None else f"{people}, agreement {agreement:.2f}"


def _pictures(targets: Sequence[tuple[Task[Any], Any]], image: bytes) -> tuple[list[str], str | None]:
    """The image with each answer drawn in, and with what differs between two.

    Or once and small, where an answer has no place in it.
    """
    small = small_copy(image, _DRAWING)
    if small is None:
        return [], None
    picture, scale = small
    # Lines are as wide on a stamp as on a photograph: drawn on few pixels they would cover all.
    times = max(_DRAWING // max(picture.size), 1)
    large = picture.resize((picture.width * times, picture.height * times))
    drawn = [task.drawn(target, large, scale * times) for task, target in targets]
    shown = [one for one in drawn if one is not None]
    if len(shown) < len(drawn):
        picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
        return [], jpeg_uri(picture)
    both = jpeg_uri(overlaid(large, shown[0], shown[1])) if len(shown) == 2 else None
    return [jpeg_uri(one) for one in shown], both


def overlaid(picture: Image.Image, before: Image.Image, after: Image.Image) -> Image.Image:
    """A picture, pale, with what differs between two drawings on it: gone red, new green, else amber.

    All have one size and are RGB.
    """
    import numpy
    from PIL import Image

    plain, old, new = (
        numpy.asarray(each.convert("RGB"), dtype=numpy.int16) for each in (picture, before, after)
    )
    was, is_there, changed = (
        numpy.abs(one - other).max(axis=2) > _SEEN for one, other in ((old, plain), (new, plain), (old, new))
    )
    pale = (plain.mean(axis=2, keepdims=True) + 2 * 255) / 3
    shown = numpy.broadcast_to(pale, plain.shape).copy()
    shown[was & is_there & ~changed] -= _SHADE
    shown[changed & was & ~is_there] = _GONE
    shown[changed & ~was & is_there] = _NEW
    shown[changed & was & is_there] = _OTHERWISE
    return Image.fromarray(shown.clip(0, 255).astype(numpy.uint8))


def _texts(
    targets: Sequence[tuple[Task[Any], Any]], text: str
) -> tuple[list[tuple[Piece, ...]], tuple[Piece, ...]]:
    """The text with each answer's marks; or once, where no answer marks anything in it."""
    marks = [list(task.marked(target)) for task, target in targets]
    if not any(marks):
        return [], tuple(pieces(text, (), {}))
    others = set(marks[0]).symmetric_difference(marks[-1]) if len(marks) > 1 else marks[0]
    start = max(min((mark[0] for mark in others), default=0) - _LEAD, 0)
    tones = [{name: colour(number) for number, name in enumerate(task.classes)} for task, _ in targets]
    return [tuple(pieces(text, each, tone, start)) for each, tone in zip(marks, tones, strict=True)], ()


def pieces(
    text: str, marks: Sequence[tuple[int, int, str]], colours: Mapping[str, str], start: int = 0
) -> Iterator[Piece]:
    """A text in pieces, each wholly within or without every mark; of a long one the part from `start` on."""
    start = min(start, max(len(text) - _LONGEST_TEXT, 0))
    end = min(start + _LONGEST_TEXT, len(text))
    if start:
        yield Piece("… ")
    bounds = {place for mark in marks for place in mark[:2] if start < place < end}
    for left, right in pairwise(sorted({start, end, *bounds})):
        over = [mark for mark in marks if mark[0] <= left and right <= mark[1]]
        yield Piece(
            text[left:right],
            tuple(name for _, _, name in over),
            tuple(name for _, stop, name in over if stop == right),
            colours.get(over[-1][2]) if over else None,
        )
    if end < len(text):
        yield Piece(" …")
