"""Requests that the server kept, as a source of their recipe: behind its own ones, where there are any.

<workspace>/production/NAME/<day>/...    written by the server, see `serving/samples.py`
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection, select

from goldloop import __version__, wiring
from goldloop.catalog import stages
from goldloop.catalog.tables import addresses
from goldloop.connectors import _intake as intake
from goldloop.connectors._intake import Looked, Source
from goldloop.connectors._requests import Requests, stem_of
from goldloop.recipe import Recipe, digest_of
from goldloop.workspace import Workspace

NAME = "production"
"""The source's name."""


def folder_of(workspace: Workspace) -> Path:
    """Where the server keeps requests, by recipe."""
    return workspace.root / "production"


def sources(recipe: Recipe, workspace: Workspace) -> list[Source]:
    """All sources of a recipe: its own, and requests that were kept."""
    kept = folder_of(workspace) / recipe.name
    return [*wiring.sources(recipe), *([_source(recipe, kept)] if kept.is_dir() else [])]


def look(connection: Connection, recipe: Recipe, workspace: Workspace, *, full: bool = False) -> Looked:
    """As `intake.look`, of requests alone: all other sources stay as they were found last, and are not asked.

    So the server needs to know nothing of them, whose recipe may be another by now than its model's.
    """
    before = (stages.result_of(connection, recipe.name, "pull") or {}).get("sources", {})
    source = _source(recipe, folder_of(workspace) / recipe.name)
    own = intake.look(connection, recipe.name, [source], full=full)
    others = {name: facts for name, facts in before.items() if name != NAME}
    # Of sources that are not read nothing but the name is wanted.
    named = [Source(name, source.connector, facts["reading"]) for name, facts in others.items()]
    return Looked([*named, source], own.changed, {**others, **own.facts}, own.trusted)


def files_of(connection: Connection, workspace: Workspace, key: str) -> Iterator[Path]:
    """The kept requests with a content, or of which it was made by cleaning."""
    root = folder_of(workspace)
    yield from root.glob(f"*/*/{key}.*")
    query = select(addresses.c.recipe, addresses.c.uri).where(
        addresses.c.source == NAME, addresses.c.key == key
    )
    for row in connection.execute(query):
        yield from root.glob(f"{row.recipe}/{stem_of(row.uri)}.*")


def drop_forgotten(connection: Connection, recipe: str, workspace: Workspace) -> None:
    """Take away what was asked again after it had been forgotten: the catalog has not taken it in."""
    query = select(addresses.c.uri).where(
        addresses.c.recipe == recipe, addresses.c.source == NAME, addresses.c.outcome == "forgotten"
    )
    for uri in connection.execute(query).scalars():
        for path in folder_of(workspace).glob(f"{recipe}/{stem_of(uri)}.*"):
            path.unlink(missing_ok=True)


def _source(recipe: Recipe, folder: Path) -> Source:
    section = wiring.fields(recipe)
    reading = digest_of([section["task"], section["cleaning"], __version__])
    return Source(NAME, Requests(Requests.Config(kind=NAME, folder=folder)), reading)
