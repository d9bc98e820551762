"""The loop kept going: `watch drift`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from goldloop.cli.display import AS_JSON, OVERRIDES, RECIPE, progress, show_facts, show_json, show_table

if TYPE_CHECKING:
    from goldloop.controlling import Passed
    from goldloop.drifting import Drift

_SHOWN = 6
_SMALLEST = 0.0001


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (watch, drift):
        app.command()(command)


def watch(
    recipe: Path = RECIPE,
    overrides: list[str] = OVERRIDES,
    once: bool = typer.Option(False, "--once", help="One pass and no more, as for cron."),
    dry_run: bool = typer.Option(
        False, "--dry-run", help="What a pass would decide, by what was pulled and collected last."
    ),
    decisions: bool = typer.Option(False, "--decisions", help="What was decided so far, and why."),
    host: str = typer.Option("127.0.0.1", "--host", help="Where to listen; Label Studio must reach it."),
    port: int = typer.Option(0, "--port", help="0 takes a free one."),
    every: float = typer.Option(60.0, "--every", help="Seconds after which to look without an event."),
    as_json: bool = AS_JSON,
) -> None:
    """Collect, and go round the loop whenever there is reason to.

    It listens to Label Studio as annotators work, until it is interrupted.
    """
    from goldloop.recipe import load

    loaded = load(recipe, overrides or ())
    if decisions:
        _show_decisions(loaded, as_json)
    elif dry_run:
        _dry_run(loaded, as_json)
    elif once:
        _once(loaded, as_json)
    else:
        from goldloop.cli.interrupts import hear_termination
        from goldloop.watching import watch

        hear_termination()

        def show(passed: Passed) -> None:
            if as_json:
                show_json(passed.facts())

        with suppress(KeyboardInterrupt):
            watch(loaded, progress=progress(), host=host, port=port, every=every, passed=show)


def _show_decisions(recipe: Any, as_json: bool) -> None:
    from goldloop.deciding import decisions

    entries = decisions(recipe)
    if as_json:
        show_json([{"at": entry.ended, **entry.outputs, "figures": entry.inputs} for entry in entries])
        return
    rows = [
        (
            entry.ended[:19],
            entry.outputs.get("decision", entry.outcome),
            entry.outputs.get("reason", ""),
            ", ".join(f"{name} {value}" for name, value in entry.inputs.items()),
        )
        for entry in entries
    ]
    show_table(("when (UTC)", "decision", "why", "figures"), rows)


def _dry_run(recipe: Any, as_json: bool) -> None:
    from goldloop.controlling import foresee
    from goldloop.workspace import Workspace

    decision = foresee(recipe, Workspace.open(), progress())
    facts = {"would": decision.action, "as": decision.told, **decision.figures}
    if as_json:
        show_json({**facts, "because": decision.reasons, "against": decision.against})
    else:
        show_facts(facts)


def _once(recipe: Any, as_json: bool) -> None:
    from goldloop.rounds.decision import FAILED
    from goldloop.watching import watch_once

    passed = watch_once(recipe, progress=progress())
    facts = passed.facts()
    if as_json:
        show_json(facts)
    else:
        done = passed.round
        outcome = {} if done is None else {f"round {done.number}": done.outcome}
        show_facts({"decision": passed.decision.action, "as": passed.decision.told, **outcome})
    if passed.round is not None and passed.round.outcome in FAILED:
        raise typer.Exit(1)


def drift(recipe: Path = RECIPE, overrides: list[str] = OVERRIDES, as_json: bool = AS_JSON) -> None:
    """Whether what came since is like what the champion learned.

    Items, predictions and labels are held against the champion's version; nothing is changed.
    """
    from goldloop.drifting import drift
    from goldloop.recipe import load

    found = drift(load(recipe, overrides or ()), progress=progress())
    if as_json:
        show_json(found.facts())
    else:
        _show_drift(found)


def _show_drift(found: Drift) -> None:
    from goldloop.monitoring.shifts import MEASURES

    rows = [
        (
            shift.what,
            {"drift": "DRIFT", "none": "none", "unknown": "not known"}[shift.state],
            f"{shift.reference} / {shift.recent}" if shift.reference else "",
            "" if shift.distance is None else f"{shift.distance:.3f} {MEASURES[shift.what]}",
            _chance(shift.chance),
            _chance(shift.adjusted),
            shift.why,
        )
        for shift in found.shifts
    ]
    columns = ("what", "", "items before / since", "how far", "p", "held together", "")
    title = (
        f"Drift since {found.version}: at most {found.false_alarms:.1%} false alarms of all tests together"
    )
    show_table(columns, rows, title)
    facts: dict[str, Any] = {"came since": f"{found.came:,} items", "seen by": found.seen_by}
    promised = found.foreseen
    if promised is not None:
        told = f"{promised.value:.3f} ({promised.low:.3f} to {promised.high:.3f})"
        facts["accuracy to be expected"] = (
            told if promised.holds else f"cannot be told ({promised.value:.3f})"
        )
        facts["as"] = promised.condition
    if found.found and found.examples:
        facts["least like before"] = ", ".join(key[:12] for key in found.examples[:_SHOWN])
    show_facts({**facts, "champion": found.champion or "-", "written to": found.folder})


def _chance(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if value >= _SMALLEST else f"< {_SMALLEST}"
