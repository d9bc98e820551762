"""Images for annotators' browsers: `media | revoke`."""

from __future__ import annotations

from pathlib import Path

import typer

from goldloop.cli.display import AS_JSON, OVERRIDES, RECIPE, progress, show_facts, show_json


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (media, revoke):
        app.command()(command)


def media(
    recipes: list[Path] = typer.Argument(
        ...,
        metavar="RECIPE...",
        help="YAML files whose `labeling.media` names the proxy.",
        show_default=False,
    ),
    host: str = typer.Option(None, help="Address to listen on; by default the recipe's."),
    port: int = typer.Option(
        None, min=0, max=65535, help="Port; 0 takes a free one; by default the recipe's."
    ),
) -> None:
    """Hand out recipes' images to annotators' browsers.

    It does so by addresses that Label Studio signs.
    """
    from goldloop import workbench
    from goldloop.recipe import load

    loaded = [load(recipe) for recipe in recipes]
    names = ", ".join(recipe.name for recipe in loaded)
    say = progress().say
    workbench.media_(
        loaded, host=host, port=port, ready=lambda url: say(f"media: images of {names} at {url}")
    )


def revoke(recipe: Path = RECIPE, overrides: list[str] = OVERRIDES, as_json: bool = AS_JSON) -> None:
    """Make every signed address of a recipe's images void.

    Label Studio is given a new key.
    """
    from goldloop import workbench
    from goldloop.recipe import load

    loaded = load(recipe, overrides or ())
    workbench.revoke(loaded, progress=progress())
    if as_json:
        show_json({"revoked": loaded.name})
    else:
        show_facts({"revoked": f"all addresses of images of {loaded.name} that were signed before"})
