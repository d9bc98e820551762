"""Curves as inline SVG: a few lines over a common axis, in the colors of the page that they stand in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

Point = tuple[float, float]

_WIDTH, _HEIGHT = 460, 216
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 26, 36
_MOST_POINTS = 300
_DOTS_UP_TO = 60
_SMOOTHED_FROM = 40
_WINDOW_SHARE = 15


@dataclass(frozen=True, slots=True)
class Series:
    """One line.

    Attributes:
        name: what it shows, for the legend.
        points: x and y in the order of x; those that are no finite numbers are left out.
        smooth: draw a running mean over the points where there are many of them.
    """

    name: str
    points: Sequence[Point]
    smooth: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over a common axis.

    Attributes:
        title: what it shows.
        x, y: names of the axes, with units.
        series: up to four lines.
        percent: whether y is a share in [0, 1], to be written in percent.
        from_zero: whether the y axis begins at 0.
        marked: a point to be set off, and what it is.
    """

    title: str
    x: str
    y: str
    series: Sequence[Series]
    percent: bool = False
    from_zero: bool = False
    marked: tuple[Point, str] | None = None

    @property
    def _kept(self) -> list[Series]:
        """The series that have something to draw."""
        kept = []
        for one in self.series:
            points = [point for point in one.points if all(map(math.isfinite, point))]
            if points:
                kept.append(Series(one.name, points, one.smooth))
        return kept

    @property
    def drawable(self) -> bool:
        """Whether there is a line to draw: two points of one series."""
        return any(len(one.points) > 1 for one in self._kept)

    @property
    def legend(self) -> list[str]:
        """Names of the lines in the order of their colors; empty where there is but one."""
        return [one.name for one in self._kept] if len(self._kept) > 1 else []

    def svg(self) -> str:
        """The drawing; its colors are the page's: `.line0` to `.line3`, `.grid`, `.tick`."""
        flat = [point for one in self._kept for point in one.points]
        if not flat:
            raise ValueError(f"nothing to draw: {self.title}")
        low = min(y for _, y in flat)
        high = max(y for _, y in flat)
        rows = ticks(min(low, 0.0) if self.from_zero else low, high, 4)
        columns = ticks(min(x for x, _ in flat), max(x for x, _ in flat), 6, inside=True)
        frame = _Frame(min(x for x, _ in flat), max(x for x, _ in flat), rows[0], rows[-1])
        parts = [
            f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(self._described())}">',
            f"<title>{escape(self.title)}</title>",
            *(self._row(frame, value) for value in rows),
            *(self._column(frame, value) for value in columns),
            _text(_WIDTH - _RIGHT, _HEIGHT - 4, self.x, "end"),
            _text(0, 11, self.y, "start"),
        ]
        for number, one in enumerate(self._kept):
            parts += self._lines(frame, number, one)
        if self.marked is not None:
            (x, y), text = self.marked
            at = f'cx="{frame.across(x):.1f}" cy="{frame.down(y):.1f}"'
            parts.append(f'<circle class="ring" {at} r="5.5"><title>{escape(text)}</title></circle>')
        return "".join([*parts, "</svg>"])

    def _lines(self, frame: _Frame, number: int, one: Series) -> list[str]:
        thinned = _thinned(one.points)
        smooth = one.smooth and len(one.points) >= _SMOOTHED_FROM
        faint = " faint" if smooth else ""
        lines = [f'<path class="line line{number}{faint}" d="{frame.path(thinned)}"/>']
        if smooth:
            lines.append(
                f'<path class="line line{number}" d="{frame.path(_thinned(_smoothed(one.points)))}"/>'
            )
        if len(one.points) <= _DOTS_UP_TO:
            lines += [self._dot(frame, number, point) for point in one.points]
        return lines

    def _dot(self, frame: _Frame, number: int, point: Point) -> str:
        x, y = point
        told = escape(f"{self.x} {number_text(x)}: {self._written(y)}")
        at = f'cx="{frame.across(x):.1f}" cy="{frame.down(y):.1f}"'
        return f'<circle class="dot dot{number}" {at} r="2.4"><title>{told}</title></circle>'

    def _row(self, frame: _Frame, value: float) -> str:
        y = frame.down(value)
        line = f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        return line + _text(_LEFT - 7, y + 3.5, self._written(value), "end")

    def _column(self, frame: _Frame, value: float) -> str:
        return _text(frame.across(value), _HEIGHT - _BOTTOM + 15, number_text(value), "middle")

    def _written(self, value: float) -> str:
        return f"{number_text(value * 100)}%" if self.percent else number_text(value)

    def _described(self) -> str:
        """The drawing in words, for those who cannot see it."""
        told = []
        for one in self._kept:
            (_, first), (_, last) = one.points[0], one.points[-1]
            values = [y for _, y in one.points]
            told.append(
                f"{one.name}: from {self._written(first)} to {self._written(last)}, "
                f"lowest {self._written(min(values))}, highest {self._written(max(values))}"
            )
        return f"{self.title}. {'; '.join(told)}"


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where values lie in the drawing."""

    left: float
    right: float
    bottom: float
    top: float

    def across(self, x: float) -> float:
        share = (x - self.left) / (self.right - self.left) if self.right > self.left else 0.5
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def down(self, y: float) -> float:
        share = (y - self.bottom) / (self.top - self.bottom) if self.top > self.bottom else 0.5
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    def path(self, points: Sequence[Point]) -> str:
        return "M" + "L".join(f"{self.across(x):.1f} {self.down(y):.1f}" for x, y in points)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text class="tick" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def ticks(low: float, high: float, count: int, *, inside: bool = False) -> list[float]:
    """Round values, rising, about as many as asked for.

    Args:
        low: finite; where what they are to span begins.
        high: finite; where it ends.
        count: how many are wished for.
        inside: stay between `low` and `high`, else reach around them.
    """
    if high <= low:
        margin = abs(low) * 0.1 or 1.0
        return ticks(low - margin, high + margin, count) if not inside else [low]
    raw = (high - low) / max(count - 1, 1)
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= raw * 0.999)
    first = math.ceil(low / step - 1e-9) if inside else math.floor(low / step + 1e-9)
    last = math.floor(high / step + 1e-9) if inside else math.ceil(high / step - 1e-9)
    return [round(number * step, 12 - math.floor(math.log10(step))) for number in range(first, last + 1)]


def number_text(value: float) -> str:
    """A number as short as it can be read: `1.2k`, `35M`, `0.25`, `4e-5`."""
    size = abs(value)
    if size and size < 1e-3:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    for scale, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= scale * (10 if letter == "k" else 1):
            return f"{value / scale:.3g}{letter}" if size < scale * 1000 else f"{value / scale:,.0f}{letter}"
    return f"{value:,.0f}" if size >= 1000 else f"{value:.4g}"


def _thinned(points: Sequence[Point]) -> Sequence[Point]:
    """Means of neighbors, where there are more points than a drawing can show."""
    size = -(-len(points) // _MOST_POINTS)
    if size <= 1:
        return points
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(group[-1][0], sum(y for _, y in group) / len(group)) for group in groups]


def _smoothed(points: Sequence[Point]) -> list[Point]:
    """A mean over the neighbors of each point on both sides, so that it does not lag behind."""
    reach = max(len(points) // (2 * _WINDOW_SHARE), 1)
    smoothed = []
    for place, (x, _) in enumerate(points):
        near = min(reach, place, len(points) - 1 - place)
        window = points[place - near : place + near + 1]
        smoothed.append((x, sum(y for _, y in window) / len(window)))
    return smoothed
