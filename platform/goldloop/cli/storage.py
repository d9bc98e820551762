"""Versions at rest and on the move: `gc | publish | fetch`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from goldloop.cli.data import VERSION
from goldloop.cli.display import AS_JSON, progress, show_facts, show_json, show_table

if TYPE_CHECKING:
    from goldloop.dataset.travel import Traffic

URL = typer.Argument(
    ..., metavar="URL", help="A folder, s3://..., gs://..., hf://datasets/USER/NAME ...", show_default=False
)


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (gc, publish, fetch):
        app.command()(command)


def gc(
    name: str = typer.Argument(None, help="A recipe's name; by default all.", show_default=False),
    keep: int = typer.Option(
        None, "--keep", min=1, help="Keep so many of the newest versions, and those in use; by default all."
    ),
    remove: bool = typer.Option(False, "--remove", help="Take it away; by default it is only shown."),
    as_json: bool = AS_JSON,
) -> None:
    """Show what no version, run or model needs, or take it away."""
    from goldloop import storage

    done = storage.gc(name, keep=keep, remove=remove, progress=progress())
    if as_json:
        show_json(done.facts())
        return
    if done.garbage:
        rows = [(each.path, each.why, f"{each.bytes / 1e6:,.1f} MB") for each in done.garbage]
        show_table(("what", "why", "gives back"), rows)
    verdict = "gone" if done.removed else "would go; `--remove` takes it away"
    show_facts({"garbage": f"{len(done.garbage)}, {done.bytes / 1e6:,.1f} MB {verdict}"})


def publish(version: str = VERSION, url: str = URL, as_json: bool = AS_JSON) -> None:
    """Send a version to a bucket, a folder or the Hub.

    Only what is missing there travels.
    """
    from goldloop import storage

    _show(storage.publish(version, url, progress=progress()), as_json)


def fetch(
    url: str = URL,
    version: str = typer.Argument(
        ..., help="NAME for the version published last, or NAME@DIGEST.", show_default=False
    ),
    as_json: bool = AS_JSON,
) -> None:
    """Have a published version here.

    Only what is missing here travels, and all of it is checked.
    """
    from goldloop import storage

    _show(storage.fetch(url, version, progress=progress()), as_json)


def _show(traffic: Traffic, as_json: bool) -> None:
    if as_json:
        show_json(traffic.facts())
        return
    travelled = f"{traffic.sent} of {traffic.files} files, {traffic.bytes / 1e6:,.1f} MB"
    show_facts({"version": traffic.version, "place": traffic.place, "travelled": travelled})
