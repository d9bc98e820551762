"""`goldloop up | down | status`: the embedded Label Studio."""

from __future__ import annotations

from dataclasses import asdict

import typer

from goldloop.cli.display import AS_JSON, progress, show_facts, show_json, show_table


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (up, down, status):
        app.command()(command)


def up(as_json: bool = AS_JSON) -> None:
    """Start the embedded Label Studio, installed the first time."""
    from goldloop import workbench

    access = workbench.up(progress=progress())
    server = workbench.server()
    secrets = server.folder / "secrets.json"
    if as_json:
        show_json({"url": access.url, "username": server.login.username, "secrets": secrets})
        return
    show_facts(
        {
            "Label Studio": access.url,
            "log in as": server.login.username,
            "password": f"in {secrets} (only you can read it)",
        }
    )


def down(as_json: bool = AS_JSON) -> None:
    """Stop the embedded Label Studio, and nothing else."""
    from goldloop import workbench

    stopped = workbench.down()
    if as_json:
        show_json({"stopped": stopped})
    else:
        typer.echo("Label Studio stopped" if stopped else "no Label Studio was running here")


def status(as_json: bool = AS_JSON) -> None:
    """What runs where, and how far each recipe's loop is."""
    from goldloop import workbench
    from goldloop.workspace import Workspace

    workspace = Workspace.open()
    server, recipes = workbench.status(workspace)
    if as_json:
        show_json({"workspace": workspace.root, "label_studio": asdict(server), "recipes": recipes})
        return
    running = f"{server.version} at {server.url}, process {server.pid}" if server.running else "not running"
    show_facts({"workspace": workspace.root, "Label Studio": running})
    if recipes:
        columns = ("recipe", "items", "tasks", "labelled", "open", "version", "champion")
        show_table(columns, [[recipe[column] for column in columns] for recipe in recipes])
