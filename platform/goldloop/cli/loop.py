"""The stages of the loop, and all of them: `plan pull push collect commit train predict run`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from goldloop.cli.display import AS_JSON, OVERRIDES, RECIPE, progress, show_facts, show_json, show_table
from goldloop.errors import TrainingError

if TYPE_CHECKING:
    from goldloop.training.profile import Profile

FULL = typer.Option(False, "--full", help="Read everything again, whether it has changed or not.")
_SHOWN = 20


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (plan, pull, push, collect, commit, train, predict, run):
        app.command()(command)


def plan(
    recipe: Path = RECIPE, overrides: list[str] = OVERRIDES, full: bool = FULL, as_json: bool = AS_JSON
) -> None:
    """What pull and push would do, before anything happens."""
    from goldloop.planning import plan

    planned = plan(_load(recipe, overrides), progress=progress(), full=full)
    if as_json:
        show_json(planned.facts())
        return
    columns, rows = planned.table()
    show_table(columns, rows)
    show_facts(planned.remarks())
    for what in (planned.dropped, planned.quarantined):
        show_facts({f"  {subject}": reason for subject, reason in what.items()})


def pull(
    recipe: Path = RECIPE,
    overrides: list[str] = OVERRIDES,
    full: bool = FULL,
    requests: bool = typer.Option(
        False, "--requests", help="Only what the server kept of requests; no source is asked."
    ),
    as_json: bool = AS_JSON,
) -> None:
    """Sources -> catalog; what has not changed is not read again."""
    from goldloop.loop import pull
    from goldloop.state import left_out, quarantined

    loaded = _load(recipe, overrides)
    books = pull(loaded, progress=progress(), full=full, requests=requests)
    dropped, scrubbed = left_out(loaded.name)
    if as_json:
        bad = quarantined(loaded.name)
        show_json({"balance": asdict(books), "dropped": dropped, "scrubbed": scrubbed, "quarantined": bad})
        return
    bad = quarantined(loaded.name, limit=_SHOWN)
    counts = {"dropped": dropped, "scrubbed": scrubbed}
    told = {what: _told(count) for what, count in counts.items() if count}
    show_facts({"addresses": books, **told, **{f"  {subject}": reason for subject, reason in bad.items()}})
    more = books.outcomes.get("quarantined", 0) - len(bad)
    if more:
        typer.echo(f"  ... and {more} more: `goldloop pull {recipe} --json` lists them all")


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counts.items())


def push(recipe: Path = RECIPE, overrides: list[str] = OVERRIDES, as_json: bool = AS_JSON) -> None:
    """Catalog -> Label Studio tasks, the most useful first."""
    from goldloop.loop import push

    pushed = push(_load(recipe, overrides), progress=progress())
    _show(
        as_json,
        asdict(pushed),
        {"new tasks": pushed.created, "items": pushed.balance, "annotate at": pushed.address},
    )


def collect(
    recipe: Path = RECIPE,
    overrides: list[str] = OVERRIDES,
    full: bool = typer.Option(False, "--full", help="Fetch everything again, not only what has changed."),
    as_json: bool = AS_JSON,
) -> None:
    """Label Studio -> annotations; only what changed is fetched."""
    from goldloop.loop import collect

    books = collect(_load(recipe, overrides), progress=progress(), full=full)
    _show(as_json, asdict(books), {"annotations": books.annotations, "tasks": books.balance})


def commit(
    recipe: Path = RECIPE,
    overrides: list[str] = OVERRIDES,
    message: str = typer.Option(None, "-m", "--message", help="What this version is about."),
    grow_test: bool = typer.Option(False, "--grow-test", help="Take new items into a frozen test split."),
    as_json: bool = AS_JSON,
) -> None:
    """Annotations -> dataset version NAME@DIGEST."""
    from goldloop.loop import commit

    version = commit(_load(recipe, overrides), progress=progress(), message=message, grow_test=grow_test)
    _show(
        as_json, version.facts(), {"version": version.ref, "rows": version.counts, "folder": version.folder}
    )


def train(
    recipe: Path = RECIPE,
    overrides: list[str] = OVERRIDES,
    profile: bool = typer.Option(
        False, "--profile", help="Say what a step waits for; the model is the same."
    ),
    as_json: bool = AS_JSON,
) -> None:
    """Train on the latest version, or go on with a killed run."""
    from goldloop.loop import train

    run = train(_load(recipe, overrides), progress=progress(), profile=profile)
    facts = {"run": run.id, "result": run.summary(), "folder": run.folder, "report": run.report}
    found = _profiled(run.folder) if profile else None
    if as_json:
        show_json({**asdict(run), "report": run.report, "profile": None if found is None else asdict(found)})
        return
    show_facts(facts)
    if found is not None:
        _show_profile(found, run.folder)


def _profiled(folder: Path) -> Profile:
    from goldloop.training.profile import Profile

    found = Profile.read(folder)
    if found is None:
        raise TrainingError(
            "no step was profiled",
            where=folder,
            remedy="A run that is finished, or has too few steps left, has none to look at: profile it from "
            "its start, such as with another `training.seed`",
        )
    return found


def _show_profile(profile: Profile, folder: Path) -> None:
    from goldloop.training.profile import TRACE_FILE

    rows = [
        (name, f"{seconds * 1000:,.2f} ms", f"{share:.1%}")
        for name, seconds, share in profile.rows().values()
    ]
    rows.append(("a whole step", f"{profile.seconds * 1000:,.2f} ms", ""))
    title = f"Where a step's time goes (mean of {profile.steps} steps)"
    show_table(("part", "time", "share"), rows, title)
    found = profile.bottleneck()
    show_facts({"found": found.finding, "remedy": found.remedy, "trace": folder / TRACE_FILE})


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
