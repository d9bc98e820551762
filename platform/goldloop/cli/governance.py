"""Accountability: `audit | keys | sign`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from goldloop.cli.data import VERSION
from goldloop.cli.display import AS_JSON, show_facts, show_json, show_table


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (audit, keys, sign):
        app.command()(command)


def audit(
    command: str = typer.Option(None, help="Acts of this command alone.", show_default=False),
    recipe: str = typer.Option(None, help="Acts on this recipe alone.", show_default=False),
    actor: str = typer.Option(None, help="Acts of this one alone.", show_default=False),
    since: str = typer.Option(None, help="From this time on, such as 2026-07-01.", show_default=False),
    last: int = typer.Option(None, min=0, help="So many at most.", show_default=False),
    verify: bool = typer.Option(False, "--verify", help="Hold the log against its chain and its anchor."),
    head: str = typer.Option(
        None, help="Where the log ended once, NUMBER:HASH; verify that too.", show_default=False
    ),
    as_json: bool = AS_JSON,
) -> None:
    """Who did what, when, from what and with what outcome."""
    from goldloop import governance

    found = governance.audit(
        command=command, recipe=recipe, actor=actor, since=since, last=last, verify=verify, head=head
    )
    if as_json:
        show_json(found.facts())
    elif found.faults:
        for fault in found.faults:
            typer.echo(f"audit log: {fault}", err=True)
    elif found.faults is not None:
        show_facts({"audit log": "is whole", "head": found.head})
    else:
        columns = ("", "ended", "actor", "command", "recipe", "from", "outcome", "gave")
        rows = [
            (
                entry.number, entry.ended[:19], entry.actor, entry.command, entry.recipe or "",
                _short(entry.inputs), entry.error or entry.outcome, _short(entry.outputs),
            )
            for entry in found.entries
        ]  # fmt: skip
        show_table(columns, rows)
        show_facts({"head": found.head})
    if found.faults:
        raise typer.Exit(1)


def keys(
    new: Path = typer.Option(
        None, help="Make a signing key in this file, for GOLDLOOP_SIGNING_KEY.", show_default=False
    ),
    as_json: bool = AS_JSON,
) -> None:
    """The keys that certificates are signed with and verified by."""
    from goldloop import governance

    found = governance.keys(new)
    if as_json:
        show_json(asdict(found))
        return
    show_facts(
        {
            "signs with": found.signing or "no key: set GOLDLOOP_SIGNING_KEY, or make one with --new FILE",
            "trusts": ", ".join(found.trusted) or "anyone: set GOLDLOOP_TRUSTED_KEYS to public keys",
        }
    )


def sign(version: str = VERSION, as_json: bool = AS_JSON) -> None:
    """Vouch for a version with the key of GOLDLOOP_SIGNING_KEY, once it has been verified."""
    from goldloop import governance
    from goldloop.dataset.certificate import signer_of

    signed = governance.sign(version)
    facts = {"version": signed.ref, "signed by": signer_of(signed.folder)}
    if as_json:
        show_json(facts)
    else:
        show_facts(facts)


def _short(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_told(value)}" for name, value in facts.items())


def _told(value: Any) -> str:
    return f"({_short(value)})" if isinstance(value, Mapping) else str(value)
