"""How labels become a version: all that there are, or those alone that are new since the last one.

The last commit left what it had settled, and from what (`dataset/settled.py`). If only little has changed
since, what people answered is read, settled, placed and written of that alone; the version is the one that a
commit of everything would have made. Else, or if anything was asked otherwise, everything is settled.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Container, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop import alike, wiring
from goldloop.catalog import fresh, server_side
from goldloop.catalog.content import item_states, items_of
from goldloop.catalog.ledger import Balance, amend_books, balance, by_source, write_books
from goldloop.catalog.reopened import reopened_of
from goldloop.dataset import history
from goldloop.dataset.ledger_lines import FORGOTTEN
from goldloop.dataset.migrations import MIGRATIONS
from goldloop.dataset.placement import WITHHELD
from goldloop.dataset.tally import AS_OF
from goldloop.progress import Progress
from goldloop.recipe import Recipe, digest_of
from goldloop.records import Outcome, Reopened
from goldloop.source_digest import source_digest
from goldloop.tasks import tasks
from goldloop.workspace import Workspace

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from goldloop.dataset.past import Ground
    from goldloop.dataset.settled import Settled
    from goldloop.dataset.version import Version
    from goldloop.quality.consensus import Settlement

_FEW = 0.05
"""Once more than this share of the items has changed, everything is settled, and figures of agreement that
bear on all answers are computed anew."""


@dataclass(frozen=True)
class Asked:
    """What a commit is asked to do.

    Attributes:
        recipe: what is labelled, and how it is split.
        workspace: where.
        progress: where to tell how far it is.
        message: what the version is about.
        grow_test: take new items into a test split that is frozen.
    """

    recipe: Recipe
    workspace: Workspace
    progress: Progress
    message: str | None
    grow_test: bool

    @property
    def name(self) -> str:
        """The recipe's."""
        return self.recipe.name

    @property
    def remembered(self) -> Path:
        """Where it is kept what was settled."""
        return self.workspace.cache / "settled" / f"{self.name}.arrow"


@dataclass(frozen=True, slots=True)
class Made:
    """What a commit made, before its books are written.

    Attributes:
        version: of the dataset.
        total: how many items it considers.
        outcomes: one for each of them; if `removed` is given, for those alone that were settled anew.
        removed: keys of items that are no longer considered; None: everything was settled.
        settled: what to remember; None where nothing new was written.
    """

    version: Version
    total: int
    outcomes: list[Outcome]
    removed: set[str] | None
    settled: Settled | None


def make(asked: Asked) -> Made:
    """Make the version. The caller holds the recipe's lock.

    Raises:
        VersionError, LedgerError: as `goldloop.commit`.
    """
    return _of_changes(asked) or _of_everything(asked)


def finish(asked: Asked, made: Made) -> Balance:
    """Write the books of a commit, and remember what it settled."""
    with asked.workspace.engine.begin() as connection:
        if made.removed is None:
            books = write_books(connection, asked.name, "commit", made.total, made.outcomes)
        else:
            books = amend_books(connection, asked.name, "commit", made.total, made.outcomes, made.removed)
    if made.settled is not None:
        made.settled.save(asked.remembered)
    return books


