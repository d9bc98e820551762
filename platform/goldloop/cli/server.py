"""`goldloop up | down | status`: the embedded Label Studio."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from goldloop.cli.display import AS_JSON, progress, show_facts, show_json, show_table

if TYPE_CHECKING:
    from goldloop.labeling.server import EmbeddedServer


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(up)
    app.command()(down)
    app.command()(status)


def up(as_json: bool = AS_JSON) -> None:
    """Start the embedded Label Studio, installed the first time."""
    server = _server()
    access = server.up(progress().say)
    if as_json:
        show_json({"url": access.url, "username": server.login.username, "secrets": server.folder / "secrets.json"})
        return
    show_facts(
        {
            "Label Studio": access.url,
            "log in as": server.login.username,
            "password": f"in {server.folder / 'secrets.json'} (only you can read it)",
        }
    )


def down(as_json: bool = AS_JSON) -> None:
    """Stop the embedded Label Studio, and nothing else."""
    stopped = _server().down()
    if as_json:
        show_json({"stopped": stopped})
    else:
        typer.echo("Label Studio stopped" if stopped else "no Label Studio was running here")


def status(as_json: bool = AS_JSON) -> None:
    """What runs where, and how far each recipe's loop is."""
    from goldloop.state import survey
    from goldloop.workspace import Workspace

    workspace = Workspace.open()
    server = _server().status()
    recipes = survey(workspace)
    if as_json:
        show_json({"workspace": workspace.root, "label_studio": asdict(server), "recipes": recipes})
        return
    running = f"{server.version} at {server.url}, process {server.pid}" if server.running else "not running"
    show_facts({"workspace": workspace.root, "Label Studio": running})
    if recipes:
        columns = ("recipe", "items", "tasks", "labelled", "open", "version", "champion")
        show_table(columns, [[recipe[column] for column in columns] for recipe in recipes])


def _server() -> EmbeddedServer:
    from goldloop.labeling.server import EmbeddedServer
    from goldloop.workspace import Workspace

    workspace = Workspace.open()
    media = workspace.media.root.parent
    return EmbeddedServer(workspace.label_studio, workspace.environment.cache, media)
