"""What became of versions: `tag | tags | diff`."""

from __future__ import annotations

from dataclasses import asdict

import typer

from goldloop.cli.data import VERSION
from goldloop.cli.display import AS_JSON, show_json, show_table


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (tag, tags):
        app.command()(command)


def tag(
    version: str = VERSION,
    name: str = typer.Argument(..., metavar="TAG", help="Such as v1.", show_default=False),
    move: bool = typer.Option(False, "--move", help="Take it away from another version that has it."),
    as_json: bool = AS_JSON,
) -> None:
    """Give a version a name that stands for it wherever one is named: pets@v1."""
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