def _of_everything(asked: Asked) -> Made:
    from goldloop.dataset.division import told_apart
    from goldloop.dataset.settled import Settled
    from goldloop.dataset.whole import former, placement, write
    from goldloop.quality.consensus import settle

    recipe, workspace, progress = asked.recipe, asked.workspace, asked.progress
    task = tasks.create(recipe.task)
    with workspace.engine.connect() as connection:
        states = item_states(connection, asked.name)
        items = {item.key: item for item in items_of(connection, asked.name, ("current", "gone"))}
        annotations = list(server_side.annotations_of(connection, asked.name))
        sent_back = reopened_of(connection, asked.name)
        balances = _balances(connection, asked.name)
        sources = by_source(connection, asked.name)
        marks = fresh.marks(connection, asked.name).of
    wanted = {act.key for act in annotations} | {key for key in items if states[key] == "current"}
    items = {key: item for key, item in items.items() if key in wanted}
    considered = Counter(item.source for key, item in items.items() if states[key] == "current")
    accounts = wiring.account_for(asked.name, sources, considered)
    given = (act for act in annotations if act.key in items)
    acts = told_apart(workspace.versions / asked.name, given)
    policy, reviewer = wiring.consensus(recipe, workspace)
    if reviewer is not None and not any(act.annotator == reviewer for act in annotations):
        progress.say(f"commit: the reviewer {reviewer} has not answered anything yet")
    need = recipe.labeling.annotators_per_item
    settled = settle(task, items.values(), acts, policy, need, reviewer=reviewer, reopened=sent_back)
    keys = {label.key for label in settled.labels} | former(workspace.versions, asked.name)
    near = alike.near_duplicates(recipe, workspace, keys, progress)
    placed = placement(
        workspace.versions,
        asked.name,
        task,
        settled.labels,
        items,
        recipe.dataset.split,
        near or (),
        grow_test=asked.grow_test,
    )
    for line in placed.in_words(near or ()):
        progress.say(f"commit: {line}")
    known = _listed(asked)
    version = write(
        workspace.versions,
        asked.name,
        task,
        settled.labels,
        items,
        workspace.media,
        recipe.dataset,
        outcomes=settled.outcomes,
        balances={**balances, **accounts},
        recipe_digest=recipe.digest(),
        message=asked.message,
        agreement=settled.agreement.facts(),
        answers=settled.answers,
        reviewed=settled.reviewed,
        cliques=near,
        placed=placed,
    )
    # A version that was there already may have come of other answers with the same labels.
    remembered = (
        None
        if version.digest in known
        else Settled(version.digest, _settings(asked), 0, marks, settled.alike)
    )
    return Made(version, len(items), placed.settled(settled.outcomes), None, remembered)


def _of_changes(asked: Asked) -> Made | None:
    """The same of what is new alone; None where everything must be settled."""
    from goldloop.dataset.amendment import amend, amendable
    from goldloop.dataset.settled import Settled

    recipe, workspace = asked.recipe, asked.workspace
    before = Settled.load(asked.remembered)
    if before is None or before.settings != _settings(asked) or not _is_by_item(recipe):
        return None
    task = tasks.create(recipe.task)
    ground = amendable(workspace.versions, asked.name, task, before.version)
    if ground is None:
        return None
    with workspace.engine.connect() as connection:
        found = _Fresh.of(connection, asked, before, ground)
        if found is None:
            return None
        balances = _balances(connection, asked.name)
        accounts = wiring.account_for(asked.name, by_source(connection, asked.name), found.marks.sources)
        settled = _settle(connection, asked, found)
        items = {item.key: item for item in fresh.items_among(connection, asked.name, found.keys)}
    labelled = {label.key for label in settled.labels}
    told = found.keys | found.removed
    near = alike.near_duplicates_of(recipe, workspace, labelled, _standing(asked, told), asked.progress)
    remembered = before.after(found.marks.of, found.keys, settled.alike)
    known = _listed(asked)
    amended = amend(
        workspace.versions,
        asked.name,
        task,
        settled.labels,
        items,
        workspace.media,
        recipe.dataset,
        outcomes=[each for each in settled.outcomes if each.subject not in labelled],
        removed=sorted(found.removed),
        balances={**balances, **accounts},
        recipe_digest=recipe.digest(),
        message=asked.message,
        agreement=_carried(ground, remembered),
        answers=settled.answers,
        reviewed=settled.reviewed,
        cliques=near,
        grow_test=asked.grow_test,
    )
    version = amended.version
    if version is None:
        return None
    for line in amended.placed.in_words(near or (), of_changes=True):
        asked.progress.say(f"commit: {line}")
    asked.progress.say(f"commit: {len(found.keys):,} of {len(found.marks.of):,} items settled anew")
    return Made(
        version,
        len(found.marks.of),
        amended.placed.settled(settled.outcomes),
        found.removed | set(ground.ledger.with_outcome(FORGOTTEN)),
        None if version.digest in known else replace(remembered, version=version.digest),
    )


