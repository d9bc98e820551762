"""The classes of a recipe: `classes RECIPE`, `classes rename | merge | split`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from goldloop.cli.display import AS_JSON, RECIPE, show_facts, show_json, show_table

if TYPE_CHECKING:
    from goldloop.dataset.migrations import Migration

OLD = typer.Argument(..., metavar="CLASS", help="A class of the recipe.", show_default=False)
DRY_RUN = typer.Option(False, "--dry-run", help="Only tell what would change.")


class _ListByDefault(TyperGroup):
    """`classes RECIPE` is `classes list RECIPE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["list", *args]
        return list(super().parse_args(ctx, args))


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        cls=_ListByDefault,
        help="List, rename, merge and split the classes of a recipe.",
        no_args_is_help=True,
    )
    group.command("list")(list_)
    for command in (rename, merge, split):
        group.command()(command)
    app.add_typer(group, name="classes")


def list_(recipe: Path = RECIPE, as_json: bool = AS_JSON) -> None:
    """The registry: ids, counts in the latest version, former names."""
    from goldloop import migration

    found = migration.classes(recipe)
    if as_json:
        show_json([entry.facts() for entry in found])
        return
    rows = [
        (entry.id, entry.name, f"{entry.count:,}", ", ".join(entry.former), entry.state) for entry in found
    ]
    show_table(("id", "class", "labels", "formerly", ""), rows)


def rename(
    recipe: Path = RECIPE,
    old: str = OLD,
    new: str = typer.Argument(..., metavar="NAME", help="Its new name.", show_default=False),
    dry_run: bool = DRY_RUN,
    as_json: bool = AS_JSON,
) -> None:
    """Call a class by another name; its id and its labels stay."""
    from goldloop import migration

    _show(migration.rename_class(recipe, old, new, dry_run=dry_run), dry_run, as_json)


def merge(
    recipe: Path = RECIPE,
    old: list[str] = typer.Argument(..., metavar="CLASS...", help="The classes.", show_default=False),
    into: str = typer.Option(..., "--into", help="One of them, another class, or a new name."),
    dry_run: bool = DRY_RUN,
    as_json: bool = AS_JSON,
) -> None:
    """Make one class of several; the next commit has their labels under it."""
    from goldloop import migration

    _show(migration.merge_classes(recipe, old, into, dry_run=dry_run), dry_run, as_json)


def split(
    recipe: Path = RECIPE,
    old: str = OLD,
    into: list[str] = typer.Option(..., "--into", help="A class that takes its place; give two or more."),
    by: Path = typer.Option(
        None,
        "--by",
        help="A CSV file, columns key and class: items of which it is known.",
        show_default=False,
    ),
    dry_run: bool = DRY_RUN,
    as_json: bool = AS_JSON,
) -> None:
    """Put several classes in the place of one; its items are labelled again or told apart by a file."""
    from goldloop import migration

    _show(migration.split_class(recipe, old, into, by=by, dry_run=dry_run), dry_run, as_json)


def _show(done: Migration, dry_run: bool, as_json: bool) -> None:
    if as_json:
        show_json({**done.facts(), "dry_run": dry_run})
        return
    rows = ", ".join(f"{count:,} {name}" for name, count in done.rows.items())
    then = {
        "rename": "they keep their id and stay",
        "merge": f"the next commit has them under {done.new[0]}",
        "split": f"their items are to be labelled again, except for {len(done.items):,}",
    }[done.act]
    facts = {done.act: f"{', '.join(done.old)} -> {', '.join(done.new)}", "labels": f"{rows}; {then}"}
    if dry_run:
        facts["recipe"] = "not changed; leave out `--dry-run` to change it"
    else:
        facts["recipe"] = "changed" if done.comments_kept else "written anew, without its comments"
    show_facts(facts)
