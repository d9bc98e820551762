"""The stages of the loop, and all of them: `pull push collect commit train predict run`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from goldloop.cli.display import AS_JSON, OVERRIDES, RECIPE, progress, show_facts, show_json


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (pull, push, collect, commit, train, predict, run):
        app.command()(command)


def pull(recipe: Path = RECIPE, overrides: list[str] = OVERRIDES, as_json: bool = AS_JSON) -> None:
    """Sources -> catalog."""
    from goldloop.loop import pull
    from goldloop.state import quarantined

    loaded = _load(recipe, overrides)
    books = pull(loaded, progress=progress())
    bad = quarantined(loaded.name)
    if as_json:
        show_json({"balance": asdict(books), "quarantined": bad})
        return
    show_facts({"addresses": books, **{f"  {subject}": reason for subject, reason in list(bad.items())[:20]}})
    if len(bad) > 20:
        typer.echo(f"  ... and {len(bad) - 20} more: `goldloop pull {recipe} --json` lists them all")


def push(recipe: Path = RECIPE, overrides: list[str] = OVERRIDES, as_json: bool = AS_JSON) -> None:
    """Catalog -> Label Studio tasks, the most useful first."""
    from goldloop.loop import push

    pushed = push(_load(recipe, overrides), progress=progress())
    _show(
        as_json,
        asdict(pushed),
        {"new tasks": pushed.created, "items": pushed.balance, "annotate at": pushed.address},
    )


def collect(recipe: Path = RECIPE, overrides: list[str] = OVERRIDES, as_json: bool = AS_JSON) -> None:
    """Label Studio -> annotations."""
    from goldloop.loop import collect

    books = collect(_load(recipe, overrides), progress=progress())
    _show(as_json, asdict(books), {"annotations": books.annotations, "tasks": books.balance})


def commit(
    recipe: Path = RECIPE,
    overrides: list[str] = OVERRIDES,
    message: str = typer.Option(None, "-m", "--message", help="What this version is about."),
    as_json: bool = AS_JSON,
) -> None:
    """Annotations -> dataset version NAME@DIGEST."""
    from goldloop.loop import commit

    version = commit(_load(recipe, overrides), progress=progress(), message=message)
    _show(
        as_json, version.facts(), {"version": version.ref, "rows": version.counts, "folder": version.folder}
    )


def train(recipe: Path = RECIPE, overrides: list[str] = OVERRIDES, as_json: bool = AS_JSON) -> None:
    """Train on the latest version, or go on where a run was killed."""
    from goldloop.loop import train

    run = train(_load(recipe, overrides), progress=progress())
    _show(as_json, asdict(run), {"run": run.id, "result": run.summary(), "folder": run.folder})


def predict(recipe: Path = RECIPE, overrides: list[str] = OVERRIDES, as_json: bool = AS_JSON) -> None:
    """Champion -> pre-annotations on open tasks."""
    from goldloop.loop import predict

    written = predict(_load(recipe, overrides), progress=progress())
    _show(as_json, {"written": written}, {"pre-annotations written": written})


def run(recipe: Path = RECIPE, overrides: list[str] = OVERRIDES, as_json: bool = AS_JSON) -> None:
    """The whole loop, leaving out what is up to date."""
    from goldloop.loop import run
    from goldloop.state import turn_facts

    turn = run(_load(recipe, overrides), progress=progress())
    facts = turn_facts(turn)
    _show(as_json, facts, facts)


def _load(recipe: Path, overrides: list[str] | None) -> Any:
    from goldloop.recipe import load

    return load(recipe, overrides or ())


def _show(as_json: bool, payload: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    if as_json:
        show_json(payload)
    else:
        show_facts(facts)
