"""What `goldloop watch` knows when it decides, what it keeps in mind, and what it writes down of it.

The memory is one row of the catalog, written whole: the rounds, which items and which drift they answered.
Every decision is a line of the audit log with its reason and its figures; one that is like the one before,
but for the figures, is not written again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop import wiring
from goldloop.audit_log.chain import Entry
from goldloop.catalog import ledger, stages
from goldloop.catalog.answered import answered, ever_came, without_use
from goldloop.drifting import drift
from goldloop.errors import GoldloopError, VersionError
from goldloop.progress import Progress
from goldloop.recipe import Recipe
from goldloop.rounds.decision import Decision, Facts, Round, Seen
from goldloop.workspace import Workspace

if TYPE_CHECKING:
    from goldloop.dataset.version import Version

STAGE = "watch"
COMMAND = "decide"
_KEPT = 100
_MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Memory:
    """What is kept in mind between two decisions.

    Attributes:
        rounds: those that have ended, the latest last; the last hundred.
        open: the one that goes on.
        attempt_began: when its last attempt did.
        items: how many items had ever come when the last round ended that came to its end.
        seen: the drift that was seen last.
        answered: the drift that the last round answered which drift began.
        pulled_at, looked_at: when the sources, and the items, were last looked through.
        told: what of the last decision is not written again.
    """

    rounds: tuple[Round, ...] = ()
    open: Round | None = None
    attempt_began: float = 0.0
    items: int = 0
    seen: Seen | None = None
    answered: Seen | None = None
    pulled_at: float = 0.0
    looked_at: float = 0.0
    told: tuple[Any, ...] = field(default=())

    @classmethod
    def of(cls, recipe: Recipe, workspace: Workspace) -> Memory:
        """What was written down last."""
        with workspace.engine.connect() as connection:
            known = stages.result_of(connection, recipe.name, STAGE)
        if known is None:
            return cls()
        rounds = tuple(_round(each) for each in known["rounds"])
        opened = None if known["open"] is None else _round(known["open"])
        told = tuple(tuple(each) if isinstance(each, list) else each for each in known["told"])
        drifts = {name: _seen(known[name]) for name in ("seen", "answered")}
        return cls(**{**known, **drifts, "rounds": rounds, "open": opened, "told": told})

    def keep(self, recipe: Recipe, workspace: Workspace) -> Memory:
        """Write it down; returns it."""
        kept = replace(self, rounds=self.rounds[-_KEPT:])
        with workspace.engine.begin() as connection:
            stages.finish(connection, recipe.name, STAGE, recipe.digest(), asdict(kept))
        return kept


def facts_of(
    recipe: Recipe, workspace: Workspace, progress: Progress, memory: Memory
) -> tuple[Facts, Memory]:
    """What is known now, and what of it is to be kept in mind.

    Args:
        recipe: whose.
        workspace: where; sources and Label Studio have been asked already.
        progress: where to tell how far it is.
        memory: of before.
    """
    now, minutes = time.time(), recipe.watch.drift_minutes
    with workspace.engine.connect() as connection:
        came = ever_came(connection, recipe.name)
        tasks = ledger.balance(connection, recipe.name, "collect").outcomes
        waiting = ledger.balance(connection, recipe.name, "push").outcomes.get("waiting", 0)
    if minutes is not None and now - memory.looked_at >= minutes * _MINUTE:
        memory = replace(memory, looked_at=now, seen=_looked(recipe, workspace, progress) or memory.seen)
    opened = memory.open
    if opened is not None:
        opened = replace(opened, seconds=opened.seconds + _lasted(recipe, workspace, memory))
    facts = Facts(
        now=now,
        items=max(came - memory.items, 0),
        labels=_new_labels(recipe, workspace),
        idle=bool(waiting) and not tasks.get("open", 0),
        drift=memory.seen.beyond(memory.answered, recipe.drift.min_items) if memory.seen else (),
        rounds=memory.rounds,
        cut_off=opened,
    )
    return facts, memory


def alive(recipe: Recipe, workspace: Workspace) -> Path:
    """The file whose time of change is the last sign of life of a round that goes on."""
    folder = workspace.root / "watch"
    folder.mkdir(exist_ok=True)
    return folder / f"{recipe.name}.alive"


def write_down(
    recipe: Recipe, workspace: Workspace, what: str, told: str, figures: Mapping[str, Any], **more: Any
) -> None:
    """Make a decision a line of the audit log."""
    digest = recipe.digest()
    with workspace.audit.act(COMMAND, recipe=recipe.name, recipe_digest=digest, inputs=figures) as acting:
        acting.outputs = {"decision": what, "reason": told, **more}


def say(
    recipe: Recipe, workspace: Workspace, progress: Progress, decision: Decision, memory: Memory
) -> Memory:
    """Tell a decision and write it down, unless it is the one of before but for its figures."""
    if decision.same == memory.told:
        return memory
    progress.say(f"watch: {decision.action}: {decision.told}")
    names = {"because": list(decision.reasons), "against": list(decision.against)}
    write_down(recipe, workspace, decision.action, decision.told, decision.figures, **names)
    return replace(memory, told=decision.same)


def decisions(recipe: Recipe, workspace: Workspace | None = None) -> list[Entry]:
    """What was decided of a recipe's rounds and what came of them, by the audit log; oldest first."""
    entries = (workspace or Workspace.open()).audit.entries()
    return [entry for entry in entries if entry.command == COMMAND and entry.recipe == recipe.name]


def is_told(recipe: Recipe, workspace: Workspace, number: int) -> bool:
    """Whether the audit log says what came of a round."""
    return any(entry.inputs.get("round") == number for entry in decisions(recipe, workspace))


def _looked(recipe: Recipe, workspace: Workspace, progress: Progress) -> Seen | None:
    """A look for drift; None where nothing was committed yet that anything could have drifted from."""
    try:
        found = drift(recipe, workspace, progress)
    except VersionError:
        return None
    except GoldloopError as error:
        progress.say(f"watch: drift cannot be looked for: {error}")
        return None
    return Seen(version=found.version, names=found.found, came=found.came)


def _new_labels(recipe: Recipe, workspace: Workspace) -> int:
    """Labels of items that had none in the version that the latest model was trained on."""
    with workspace.engine.connect() as connection:
        labelled = answered(connection, recipe.name) - without_use(connection, recipe.name)
    version = _trained(recipe, workspace) if labelled else None
    if version is None:
        return len(labelled)
    lines = version.ledger().find(sorted(labelled))
    return sum(key not in lines or lines[key].outcome == "open" for key in labelled)


def _trained(recipe: Recipe, workspace: Workspace) -> Version | None:
    """The version of the latest model; without training, the latest version."""
    try:
        if recipe.training is None:
            return wiring.version_of(workspace, recipe.name, None)
        models = wiring.registry(workspace).models(recipe.name)
        return wiring.version_of(workspace, recipe.name, models[-1].version) if models else None
    except VersionError:
        return None


def _lasted(recipe: Recipe, workspace: Workspace, memory: Memory) -> float:
    """Seconds of an attempt that was cut off, to its last sign of life."""
    try:
        seen = alive(recipe, workspace).stat().st_mtime
    except FileNotFoundError:
        return 0.0
    return max(seen - memory.attempt_began, 0.0)


def _round(fields: Mapping[str, Any]) -> Round:
    return Round(**{**fields, "reasons": tuple(fields["reasons"])})


def _seen(fields: Mapping[str, Any] | None) -> Seen | None:
    return None if fields is None else Seen(**{**fields, "names": tuple(fields["names"])})
