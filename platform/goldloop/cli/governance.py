"""Accountability: `audit | lineage | forget | keys | sign`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from goldloop.cli.data import VERSION
from goldloop.cli.display import AS_JSON, progress, show_facts, show_json, show_table, show_tree


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (audit, lineage, forget, keys, sign):
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
    """Sign a version, once it has been verified.

    The key is that of GOLDLOOP_SIGNING_KEY.
    """
    from goldloop import governance
    from goldloop.dataset.certificate import signer_of

    signed = governance.sign(version)
    facts = {"version": signed.ref, "signed by": signer_of(signed.folder)}
    if as_json:
        show_json(facts)
    else:
        show_facts(facts)


def lineage(
    what: str = typer.Argument(
        ...,
        help="A model, a version NAME@DIGEST, a run; or an item: its key, its address, or a file of it.",
        show_default=False,
    ),
    item: str = typer.Option(None, help="Of a model, version or run: tell of this item.", show_default=False),
    items: int = typer.Option(5, "--items", min=0, help="Of a model, version or run: tell of so many items."),
    openlineage: bool = typer.Option(False, "--openlineage", help="Print it as OpenLineage events."),
    as_json: bool = AS_JSON,
) -> None:
    """What something came from, and what came from it.

    It leads down to annotators' acts and source bytes.
    """
    from goldloop import governance

    found = governance.lineage(what, item=item, most=items)
    if openlineage:
        show_json(governance.openlineage(found))
    elif as_json:
        show_json(found.facts())
    else:
        show_tree(found.subject, {"came from": found.back, "led to": found.forward})


def forget(
    key: str | None = typer.Argument(
        None, help="The whole key of the content; without one, what was forgotten so far.", show_default=False
    ),
    reason: str = typer.Option("", help="Why; kept with the tombstone, so let it name nobody."),
    apply: bool = typer.Option(False, "--apply", help="Erase it; without, only tell what would go."),
    as_json: bool = AS_JSON,
) -> None:
    """Erase a content from everywhere; tell what to retrain.

    From versions, caches, exports, the catalog and Label Studio.
    """
    from goldloop import erasure

    if key is None:
        _show_tombstones(as_json)
        return
    told = erasure.forget(key, reason=reason, apply=apply, progress=progress())
    if as_json:
        show_json(told.facts())
    else:
        rows = [(place.kind, place.where, place.what) for place in told.places]
        show_table(
            ("", "where", "what"), rows, "It was erased from" if told.applied else "It would be erased from"
        )
        show_facts(
            {
                "to retrain": ", ".join(told.retrain) or "no model has learned from it",
                **({"lose their signature": ", ".join(told.unsigned)} if told.unsigned else {}),
                **({} if told.applied else {"to erase it": f"goldloop forget {key} --apply"}),
            }
        )
    for place in told.left:
        typer.echo(f"left for people to erase: {place}", err=True)
    if told.left:
        raise typer.Exit(1)


def _show_tombstones(as_json: bool) -> None:
    from goldloop import erasure

    found = erasure.tombstones()
    if as_json:
        show_json([stone.facts() for stone in found])
        return
    rows = [
        (stone.key, stone.asked_at, stone.actor, stone.reason, stone.gone_at or "not all of it is gone")
        for stone in found
    ]
    show_table(("key", "asked", "by", "reason", "gone"), rows)


def _short(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_told(value)}" for name, value in facts.items())


def _told(value: Any) -> str:
    return f"({_short(value)})" if isinstance(value, Mapping) else str(value)
