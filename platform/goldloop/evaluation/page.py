"""A report as one page of HTML that loads nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop.errors import GoldloopError
from goldloop.evaluation.clusters import CIRCUMSTANCE
from goldloop.evaluation.judged import Judged
from goldloop.evaluation.report import Content, Report
from goldloop.pages import template
from goldloop.pages.pictures import data_uri, jpeg_uri, small_copy
from goldloop.tasks import tasks
from goldloop.tasks.base import Task

if TYPE_CHECKING:
    from goldloop.evaluation.gates.base import Verdict

_TEMPLATE = Path(__file__).with_name("page.html.jinja")
_MOST_WRONG = 60
_MOST_SLICES = 40
_MOST_ALIKE = 6
_LONGEST_TEXT = 600
_THUMBNAIL = 144
_DRAWING = 320


@dataclass(frozen=True, slots=True)
class _Mistake:
    """An item judged wrongly, as the page shows it."""

    key: str
    expected: str
    predicted: str
    confidence: float
    text: str | None
    pictures: tuple[str, ...]


def page(
    report: Report,
    verdicts: Sequence[Verdict] = (),
    picture: bytes | None = None,
    content: Content | None = None,
) -> str:
    """A report as HTML.

    Args:
        report: what to show.
        verdicts: what the gates said.
        picture: the confusion matrix as PNG.
        content: gives texts and pictures of the items judged wrongly, of which the worst are shown.
    """
    wrong = report.wrong()
    task = tasks.create(report.task)
    return template(_TEMPLATE).render(
        report=report,
        headline=report.metrics[report.metric],
        verdicts=verdicts,
        picture=data_uri("image/png", picture) if picture is not None else None,
        mistakes=[_mistake(task, item, content) for item in wrong[:_MOST_WRONG]],
        alike=[
            (each, [_mistake(task, item, content) for item in wrong if each.holds(item)][:_MOST_ALIKE])
            for each in report.weak()
            if each.circumstance == CIRCUMSTANCE
        ],
        wrong=len(wrong),
        most_slices=_MOST_SLICES,
        count=len(report.items),
    )


def _mistake(task: Task[Any], item: Judged, content: Content | None) -> _Mistake:
    shown = _content(item.key, content)
    text = shown if isinstance(shown, str) else None
    if text is not None and len(text) > _LONGEST_TEXT:
        text = text[:_LONGEST_TEXT] + " …"
    return _Mistake(
        key=item.key,
        expected=task.describe(item.expected),
        predicted=task.describe(item.predicted),
        confidence=item.confidence,
        text=text,
        pictures=_pictures(task, item, shown) if isinstance(shown, bytes) else (),
    )


def _content(key: str, content: Content | None) -> bytes | str | None:
    """What is to be shown of an item; None where it is gone, which is no reason for a page not to be made."""
    try:
        return content(key) if content is not None else None
    except GoldloopError:
        return None


def _pictures(task: Task[Any], item: Judged, image: bytes) -> tuple[str, ...]:
    """The image as data URIs: small, or twice with what was predicted and what was labelled drawn in."""
    small = small_copy(image, _DRAWING)
    if small is None:
        return ()
    picture, scale = small
    drawn = [task.drawn(target, picture, scale) for target in (item.predicted, item.expected)]
    if any(one is None for one in drawn):
        picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
        drawn = [picture]
    return tuple(jpeg_uri(one) for one in drawn if one is not None)
