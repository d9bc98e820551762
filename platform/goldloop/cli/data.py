"""Dataset versions: `versions | show | verify`."""

from __future__ import annotations

import typer

from goldloop.cli.display import AS_JSON, show_facts, show_json, show_table

VERSION = typer.Argument(..., help="NAME for the latest version, or NAME@DIGEST.", show_default=False)


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(versions)
    app.command()(show)
    app.command()(verify)


def versions(
    name: str = typer.Argument(None, help="A recipe's name; by default all.", show_default=False),
    as_json: bool = AS_JSON,
) -> None:
    """List dataset versions, the newest last."""
    from goldloop import workbench

    found = workbench.versions(name)
    if as_json:
        show_json([version.facts() for version in found])
        return
    columns = ("version", "rows", "classes", "committed", "message")
    rows = [
        (
            version.ref,
            sum(version.counts.values()),
            len(version.classes),
            version.created_at,
            version.message or "",
        )
        for version in found
    ]
    show_table(columns, rows)


def show(version: str = VERSION, as_json: bool = AS_JSON) -> None:
    """One version: splits, classes, agreement, where it lies."""
    from goldloop import workbench

    facts = workbench.show(version).facts()
    if as_json:
        show_json(facts)
    else:
        show_facts(facts)


def verify(version: str = VERSION, as_json: bool = AS_JSON) -> None:
    """Recompute a version's digest and certificate from its bytes."""
    from goldloop import workbench

    loaded = workbench.show(version)
    faults = workbench.verify(version)
    if as_json:
        show_json({"version": loaded.ref, "faults": [str(fault) for fault in faults]})
    elif not faults:
        typer.echo(f"{loaded.ref} is what its certificate says")
    else:
        for fault in faults:
            typer.echo(f"{loaded.ref}: {fault}", err=True)
    if faults:
        raise typer.Exit(1)
