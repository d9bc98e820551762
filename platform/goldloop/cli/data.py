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

    found = workbench.show(version)
    if as_json:
        show_json(found.facts())
        return
    agreement = "-" if found.agreement is None else f"{found.agreement:.3f}, mean over pairs of answers"
    show_facts(
        {
            "version": found.ref,
            "digest": found.digest,
            "parent": found.parent or "-",
            "task": found.task["kind"],
            "rows": ", ".join(f"{count} {split}" for split, count in found.counts.items()),
            "agreement": agreement,
            "committed": found.created_at,
            "message": found.message or "-",
            "folder": found.folder,
        }
    )
    splits = list(found.class_counts)
    rows = [
        (name, number, *(found.class_counts[split].get(name, 0) for split in splits))
        for number, name in enumerate(found.classes)
    ]
    show_table(("class", "id", *splits), rows)


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
