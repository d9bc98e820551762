"""What cleaning left out of a pull and took out of texts: in numbers, and as a page with examples."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from goldloop import durable
from goldloop.catalog.ledger import balance, reasons, with_outcome
from goldloop.cleaning.examples import Example, Examples, problem_of
from goldloop.pages import template

_TEMPLATE = Path(__file__).with_name("report.html.jinja")
_SCRUBBED = re.compile(r"(\d+) (\w+)")


@dataclass(frozen=True, slots=True)
class Left:
    """What one threshold left out."""

    problem: str
    count: int
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """What cleaning did.

    Attributes:
        outcomes: addresses by what became of them.
        dropped: problem -> how many addresses, the most first.
        scrubbed: kind of personal data -> how many were replaced in what was kept.
        texts: how many texts that were kept had any.
    """

    outcomes: dict[str, int]
    dropped: dict[str, int]
    scrubbed: dict[str, int]
    texts: int


def summary(connection: Connection, recipe: str) -> Summary:
    """What the last pull's books say."""
    dropped = Counter(problem_of(reason) for reason in reasons(connection, recipe, "pull", "dropped"))
    scrubbed: Counter[str] = Counter()
    texts = 0
    for reason in reasons(connection, recipe, "pull", "pulled"):
        if reason.startswith("scrubbed: "):
            texts += 1
            for count, kind in _SCRUBBED.findall(reason):
                scrubbed[kind] += int(count)
    outcomes = balance(connection, recipe, "pull").outcomes
    return Summary(outcomes, dict(dropped.most_common()), dict(scrubbed.most_common()), texts)


def write(connection: Connection, recipe: str, folder: Path) -> Path:
    """Write the page; returns its path."""
    examples = Examples(folder / "examples")
    still = with_outcome(connection, recipe, "pull", "dropped", examples.subjects())
    shown = examples.read(still)
    found = summary(connection, recipe)
    left = [
        Left(problem, count, tuple(one for one in shown if problem_of(one.reason) == problem))
        for problem, count in found.dropped.items()
    ]
    page = template(_TEMPLATE).render(
        recipe=recipe, found=found, left=left, total=sum(found.outcomes.values())
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "cleaning.html"
    durable.replace(path, page.encode("utf-8", "backslashreplace"))
    return path
