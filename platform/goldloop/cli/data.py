"""Data sets and their versions: `import | export | versions | show | verify`."""

from __future__ import annotations

from pathlib import Path

import typer

from goldloop.cli.display import AS_JSON, progress, show_facts, show_json, show_table

VERSION = typer.Argument(..., help="NAME for the latest version, or NAME@DIGEST.", show_default=False)

FORMAT = typer.Argument(
    ..., metavar="FORMAT", help="Such as coco, yolo, pascal-voc or conll.", show_default=False
)
OPTIONS = typer.Argument(
    None,
    metavar="[FIELD=VALUE]...",
    help="What the format must be told, such as 'void=[11]'.",
    show_default=False,
)
_SHOWN = 10


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("import")(import_)
    app.command()(export)
    app.command()(versions)
    app.command()(show)
    app.command()(verify)


def import_(
    form: str = FORMAT,
    folder: Path = typer.Argument(..., help="Where the data set lies.", show_default=False),
    options: list[str] = OPTIONS,
    name: str = typer.Option(..., "--name", help="The recipe's: lower case letters, digits and hyphens."),
    task: str = typer.Option(
        None, "--task", help="The task type, where the format holds several.", show_default=False
    ),
    use: str = typer.Option(
        "imported",
        "--use",
        help="What the labels are for: imported, annotation (people correct them) or truth.",
    ),
    as_json: bool = AS_JSON,
) -> None:
    """Write a recipe for a labelled data set, with its classes, and pull it."""
    from goldloop import exchange

    done = exchange.import_(
        form, folder, name, task=task, options=options or (), use=use, progress=progress()
    )
    if as_json:
        show_json(done.facts())
        return
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in done.outcomes.items())
    show_facts({"recipe": done.recipe, "task": done.kind, "found": outcomes})
    if done.classes:
        rows = [(number, *entry) for number, entry in enumerate(done.classes.items())]
        show_table(("id", "class", "labels"), rows)
    for address, reason in list(done.quarantined.items())[:_SHOWN]:
        typer.echo(f"quarantined {address}: {reason}", err=True)
    if len(done.quarantined) > _SHOWN:
        typer.echo(f"and {len(done.quarantined) - _SHOWN} more; `--json` lists them all", err=True)


def export(
    version: str = VERSION,
    form: str = FORMAT,
    folder: Path = typer.Argument(..., help="Where to write; new, or empty.", show_default=False),
    options: list[str] = OPTIONS,
    split: str = typer.Option(None, help="This split alone: train, validation or test.", show_default=False),
    allow_loss: bool = typer.Option(False, "--allow-loss", help="Write what the format can hold of it."),
    as_json: bool = AS_JSON,
) -> None:
    """Write a version in another format; what that cannot hold is listed first, and refused."""
    from goldloop import exchange

    done = exchange.export(
        version, form, folder, split=split, allow_loss=allow_loss, options=options or (), progress=progress()
    )
    if as_json:
        show_json(done.facts())
        return
    counts = ", ".join(f"{count} {each}" for each, count in done.counts.items())
    show_facts({"version": done.version, "format": done.format, "written": counts, "folder": done.folder})


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
    if not found.classes:
        return
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