@dataclass(frozen=True, slots=True)
class _Fresh:
    """What is to be settled anew.

    Attributes:
        marks: of all items.
        keys: of those that are settled: what has changed, what was sent back or kept out, and what the
            source has in one group with any of these.
        removed: keys of items that are no longer considered.
        sent_back: key -> item.
    """

    marks: fresh.Marks
    keys: set[str]
    removed: set[str]
    sent_back: Mapping[str, Reopened]

    @classmethod
    def of(cls, connection: Connection, asked: Asked, before: Settled, ground: Ground) -> _Fresh | None:
        """None where that is not a few, or the books are not those of the version."""
        marks = fresh.marks(connection, asked.name)
        changed, removed = before.changed(marks.of), before.marks.keys() - marks.of.keys()
        few = _FEW * len(marks.of)
        if before.since + len(changed) + len(removed) > few:
            return None
        if balance(connection, asked.name, "commit").total != len(before.marks):
            return None
        sent_back = reopened_of(connection, asked.name)
        keys = changed | sent_back.keys() | set(ground.ledger.with_outcome(WITHHELD))
        keys = (keys | fresh.mates(connection, asked.name, keys)) & marks.of.keys()
        return cls(marks, keys, set(removed), sent_back) if len(keys) <= few else None


def _settle(connection: Connection, asked: Asked, found: _Fresh) -> Settlement:
    from goldloop.dataset.division import told_apart
    from goldloop.quality.consensus import settle

    items = fresh.items_among(connection, asked.name, found.keys)
    acts = list(fresh.acts_among(connection, asked.name, found.keys))
    policy, reviewer = wiring.consensus(asked.recipe, asked.workspace)
    return settle(
        tasks.create(asked.recipe.task),
        items,
        told_apart(asked.workspace.versions / asked.name, acts),
        policy,
        asked.recipe.labeling.annotators_per_item,
        reviewer=reviewer,
        reopened=found.sent_back,
    )


def _is_by_item(recipe: Recipe) -> bool:
    """Whether an item's label and its place hang on few other items."""
    from goldloop.dataset.config import PredefinedPolicy, TemporalPolicy

    by_all = isinstance(recipe.dataset.split.policy, PredefinedPolicy | TemporalPolicy)
    return recipe.dataset.consensus != "dawid-skene" and not by_all


def _settings(asked: Asked) -> str:
    """A digest of all that decides about labels and places beside items and answers."""
    section = wiring.fields(asked.recipe)
    policy = wiring.consensus(asked.recipe, asked.workspace)
    need = asked.recipe.labeling.annotators_per_item
    classes = asked.workspace.versions / asked.name / MIGRATIONS
    migrated = hashlib.sha256(classes.read_bytes()).hexdigest() if classes.exists() else None
    told = [asked.name, section["task"], section["dataset"], need, list(policy), migrated, source_digest()]
    return digest_of(told)


def _balances(connection: Connection, name: str) -> dict[str, Mapping[str, int]]:
    return {stage: balance(connection, name, stage).outcomes for stage in ("pull", "push", "collect")}


def _carried(ground: Ground, settled: Settled) -> dict[str, Any]:
    """Figures of agreement: mean and items as they are, the others as they were last computed."""
    facts = dict(ground.certificate["agreement"])
    facts["mean"], facts["items"] = settled.mean()
    if facts.get("annotators"):
        facts.setdefault(AS_OF, ground.description["digest"])
    return facts


def _standing(asked: Asked, told: Collection[str]) -> Callable[[Collection[str]], Container[str]]:
    from goldloop.dataset.amendment import standing

    return lambda keys: standing(asked.workspace.versions, asked.name, keys, told)


def _listed(asked: Asked) -> set[str]:
    """Digests of the versions that there are or were."""
    return {commit.digest for commit in history.commits(asked.workspace.versions / asked.name)}
