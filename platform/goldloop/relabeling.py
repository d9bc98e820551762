"""`goldloop relabel`: doubtful labels go back into Label Studio, each once, with the reason.

    suspects -> asked, in the catalog -> open for one more person, in Label Studio -> collect -> commit

The next commit takes the later answer for the label and records what came of each: confirmed, changed, still
open. Until there is an answer, the item keeps its label. Items whose labels were imported get a task for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from goldloop import loop, wiring
from goldloop.acts import recorded
from goldloop.catalog import reopened, server_side
from goldloop.catalog.content import items_of
from goldloop.catalog.ledger import Balance, write_books
from goldloop.catalog.reopened import Request
from goldloop.progress import Progress, Silent
from goldloop.quality.suspects import Suspect, Suspects
from goldloop.recipe import Recipe
from goldloop.records import Annotation, Item, Outcome, Reopened
from goldloop.suspicion import Way, suspects
from goldloop.tasks import tasks
from goldloop.workspace import Workspace

if TYPE_CHECKING:
    from goldloop.labeling.session import Session


@dataclass(frozen=True, slots=True)
class Relabelled:
    """What a relabel did.

    Attributes:
        sent: how many tasks were opened now.
        balance: what became of every suspect: `sent`, `waiting` (for an answer), `reviewed` (was answered
            since it was sent before), `changed` (its label is another already), `skipped` (it has no task).
        address: where people look again.
    """

    sent: int
    balance: Balance
    address: str


@recorded
def relabel(
    recipe: Recipe,
    workspace: Workspace | None = None,
    progress: Progress | None = None,
    *,
    limit: int | None = None,
    tell: bool = False,
    way: Way = "auto",
    folds: int = 5,
) -> Relabelled:
    """Send the doubtful labels of a recipe's latest version back to annotators.

    Run again it sends nothing twice, and what a killed run has not sent.

    Args:
        recipe: its Label Studio project is where they go.
        workspace: where.
        progress: where to tell how far it is.
        limit: so many of the most doubtful labels, flagged or not; by default all that are flagged.
        tell: also tell what the model suggests, which influences the answer: it is then noted as given over
            a suggestion.
        way: how to judge, as `suspects` takes it.
        folds: how many, as `suspects` takes it.

    Raises:
        VersionError: there is no version yet.
        LabelStudioError: the server is down or refuses us.
    """
    workspace, progress = workspace or Workspace.open(), progress or Silent()
    with workspace.lock(recipe.name):
        found = suspects(recipe, workspace, progress, way=way, folds=folds)
        chosen = found.flagged if limit is None else found.items[:limit]
        session = wiring.session(recipe, workspace)
        # What a killed run has not sent; then all that is there already is known.
        sent = session.send_back(progress)
        loop.collect(recipe, workspace, progress)
        outcomes, requests = _sorted_out(recipe, workspace, session, found, chosen, progress, tell=tell)
        with workspace.engine.begin() as connection:
            reopened.ask(connection, session.place, requests)
        if requests:
            # With requests noted, the project's interface shows the reason.
            session = wiring.session(recipe, workspace)
        sent += session.send_back(progress)
        with workspace.engine.begin() as connection:
            books = write_books(connection, recipe.name, "relabel", len(chosen), outcomes)
    progress.say(f"relabel: {sent} tasks sent back; {books}")
    return Relabelled(sent, books, session.address)


def _sorted_out(
    recipe: Recipe,
    workspace: Workspace,
    session: Session,
    found: Suspects,
    chosen: Sequence[Suspect],
    progress: Progress,
    *,
    tell: bool,
) -> tuple[list[Outcome], list[Request]]:
    """What becomes of each suspect, and what is to be asked."""
    keys = {suspect.key for suspect in chosen}
    with workspace.engine.connect() as connection:
        items = {item.key: item for item in items_of(connection, recipe.name) if item.key in keys}
        acts = list(server_side.annotations_of(connection, recipe.name))
        before = {
            each.item.key: each.state
            for each in reopened.requests_of(connection, session.place, ["asked", "open", "closed"])
        }
    live = _with_tasks(recipe, session, [items[key] for key in keys if key in items], progress)
    if set(live) - {act.key for act in acts}:
        # Imported labels have become annotations of the tasks that were made for them.
        loop.collect(recipe, workspace, progress)
        with workspace.engine.connect() as connection:
            acts = list(server_side.annotations_of(connection, recipe.name))
    by_key: dict[str, list[Annotation]] = {}
    for act in acts:
        by_key.setdefault(act.key, []).append(act)
    present = _labels(recipe, workspace, items, by_key)
    outcomes, requests = [], []
    for suspect in chosen:
        outcome = _outcome(suspect, before, live, present)
        outcomes.append(outcome)
        if outcome.outcome == "sent" and suspect.key not in before:
            own = by_key.get(suspect.key, [])
            requests.append(
                Request(
                    Reopened(
                        key=suspect.key,
                        reason=_reason(recipe, found, suspect, tell=tell),
                        given=suspect.given,
                        known=frozenset((act.id, act.updated_at) for act in own),
                        shown_model=f"suspects of {found.version}" if tell else None,
                    ),
                    live[suspect.key],
                    len({act.annotator for act in own}),
                )
            )
    return outcomes, requests


def _with_tasks(
    recipe: Recipe, session: Session, items: Sequence[Item], progress: Progress
) -> Mapping[str, int]:
    """Key -> task id; those whose labels were imported get a task now, with the label as its annotation."""
    task = tasks.create(recipe.task)
    session.reconcile()
    with session.engine.connect() as connection:
        without = set(server_side.keys_without_task(connection, session.place))
    imported = [
        item
        for item in sorted(items, key=lambda item: item.key)
        if item.label_use == "imported" and item.label is not None and item.key in without
    ]
    if imported:

        def known(item: Item) -> list[dict[str, Any]]:
            return task.encode(item.label, item)

        session.push(imported, len(imported), task.task_data, known, progress)
    with session.engine.connect() as connection:
        live = server_side.tasks_of(connection, session.place)
    wanted = {item.key for item in items}
    return {key: task_id for key, task_id in live.items() if key in wanted}


def _labels(
    recipe: Recipe, workspace: Workspace, items: Mapping[str, Item], acts: Mapping[str, Sequence[Annotation]]
) -> dict[str, Any]:
    """Key -> target, as a commit would settle these items now."""
    from goldloop.quality.consensus import settle

    policy, reviewer = wiring.consensus(recipe, workspace)
    with workspace.engine.connect() as connection:
        sent = reopened.reopened_of(connection, recipe.name)
    settled = settle(
        tasks.create(recipe.task),
        items.values(),
        [act for key in items for act in acts.get(key, ())],
        policy if policy != "dawid-skene" else "majority",
        recipe.labeling.annotators_per_item,
        reviewer=reviewer,
        reopened=sent,
    )
    return {label.key: label.target for label in settled.labels}


def _outcome(
    suspect: Suspect, before: Mapping[str, str], live: Mapping[str, int], present: Mapping[str, Any]
) -> Outcome:
    key = suspect.key
    if before.get(key) == "closed":
        return Outcome(subject=key, outcome="reviewed", reason="it was looked at again since it was doubted")
    if before.get(key) == "open":
        return Outcome(subject=key, outcome="waiting", reason="it waits for an answer")
    if key not in live:
        return Outcome(subject=key, outcome="skipped", reason="it has no task in Label Studio")
    if key in present and present[key] != suspect.given:
        return Outcome(subject=key, outcome="changed", reason="its label is another since the version")
    return Outcome(subject=key, outcome="sent", reason=suspect.reason)


def _reason(recipe: Recipe, found: Suspects, suspect: Suspect, *, tell: bool) -> str:
    """What annotators read."""
    if tell:
        return f"Please look again. A model that has not seen this item doubts its label: {suspect.reason}."
    task = tasks.create(found.task)
    return (
        "Please look again, and answer by what you see. A model that has learned from the other items doubts "
        f"the present label: {task.describe(suspect.given)}."
    )
