"""Dataset versions: immutable folders, each an ordinary Hugging Face dataset that proves itself.

    <workspace>/versions/NAME/
      log.jsonl                 the commits, oldest first: what is listed is what is here
      tags.jsonl                names that people gave to some of them
      <digest, 16 digits>/
        README.md               the dataset card; tells `datasets.load_dataset` where the splits are
        data/<split>-....parquet
        goldloop/version.json   what it is        goldloop/ledger-....arrow   one outcome per item
        goldloop/manifest.json  its files         goldloop/answers-....parquet
        goldloop/reviewed.parquet                 what came of items that were sent back, where any were
        goldloop/certificate.json                 what was checked, and the digest of every file

A commit writes what changed: its rows, its lines of the ledger, its answers, each into a file of its own. All
other files a version shares with the one before, by hard links: they never change. So a version's folder is
whole by itself, can be copied away or deleted, and costs the disk what is new in it.

A version is written aside, flushed and renamed; only then is it listed. A kill at any moment leaves what was
listed as it was.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop.dataset import history
from goldloop.dataset.books import check_all, check_left, check_some
from goldloop.dataset.certificate import DESCRIPTION, verify
from goldloop.dataset.certificate import figures as certified
from goldloop.dataset.changes import Changes, Told
from goldloop.dataset.config import DatasetConfig, Split
from goldloop.dataset.digest import root as root_digest
from goldloop.dataset.draft import Draft, Facts, put, sweep
from goldloop.dataset.ledger import Ledger
from goldloop.dataset.manifest import FORMAT
from goldloop.dataset.past import NAME_LENGTH, Ground, Past
from goldloop.dataset.placement import Clique, Placement
from goldloop.dataset.policies import policy_facts
from goldloop.dataset.reading import content_of, open_split, sample_of
from goldloop.dataset.shards import Entry
from goldloop.dataset.sorting import place
from goldloop.dataset.standing import former_rows, standing_for_all, standing_for_some
from goldloop.dataset.tags import resolve
from goldloop.dataset.tally import Tally, agreement_carried, agreement_of
from goldloop.errors import VersionError
from goldloop.media import MediaStore
from goldloop.records import Item, Label, Outcome, Reviewed
from goldloop.tasks import tasks
from goldloop.tasks.base import Task

if TYPE_CHECKING:
    import datasets

_FEW = 0.25
"""A commit that changes a larger share of the rows writes all of them anew."""


@dataclass(frozen=True, slots=True)
class Version:
    """One dataset version.

    Attributes:
        name: the recipe's.
        digest: of content, labels, splits and classes (see `digest.py`).
        folder: where it lies.
        classes: names in id order.
        counts: rows per split.
        task: the task's section of the recipe, its classes those of the registry.
        agreement: mean pairwise agreement over items with two answers or more, in [0, 1]; None without.
        created_at: when it was first committed, ISO 8601, UTC.
        message: what its committer said.
        parent: digest of the version before it.
        split: how the recipe split it: shares, seed, policy.
        class_counts: split -> class -> rows; empty for a task whose answer is not one class.
        policies: all that its rows were placed by, in the order in which they came (see `policies.py`).
        duplicates: what counted as a near-duplicate, `near` or `exact`; None: none were looked for.
    """

    name: str
    digest: str
    folder: Path
    classes: tuple[str, ...]
    counts: Mapping[str, int]
    task: Mapping[str, Any]
    agreement: float | None
    created_at: str
    message: str | None = None
    parent: str | None = None
    split: Mapping[str, Any] = field(default_factory=dict)
    class_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    policies: Sequence[Mapping[str, Any]] = ()
    duplicates: str | None = None

    @property
    def ref(self) -> str:
        """`NAME@DIGEST`, short."""
        return f"{self.name}@{self.digest[:12]}"

    @property
    def cache(self) -> Path:
        """What the workspace keeps that can be made again."""
        return self.folder.parents[2] / "cache"

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {"version": self.ref, **asdict(self), "folder": str(self.folder)}

    def labelling(self) -> dict[str, Any]:
        """How it was labelled, as its certificate says."""
        content = certified(self.folder)
        names = ("agreement", "annotators", "provenance", "shown_models", "reviewed")
        return {name: content[name] for name in names if name in content}

    def dataset(self, split: str) -> datasets.Dataset:
        """The rows of a split by key, images as the bytes of their files; empty if it has none."""
        return open_split(self.folder, tasks.create(self.task), split, self.cache / "arrow")

    def content(self, number: int) -> bytes | str | None:
        """The image or text of the row with a number; None if there is no such row."""
        return content_of(self.folder, tasks.create(self.task).modality, number)

    def sample(self, split: str, count: int) -> datasets.Dataset:
        """Some rows of a split, the longest texts among them; nothing is written."""
        return sample_of(self.folder, tasks.create(self.task), split, count)


def write(
    root: Path,
    name: str,
    task: Task[Any],
    labels: Sequence[Label[Any]],
    items: Mapping[str, Item],
    media: MediaStore,
    config: DatasetConfig,
    *,
    outcomes: Sequence[Outcome],
    balances: Mapping[str, Mapping[str, int]],
    recipe_digest: str,
    message: str | None = None,
    agreement: Mapping[str, Any] | None = None,
    answers: Mapping[str, Mapping[str, Any]] | None = None,
    reviewed: Sequence[Reviewed] = (),
    cliques: Sequence[Clique] | None = None,
    placed: Placement | None = None,
    grow_test: bool = False,
) -> Version:
    """Commit a version; the same labels, splits and classes are the version that is there already.

    The caller holds the recipe's lock.

    Args:
        root: the workspace's versions.
        name: the recipe's.
        task: what the labels are of.
        labels: one per row.
        items: every item that was considered, by key.
        media: where images lie.
        config: the recipe's `dataset:`.
        outcomes: one per item.
        balances: stage -> outcome -> count, of the stages before.
        recipe_digest: of the resolved recipe.
        message: what this version is about.
        agreement: `mean`, `items` and `alpha` over all items; by default what the labels tell.
        answers: key -> annotator -> target: what each said, kept beside the labels.
        reviewed: what came of items that were sent back to annotators, kept with its reasons.
        cliques: near-duplicates among the labelled items, and items that were in earlier versions; None: they
            were not looked for.
        placed: what `placement` says of the same labels; by default it is asked.
        grow_test: take new items into a test split that is frozen.

    Raises:
        VersionError: nothing is labelled, or it cannot be split as the recipe says, or not be written;
            nothing is then listed or left over.
        LedgerError: the outcomes do not account for every item.
    """
    check_all(labels, items, outcomes)
    past = Past.of(root / name)
    task = task.with_classes(task.registry(past.classes))
    if placed is None:
        placed = _placed(past, task, labels, items, config.split, cliques or (), grow_test)
    entries = _entries(labels, items, placed)
    outcomes = placed.settled(outcomes)
    check_left(entries, outcomes)
    told = Told.of(task, entries, outcomes, answers or {}, placed.held)
    tally = Tally.of(
        task, ((each.split, each.label) for each in entries), (each.outcome for each in outcomes)
    )
    figures = agreement_of(labels) if agreement is None else agreement
    facts = Facts(balances, figures, recipe_digest, message, reviewed)
    ground = past.ground
    if ground is not None and ground.suits(task):
        known = ground.ledger.states()
        found = told.since(known, known.keys() - told.lines.keys(), ground.manifest.next)
        if len(found.entries) <= len(entries) * _FEW:
            return _commit(past, task, config, placed, cliques, media, tally, facts, found, ground, told)
    return _commit(past, task, config, placed, cliques, media, tally, facts, told.all(), None, told)


def former(root: Path, name: str) -> set[str]:
    """Keys of items that had a row in some version and have none in the last: what is like them follows them.

    Args:
        root: the workspace's versions.
        name: the recipe's.
    """
    return former_rows(Past.of(root / name).known)


def placement(
    root: Path,
    name: str,
    task: Task[Any],
    labels: Sequence[Label[Any]],
    items: Mapping[str, Item],
    split: Split,
    cliques: Sequence[Clique] = (),
    *,
    grow_test: bool = False,
) -> Placement:
    """Where a commit of these labels puts its items, and which of them it keeps out, and why.

    Args:
        root: the workspace's versions.
        name: the recipe's.
        task: what the labels are of.
        labels: all of them.
        items: those that they are of, and perhaps others, by key.
        split: the recipe's.
        cliques: near-duplicates among those items, and items that were in earlier versions.
        grow_test: take new items into a test split that is frozen.

    Raises:
        VersionError: they cannot be split as the recipe says.
    """
    return _placed(Past.of(root / name), task, labels, items, split, cliques, grow_test)


def amend(
    root: Path,
    name: str,
    task: Task[Any],
    labels: Sequence[Label[Any]],
    items: Mapping[str, Item],
    media: MediaStore,
    config: DatasetConfig,
    *,
    outcomes: Sequence[Outcome] = (),
    removed: Sequence[str] = (),
    balances: Mapping[str, Mapping[str, int]] | None = None,
    recipe_digest: str,
    message: str | None = None,
    agreement: Mapping[str, Any] | None = None,
    answers: Mapping[str, Mapping[str, Any]] | None = None,
    cliques: Sequence[Clique] | None = None,
    grow_test: bool = False,
) -> Version:
    """Commit what changed since the last version, and that alone; the cost does not grow with the version.

    The result is that of `write` with all labels. The caller holds the recipe's lock.

    Args:
        root: the workspace's versions.
        name: the recipe's.
        task: what the labels are of.
        labels: of items that are new, or whose label is another or was given otherwise.
        items: those that `labels` and `outcomes` are about, by key.
        media: where images lie.
        config: the recipe's `dataset:`.
        outcomes: of items that have no label, or no longer have one.
        removed: keys of items that are no longer considered.
        balances: stage -> outcome -> count, of the stages before; by default as they were.
        recipe_digest: of the resolved recipe.
        message: what this version is about.
        agreement: `mean`, `items` and `alpha` over all items; by default mean and items are carried on.
        answers: key -> annotator -> target, all answers of the items that `labels` and `outcomes` are about.
        cliques: as `write` takes them, those that have an item that is new.
        grow_test: as `write` takes it.

    Raises:
        VersionError: there is no version to amend, or nothing would be left, or it cannot be written.
        LedgerError: an item is told of twice.
    """
    past = Past.of(root / name)
    ground = past.ground
    task = task.with_classes(task.registry(past.classes))
    if ground is None or not ground.suits(task):
        raise VersionError(
            "there is no whole version of this task to amend",
            where=root / name,
            remedy="Commit all labels once, with `goldloop commit`",
        )
    settled = [
        Outcome(subject=label.key, outcome="imported" if label.provenance == "imported" else "labelled")
        for label in labels
    ]
    settled += outcomes
    check_some([*(outcome.subject for outcome in settled), *removed], items.keys() | set(removed))
    # What was forgotten is in the version before by its tombstone alone, and in none after it.
    removed = [*removed, *ground.ledger.forgotten()]
    subjects = {*(outcome.subject for outcome in settled), *removed}
    known = ground.ledger.find(subjects)
    had = ground.labels(task, known.values())
    others = ground.tally(task).changed(less=Tally.of(task, had, ()), plus=Tally())
    before, held = standing_for_some(past.known, config.split, subjects, others.classes)
    placed = place(task, labels, items, config.split, before, cliques or (), grow_test=grow_test)
    told = Told.of(task, _entries(labels, items, placed), placed.settled(settled), answers or {}, held)
    found = told.since(known, removed, ground.manifest.next)
    changed = {line.key for line in found.lines if line.key in known}
    old = [known[key] for key in changed]
    rows = [(split, label) for split, label in had if label.key in changed]
    less = Tally.of(task, rows, (str(line.outcome) for line in old))
    added = [(entry.split, entry.label) for entry in found.entries]
    plus = Tally.of(task, added, (line.outcome for line in found.lines if line.outcome is not None))
    tally = ground.tally(task).changed(less=less, plus=plus)
    if not tally.rows:
        raise VersionError("no labelled item would be left", where=root / name)
    certified = ground.certificate
    if agreement is None:
        agreement = agreement_carried(
            certified["agreement"], [label for _, label in rows], [label for _, label in added]
        )
    if balances is None:
        balances = {stage: books for stage, books in certified["ledger"].items() if stage != "commit"}
    facts = Facts(balances, agreement, recipe_digest, message)
    return _commit(past, task, config, placed, cliques, media, tally, facts, found, ground)


def _commit(
    past: Past,
    task: Task[Any],
    config: DatasetConfig,
    placed: Placement,
    cliques: Sequence[Clique] | None,
    media: MediaStore,
    tally: Tally,
    facts: Facts,
    found: Changes,
    ground: Ground | None,
    told: Told | None = None,
) -> Version:
    """Write a version, unless it is there, and list it.

    Args:
        past: the commits before it.
        task: with its class registry.
        config: the recipe's `dataset:`.
        placed: its items.
        cliques: near-duplicates, if they were looked for.
        media: where images lie.
        tally: what it adds up to.
        facts: what it carries.
        found: what is to be written.
        ground: the version that these are changes to; None: they are all there is.
        told: all that there is to say, if it is known.
    """
    folder = past.folder
    ledger = Ledger([]) if ground is None else ground.ledger
    tree = ledger.tree_after(found.lines, tally.rows)
    digest = root_digest(task.config.kind, task.classes, tree.buckets)
    before = past.commits[-1].digest if past.commits else None
    now = datetime.now(UTC).isoformat(timespec="seconds")
    commit = history.Commit(digest, now, facts.message, before, task.classes)
    # What was committed before and is made again, since its folder broke, is what it was.
    first = next((each for each in past.commits if each.digest == digest), commit)
    rule = None if cliques is None else config.duplicates.of(task.modality)
    version = replace(
        _described(folder, task, config, tally, facts.agreement, first),
        policies=policy_facts(placed.policies),
        duplicates=rule,
    )
    draft = Draft(
        version=version,
        task=task,
        policies=placed.policies,
        cliques=cliques,
        changes=found,
        tree=tree,
        tally=tally,
        facts=facts,
        before=None if ground is None else ground.folder,
    )
    there = version.folder.exists()
    try:
        sweep(folder)
        if not there:
            put(draft, media)
        elif faults := verify(version.folder, cache=version.cache):
            if told is None:
                raise VersionError(
                    "the version is there, and broken",
                    where=version.folder,
                    found=faults[0],
                    remedy="Commit all labels",
                )
            whole = told.all()
            put(
                replace(
                    draft, changes=whole, tree=Ledger([]).tree_after(whole.lines, tally.rows), before=None
                ),
                media,
            )
        if before != digest:
            history.add(folder, commit)
    except OSError as error:
        if not there:
            shutil.rmtree(version.folder, ignore_errors=True)
        raise VersionError(
            "the version cannot be written; nothing of it is kept",
            where=folder,
            found=error.strerror or str(error),
            remedy="Make room on the disk, or set GOLDLOOP_HOME to a larger one, then commit again",
        ) from error
    finally:
        with suppress(OSError):
            folder.rmdir()  # which only goes if nothing was ever committed here
    return load(folder.parent, folder.name, digest)


def load(root: Path, name: str, digest: str = "latest") -> Version:
    """A version by its digest, the beginning of it, or a tag; `latest` is the one committed last.

    Raises:
        VersionError: there is none, or several begin so, or it cannot be read.
    """
    known = [commit.digest for commit in _listed(root / name)]
    return _read(root / name, resolve(root / name, known, digest))


def find(root: Path, reference: str) -> Version:
    """The version that `NAME` (the latest), `NAME@DIGEST` or `NAME@TAG` means.

    Raises:
        VersionError: as `load`.
    """
    name, _, digest = reference.partition("@")
    return load(root, name, digest or "latest")


def versions(root: Path, name: str) -> list[Version]:
    """The commits of a name, oldest first; a version that was committed again stands there again.

    One whose folder was deleted is left out.

    Raises:
        VersionError: one of them cannot be read.
    """
    return [_read(root / name, commit.digest) for commit in _listed(root / name)]


def names(root: Path) -> list[str]:
    """Names that have versions."""
    return sorted(path.parent.name for path in root.glob(f"*/{history.LOG}"))


def version_in(folder: Path) -> Version:
    """The version that lies in a folder.

    Raises:
        VersionError: it cannot be read.
    """
    try:
        digest = str(json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))["digest"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VersionError(
            "the version cannot be read",
            where=folder / DESCRIPTION,
            found=str(error),
            remedy="Bring the folder back from a copy, or delete it",
        ) from error
    return _read(folder.parent, digest)


def _placed(
    past: Past,
    task: Task[Any],
    labels: Sequence[Label[Any]],
    items: Mapping[str, Item],
    split: Split,
    cliques: Sequence[Clique],
    grow_test: bool,
) -> Placement:
    before, held = standing_for_all(past.known, split)
    placed = place(task, labels, items, split, before, cliques, grow_test=grow_test)
    return replace(placed, held=held)


def _entries(labels: Iterable[Label[Any]], items: Mapping[str, Item], placed: Placement) -> list[Entry]:
    """The rows of those that have a place."""
    places = placed.places
    return [Entry(places[label.key], items[label.key], label) for label in labels if label.key in places]


def _described(
    folder: Path,
    task: Task[Any],
    config: DatasetConfig,
    tally: Tally,
    agreement: Mapping[str, Any],
    commit: history.Commit,
) -> Version:
    return Version(
        name=folder.name,
        digest=commit.digest,
        folder=folder / commit.digest[:NAME_LENGTH],
        classes=task.classes,
        counts=tally.counts(),
        task=task.config.model_dump(mode="json", by_alias=True),
        agreement=agreement["mean"],
        created_at=commit.at,
        message=commit.message,
        parent=commit.parent,
        split=config.split.model_dump(mode="json"),
        class_counts=tally.class_counts(task.classes),
    )


def _listed(folder: Path) -> list[history.Commit]:
    return [each for each in history.commits(folder) if (folder / each.digest[:NAME_LENGTH]).exists()]


def _read(parent: Path, digest: str) -> Version:
    folder = parent / digest[:NAME_LENGTH]
    path = folder / DESCRIPTION
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        del fields["goldloop"]
        if fields.pop("format", 1) != FORMAT:
            raise ValueError("an earlier goldloop wrote it, in a form that this one does not read")
        if fields["digest"] != digest:
            raise ValueError(f"it says that it is {fields['digest']}")
        return Version(**{**fields, "folder": folder, "classes": tuple(fields["classes"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VersionError(
            "the version cannot be read",
            where=path,
            found=str(error) or type(error).__name__,
            remedy="Bring the folder back from a copy; `goldloop commit` makes it again from the same labels",
        ) from error
