"""A progress bar with figures beneath it, as many to a line as the terminal is wide."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

_INDENT = 11
_BETWEEN = " · "


class Watched(Progress):
    """A bar that goes when the work is done, and what the work says of itself meanwhile.

    Attributes:
        figures: a few words for each.
    """

    figures: Sequence[str]

    def __init__(self, console: Console) -> None:
        self.figures = ()
        super().__init__(
            TextColumn("[bold cyan]{task.description:>9}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("left"),
            console=console,
            transient=True,
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bar, and the figures."""
        yield from super().get_renderables()
        yield _Figures(self.figures)


class _Figures:
    def __init__(self, figures: Sequence[str]) -> None:
        self._figures = figures

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in filled(self._figures, options.max_width - _INDENT):
            yield Text(" " * _INDENT + line, no_wrap=True, overflow="ellipsis")


def filled(figures: Sequence[str], width: int) -> list[str]:
    """Figures in lines of at most this width; only one that is longer by itself is longer."""
    lines: list[str] = []
    for figure in figures:
        longer = lines[-1] + _BETWEEN + figure if lines else figure
        if lines and len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(figure)
    return lines
