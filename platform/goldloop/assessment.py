"""`goldloop quality`: all that is known of a version's quality, as findings that anyone can act on.

<workspace>/runs/NAME/quality-<id>/
  quality.json    the findings        quality.html    the same as a page
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from goldloop import durable, wiring
from goldloop.appraisal import sway_of
from goldloop.catalog.content import items_of
from goldloop.errors import GoldloopError, TrainingError, VersionError
from goldloop.progress import Progress, Silent
from goldloop.quality.circumstances import circumstances
from goldloop.quality.conflicts import conflicts, find_conflicts
from goldloop.quality.embeddings import embed, plain_points
from goldloop.quality.findings import Finding, Findings, by_urgency
from goldloop.quality.imbalance import imbalance
from goldloop.quality.in_words import agreement_found, nothing_known, suspects_found, sway_found
from goldloop.quality.outliers import outliers
from goldloop.quality.shortcuts import shortcuts
from goldloop.recipe import Recipe, digest_of
from goldloop.suspicion import Rows, Search, Way, subject
from goldloop.workspace import Workspace

if TYPE_CHECKING:
    from goldloop.training.config import TrainingConfig

_MOST_PICTURES = 5_000
"""Images whose circumstances are looked at: each is decoded."""


def quality_(
    target: Recipe | str,
    workspace: Workspace | None = None,
    progress: Progress | None = None,
    *,
    way: Way = "auto",
    folds: int = 5,
) -> Findings:
    """Look at a version from all sides; nothing is changed.

    Args:
        target: a recipe, of which the latest version is looked at; or `NAME`, `NAME@DIGEST`.
        workspace: where.
        progress: where to tell how far it is.
        way: how doubtful labels are found, as `suspects` takes it.
        folds: of that search.

    Raises:
        VersionError: there is no such version, or it does not prove what it claims.
    """
    from goldloop.quality.page import quality_page

    workspace, progress = workspace or Workspace.open(), progress or Silent()
    version, training = subject(target, workspace)
    with workspace.lock(version.name):
        wiring.require(workspace, version)
        rows = Rows(version)
        look = _Look(workspace, progress, rows, training)
        progress.say(f"quality: {version.ref}")
        findings = by_urgency(
            [
                look.suspects(way, folds),
                look.conflicts(),
                agreement_found(version.labelling().get("agreement", {})),
                sway_found(sway_of(rows.task, version.name, workspace)),
                look.shortcuts(),
                imbalance(version.classes, version.class_counts),
                look.outliers(),
            ]
        )
        fields = None if training is None else training.model_dump(mode="json", by_alias=True)
        folder = (
            workspace.runs / version.name / f"quality-{digest_of([version.digest, way, folds, fields])[:12]}"
        )
        folder.mkdir(parents=True, exist_ok=True)
        found = Findings(version.ref, version.task, version.counts, findings, folder / "quality.html")
        page = quality_page(found, rows.task, rows.targets, rows.content)
        durable.replace(
            folder / "quality.json", (json.dumps(found.facts(), ensure_ascii=False) + "\n").encode()
        )
        durable.replace(found.page, page.encode())
    return found


class _Look:
    """One version, and what the findings need of it."""

    def __init__(
        self, workspace: Workspace, progress: Progress, rows: Rows, training: TrainingConfig | None
    ) -> None:
        self.workspace, self.progress, self.rows, self.training = workspace, progress, rows, training
        self._points: tuple[Any, str] | None = None

    def suspects(self, way: Way, folds: int) -> Finding:
        try:
            search = Search(self.workspace, self.progress, self.rows.version, self.training, way, folds, 0)
            return suspects_found(search.go(), self.rows.task)
        except (TrainingError, VersionError) as error:
            return nothing_known("suspects", "Doubtful labels could not be looked for", error)

    def conflicts(self) -> Finding:
        """Near-duplicates with different labels, by the version's own rule; and what is all but equal."""
        task, targets = self.rows.task, self.rows.targets
        near, same = self.rows.near_duplicates(self.workspace.cache)
        looked = len({tuple(sorted(group)) for group in (*near, *same)})
        return conflicts(task, targets, find_conflicts(task, targets, near, same), looked)

    def outliers(self) -> Finding:
        points, seen_by = self.points()
        return outliers(self.rows.keys, points, seen_by)

    def points(self) -> tuple[Any, str]:
        """Every item as a point, and who has made it."""
        checkpoint = None if self.training is None else self.training.checkpoint
        if isinstance(checkpoint, str) and self.training is not None:
            try:
                made = embed(
                    self.rows.task,
                    checkpoint,
                    self.training.model_settings(),
                    self.rows.keys,
                    self.rows.read,
                    self.workspace.cache,
                    self.progress,
                )
            except GoldloopError as error:
                self.progress.say(f"quality: {error}")
            else:
                return made, f"the checkpoint {checkpoint.rstrip('/').rpartition('/')[2]}"
        plain = plain_points(self.rows.task, self.rows.contents())
        is_text = self.rows.task.modality == "text"
        return plain, "a count of words" if is_text else "a small copy of each picture"

    def shortcuts(self) -> Finding:
        rows = self.rows
        if not rows.task.classes:
            return nothing_known("shortcuts", "The answers have no classes that could be guessed", None)
        with self.workspace.engine.connect() as connection:
            states = ("current", "gone", "superseded")
            known = {item.key: item for item in items_of(connection, rows.version.name, states)}
        places = range(len(rows.keys))
        if rows.task.modality == "image":
            places = range(min(len(rows.keys), _MOST_PICTURES))
        found: list[Mapping[str, Any]] = []
        with self.progress.track("circumstances", len(places)) as advance:
            for place in places:
                found.append(
                    circumstances(rows.read([place])[0], known.get(rows.keys[place]), rows.task.classes)
                )
                advance(1)
        names = list(dict.fromkeys(name for each in found for name in each))
        columns: dict[str, Sequence[Any]] = {name: [each.get(name) for each in found] for name in names}
        labels = [_in_a_word(rows, key) for key in rows.keys[: len(places)]]
        self.progress.say(f"quality: asking {len(names)} circumstances whether they tell the label")
        return shortcuts(columns, labels, rows.groups[: len(places)])


def _in_a_word(rows: Rows, key: str) -> str:
    """The classes that an answer names, each once."""
    return " + ".join(sorted(set(rows.task.classes_in(rows.targets[key])))) or "nothing"
