"""What became of versions: `tag | tags | diff`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from goldloop.cli.data import VERSION
from goldloop.cli.display import AS_JSON, progress, show_facts, show_json, show_table

if TYPE_CHECKING:
    from goldloop.dataset.difference import Change, Difference

_SHOWN = 5
_PAIRS = 10


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (tag, tags, diff):
        app.command()(command)


def tag(
    version: str = VERSION,
    name: str = typer.Argument(..., metavar="TAG", help="Such as v1.", show_default=False),
    move: bool = typer.Option(False, "--move", help="Take it away from another version that has it."),
    as_json: bool = AS_JSON,
) -> None:
    """Give a version a name that stands for it: pets@v1.

    It does so wherever a version is named.
    """
    from goldloop import workbench

    given = workbench.tag(version, name, move=move)
    if as_json:
        show_json(asdict(given))
        return
    recipe = version.partition("@")[0]
    typer.echo(f"{recipe}@{given.name} is {recipe}@{given.digest[:12]}")


def tags(
    name: str = typer.Argument(None, help="A recipe's name; by default all.", show_default=False),
    as_json: bool = AS_JSON,
) -> None:
    """List the tags of versions, the oldest first."""
    from goldloop import workbench

    found = [(recipe, each) for recipe, given in workbench.tags(name).items() for each in given.values()]
    if as_json:
        show_json([{"recipe": recipe, **asdict(each)} for recipe, each in found])
        return
    rows = [
        (f"{recipe}@{each.name}", f"{recipe}@{each.digest[:12]}", each.at, each.by) for recipe, each in found
    ]
    show_table(("tag", "version", "given", "by"), rows)


def diff(
    before: str = VERSION,
    after: str = typer.Argument(
        None, help="Another one; by default BEFORE is compared with its parent.", show_default=False
    ),
    page: Path = typer.Option(
        None, "--page", help="Write a page with the pictures or texts, too.", show_default=False
    ),
    limit: int = typer.Option(100, "--limit", min=0, help="Tell of so many items of each kind."),
    every: bool = typer.Option(False, "--all", help="Tell of all of them."),
    as_json: bool = AS_JSON,
) -> None:
    """What changed between two versions.

    Items, labels, splits, classes and agreement are compared.
    """
    from goldloop import comparison

    found = comparison.diff(before, after, limit=None if every else limit, page=page, progress=progress())
    if as_json:
        show_json(found.facts())
        return
    _show_difference(found)


def _show_difference(found: Difference) -> None:
    agreement = ["-" if value is None else f"{value:.3f}" for value in found.agreement]
    splits = ", ".join(f"{split} {was:,} -> {now:,}" for split, (was, now) in found.rows.items())
    facts: dict[str, Any] = {"before": found.before, "after": found.after, "rows": splits}
    facts |= {kind: f"{count:,}" for kind, count in found.counts.items()}
    facts["agreement"] = " -> ".join(agreement)
    classes = found.classes
    facts["classes"] = (
        ", ".join(
            [f"{was} is now {now}" for was, now in classes.renamed]
            + [f"{name} added" for name in classes.added]
            + [f"{name} gone" for name in classes.removed]
        )
        or "the same"
    )
    show_facts(facts)
    for title, pairs in (("from class to class", found.answers), ("from split to split", found.moves)):
        if pairs:
            show_table(("before", "after", "items"), pairs[:_PAIRS], title=title)

    def said(change: Change, side: str) -> str:
        row = getattr(change, side)
        return "" if row is None else f"{row.words} ({row.split})"

    rows = [
        (kind, said(change, "before"), said(change, "after"), change.key[:12])
        for kind, changes in found.changes.items()
        for change in changes[:_SHOWN]
    ]
    if rows:
        show_table(("what", "before", "after", "item"), rows, title="examples")
