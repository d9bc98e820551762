"""All commands. A command's module is imported with it, so none may import anything slow at its top."""

from __future__ import annotations

import typer

from goldloop.cli import (
    classes,
    data,
    governance,
    history,
    loop,
    media,
    models,
    quality,
    search,
    server,
    start,
    storage,
    watch,
)

app = typer.Typer(
    name="goldloop",
    help="From raw images and text to a model in production, on labels you can prove.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from goldloop import __version__

        typer.echo(f"goldloop {__version__}")
        raise typer.Exit


@app.callback()
def goldloop(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """From raw images and text to a model in production, on labels you can prove."""


for module in (
    start,
    server,
    loop,
    watch,
    search,
    data,
    storage,
    history,
    classes,
    quality,
    models,
    media,
    governance,
):
    module.add_to(app)
