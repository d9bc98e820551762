"""What the catalog and its neighbours say of the loop: for `goldloop status` and the ends of commands."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from goldloop import wiring
from goldloop.catalog import ledger
from goldloop.catalog.tables import items
from goldloop.results import Turn
from goldloop.workspace import Workspace


def recipes(workspace: Workspace) -> list[str]:
    """Names of all recipes that were ever pulled here."""
    with workspace.engine.connect() as connection:
        return list(connection.execute(select(items.c.recipe).distinct().order_by(items.c.recipe)).scalars())


def survey(workspace: Workspace) -> list[dict[str, Any]]:
    """How far each recipe's loop is: its items, tasks, latest version and champion."""
    from goldloop.dataset import version as versions

    found = []
    for name in recipes(workspace):
        with workspace.engine.connect() as connection:
            tasks = ledger.balance(connection, name, "collect")
            addresses = ledger.balance(connection, name, "pull")
        known = versions.versions(workspace.versions, name)
        found.append(
            {
                "recipe": name,
                "items": addresses.outcomes.get("pulled", 0),
                "quarantined": addresses.outcomes.get("quarantined", 0),
                "tasks": tasks.total,
                "labelled": tasks.outcomes.get("labelled", 0),
                "open": tasks.outcomes.get("open", 0),
                "version": known[-1].ref if known else "-",
                "champion": _champion(workspace, name),
            }
        )
    return found


def left_out(recipe: str, workspace: Workspace | None = None) -> tuple[dict[str, int], dict[str, int]]:
    """What cleaning dropped of the last pull, and what it took out of texts: why or what -> how often."""
    from goldloop.cleaning.report import summary

    workspace = workspace or Workspace.open()
    with workspace.engine.connect() as connection:
        found = summary(connection, recipe)
    return found.dropped, found.scrubbed


def quarantined(
    recipe: str, workspace: Workspace | None = None, *, limit: int | None = None
) -> dict[str, str]:
    """Address -> reason, of what the last pull could not use; at most `limit` of it, if given."""
    workspace = workspace or Workspace.open()
    with workspace.engine.connect() as connection:
        return {
            entry.subject: entry.reason
            for entry in ledger.entries(connection, recipe, "pull", "quarantined", limit)
        }


def turn_facts(turn: Turn) -> dict[str, Any]:
    """One turn of the loop in a line for each stage that ran."""
    facts: dict[str, Any] = {"addresses": str(turn.pulled)}
    if turn.pushed is not None and turn.collected is not None:
        facts |= {
            "items": str(turn.pushed.balance),
            "tasks": str(turn.collected.balance),
            "annotations": turn.collected.annotations,
            "annotate at": turn.pushed.address,
        }
    if turn.waiting is not None:
        return {**facts, "waiting": turn.waiting}
    if turn.version is not None:
        facts["version"] = turn.version.ref
    if turn.run is not None:
        facts["run"] = f"{turn.run.id}, {turn.run.summary()}"
        facts["run report"] = str(turn.run.report)
    if turn.report is not None:
        facts["test"] = turn.report.headline()
    if turn.promotion is not None:
        facts |= {f"gate {verdict.gate}": verdict.explanation for verdict in turn.promotion.verdicts}
        facts["model"] = f"{turn.promotion.model.ref}, {'' if turn.promotion.promoted else 'not '}champion"
        facts["pre-annotated"] = turn.preannotated
    return facts


def _champion(workspace: Workspace, name: str) -> str:
    # Asking MLflow costs seconds; a workspace without any run has no champion.
    if not (workspace.runs / name).exists():
        return "-"
    champion = wiring.registry(workspace).champion(name)
    return champion.ref if champion is not None else "-"
