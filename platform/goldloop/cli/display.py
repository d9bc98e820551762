"""What people see: progress on stderr (bars on a terminal, plain lines elsewhere), results on stdout."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import typer

from goldloop.progress import Advance, Progress, Show

RECIPE = typer.Argument(..., help="A recipe: a YAML file.", show_default=False)
OVERRIDES = typer.Argument(
    None,
    metavar="[FIELD=VALUE]...",
    help="Fields to override, such as training.epochs=3.",
    show_default=False,
)
AS_JSON = typer.Option(False, "--json", help="Print the result as JSON.")

_LINE_SECONDS = 5.0
_LONGER_BY = 50
"""Of work that takes long a line tells every 2% of the time that it has taken."""


class Lines:
    """Progress as plain lines, for logs: at most one for each piece of work every few seconds."""

    def say(self, text: str) -> None:
        """One line."""
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    @contextmanager
    def track(self, what: str, total: int | None = None) -> Iterator[Advance]:
        """Lines with the count."""
        done = 0
        spoke = time.monotonic()

        def advance(more: int) -> None:
            nonlocal done, spoke
            done += more
            if time.monotonic() - spoke >= _LINE_SECONDS:
                spoke = time.monotonic()
                self.say(f"{what}: {done}" + (f" of {total}" if total else ""))

        yield advance

    @contextmanager
    def watch(self, what: str, total: int) -> Iterator[Show]:
        """Lines with the count, the time left and the figures."""
        began = spoke = time.monotonic()
        before: int | None = None

        def show(done: int, figures: Sequence[str]) -> None:
            nonlocal spoke, before
            now = time.monotonic()
            before = done if before is None else before
            if now - spoke < max(_LINE_SECONDS, (now - began) / _LONGER_BY):
                return
            spoke = now
            told = [f"{what}: {done} of {total}", *figures]
            if done > before:
                told.append(f"{_clock((now - began) * (total - done) / (done - before))} left")
            self.say(", ".join(told))

        yield show


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


class Bars:
    """Progress as bars, for people."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False)

    def say(self, text: str) -> None:
        """One line, the stage's name set off."""
        stage, colon, rest = text.partition(": ")
        if colon:
            self._console.print(f"[bold cyan]{stage:>9}[/]", end="  ")
        self._console.print(rest if colon else text, markup=False)

    @contextmanager
    def track(self, what: str, total: int | None = None) -> Iterator[Advance]:
        """A bar that goes when the work is done."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("[bold cyan]{task.description:>9}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            task = progress.add_task(what, total=total)
            yield lambda more: progress.advance(task, more)

    @contextmanager
    def watch(self, what: str, total: int) -> Iterator[Show]:
        """A bar with the figures beneath it; both go when the work is done."""
        from goldloop.cli.live import Watched

        with Watched(self._console) as watched:
            task = watched.add_task(what, total=total)

            def show(done: int, figures: Sequence[str]) -> None:
                watched.figures = figures
                watched.update(task, completed=done)

            yield show


def progress() -> Progress:
    """Bars on a terminal, lines elsewhere."""
    return Bars() if sys.stderr.isatty() else Lines()


def show_json(value: Any) -> None:
    """A result for scripts."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def show_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str | None = None) -> None:
    """A table on stdout; of full width where the output is no terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    Console(highlight=False, width=None if sys.stdout.isatty() else 160).print(table)


def show_facts(facts: Mapping[str, Any]) -> None:
    """Name and value, a line each."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        sys.stdout.write(f"{name:<{width}}  {value}\n")


def show_tree(subject: Any, branches: Mapping[str, Sequence[Any]]) -> None:
    """A thing and what hangs on it, branch by branch; each node has a kind, a name, facts and nodes."""
    from rich.console import Console
    from rich.text import Text
    from rich.tree import Tree

    def told(node: Any) -> Text:
        facts = ", ".join(f"{name} {value}" for name, value in _plain_facts(node.facts).items())
        text = Text.assemble((f"{node.kind} ", "cyan"), (node.name, "bold"))
        return text.append(f"  {facts}", "dim") if facts else text

    def grow(tree: Tree, nodes: Sequence[Any]) -> None:
        for node in nodes:
            grow(tree.add(told(node)), node.nodes)

    tree = Tree(told(subject))
    for name, nodes in branches.items():
        branch = tree.add(name)
        grow(branch, nodes)
        if not nodes:
            branch.add("nothing")
    Console(highlight=False, width=None if sys.stdout.isatty() else 160).print(tree)


def _plain_facts(facts: Mapping[str, Any]) -> dict[str, str]:
    """Facts in words; what is unknown, and lists of packages and the like, are left to `--json`."""
    found = {}
    for name, value in facts.items():
        if isinstance(value, Mapping) and len(value) <= len(("train", "validation", "test", "forgotten")):
            value = " ".join(f"{word}:{part}" for word, part in value.items())
        elif isinstance(value, list | tuple):
            value = " ".join(map(str, value))
        if value not in (None, "") and not isinstance(value, Mapping):
            found[name.replace("_", " ")] = str(value)
    return found
