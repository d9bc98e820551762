"""`goldloop suspects`: labels that are probably wrong, found by models that have not seen their items.

The version's items are dealt into K folds by group. Of each fold, a model that has learned from the others
says what its items are. `embeddings`: a linear head on the frozen embeddings of the recipe's own checkpoint,
which are computed once and kept by content: minutes on a CPU. `training`: the recipe's own model, trained by
goldloop's own engine for each fold. All splits are looked at; nothing is changed.

<workspace>/runs/NAME/suspects-<id>/
  suspects.json      the outcome; there when finished
  suspects.html      the same as a page
  fold-0.json ...    what was said of each fold's items, so that a search that was killed goes on
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from goldloop import __version__, durable, wiring
from goldloop.errors import TrainingError, VersionError
from goldloop.progress import Progress, Silent
from goldloop.quality.conflicts import find_conflicts
from goldloop.quality.folds import FEWEST, folds_of
from goldloop.quality.suspects import (
    Labelled,
    Suspect,
    Suspects,
    Verdict,
    by_probabilities,
    by_probability,
    rank,
    with_conflicts,
)
from goldloop.recipe import Recipe, digest_of
from goldloop.tasks import tasks
from goldloop.workspace import Workspace

if TYPE_CHECKING:
    import datasets

    from goldloop.dataset.version import Version
    from goldloop.training.config import TrainingConfig

Way = Literal["auto", "embeddings", "training"]

RESULT = "suspects.json"
PAGE = "suspects.html"
_CHUNK = 256


def suspects(
    target: Recipe | str,
    workspace: Workspace | None = None,
    progress: Progress | None = None,
    *,
    way: Way = "auto",
    folds: int = 5,
    seed: int = 0,
) -> Suspects:
    """Rank the labels of a version, the most doubtful first.

    The same version and settings are found at once; a search that was killed goes on.

    Args:
        target: a recipe, of which the latest version is looked at; or `NAME`, `NAME@DIGEST`, whose model is
            that of the recipe that it was last trained by.
        workspace: where.
        progress: where to tell how far it is.
        way: how to judge; `auto`: by embeddings where answers are classes and the checkpoint is one that has
            learned something, else by training.
        folds: how many.
        seed: which of the many ways to deal them.

    Raises:
        VersionError: there is no such version, or it does not prove what it claims.
        TrainingError: nothing says which model to ask, or there are too few items.
    """
    workspace, progress = workspace or Workspace.open(), progress or Silent()
    version, training = subject(target, workspace)
    search = Search(workspace, progress, version, training, way, folds, seed)
    with workspace.lock(version.name):
        return search.go()


def subject(target: Recipe | str, workspace: Workspace) -> tuple[Version, TrainingConfig | None]:
    """The version that is meant, and how its recipe trains; None where nothing says so."""
    if isinstance(target, Recipe):
        return wiring.version_of(workspace, target.name, None), target.training
    name, _, digest = target.partition("@")
    version = wiring.version_of(workspace, name, f"{name}@{digest or 'latest'}")
    return version, _last_training(workspace, name)


def _last_training(workspace: Workspace, name: str) -> TrainingConfig | None:
    from goldloop.training.config import TrainingConfig

    records = sorted((workspace.runs / name).glob("*/run.json"), key=lambda path: path.stat().st_mtime)
    for path in reversed(records):
        facts = json.loads(path.read_text(encoding="utf-8")).get("facts", {})
        if "recipe" in facts:
            return TrainingConfig.model_validate(facts["recipe"]["training"])
    return None


class Rows:
    """All labels of a version, whichever their split.

    Args:
        version: which.
    """

    def __init__(self, version: Version) -> None:
        self.version = version
        self.task = tasks.create(version.task)

    @cached_property
    def _splits(self) -> list[tuple[str, datasets.Dataset]]:
        return [(split, self.version.dataset(split)) for split, count in self.version.counts.items() if count]

    @cached_property
    def data(self) -> datasets.Dataset:
        """The rows, images as the bytes of their files."""
        import datasets

        return datasets.concatenate_datasets([rows for _, rows in self._splits])

    @cached_property
    def items(self) -> list[Labelled]:
        """The labels, in the order of the rows."""
        columns = [name for name in self.data.column_names if name != self.task.modality]
        splits = [split for split, rows in self._splits for _ in range(len(rows))]
        return [
            Labelled(row["key"], split, self.task.from_row(row))
            for split, row in zip(splits, self.data.select_columns(columns), strict=True)
        ]

    @cached_property
    def keys(self) -> list[str]:
        """Of each row."""
        return [item.key for item in self.items]

    @cached_property
    def targets(self) -> dict[str, Any]:
        """Key -> label."""
        return {item.key: item.target for item in self.items}

    @cached_property
    def groups(self) -> list[str]:
        """Of each row."""
        return list(self.data["group"][:])

    def near_duplicates(self, cache: Path) -> tuple[list[Sequence[str]], list[Sequence[str]]]:
        """Groups of rows that are alike by the version's own rule, and of those that are all but equal.

        Args:
            cache: where contents that were looked at before are remembered.
        """
        from goldloop.dataset.leaks import version_cliques
        from goldloop.quality.conflicts import same_pictures, same_texts
        from goldloop.quality.embeddings import plain_points

        rule: Any = self.version.duplicates
        near = version_cliques(self.version.folder, self.task.modality, rule, cache) or ()
        if self.task.modality == "text":
            same = same_texts(dict(zip(self.keys, self.contents(), strict=True)))
        else:
            same = same_pictures(self.keys, plain_points(self.task, self.contents()))
        return list(near), list(same)

    def read(self, places: Sequence[int]) -> list[Mapping[str, Any]]:
        """Some rows."""
        return list(self.data.select(places))

    def contents(self) -> Sequence[Any]:
        """Texts, or images as the bytes of their files, one after the other as they are asked for."""
        column: Sequence[Any] = self.data[self.task.modality]
        return column

    @cached_property
    def _places(self) -> dict[str, int]:
        return {key: place for place, key in enumerate(self.keys)}

    def content(self, key: str) -> bytes | str | None:
        """The content of an item; None where there is no such one."""
        place = self._places.get(key)
        if place is None:
            return None
        value = self.read([place])[0][self.task.modality]
        return value if isinstance(value, str) else bytes(value["bytes"])


class Search:
    """One search for doubtful labels of one version."""

    def __init__(
        self,
        workspace: Workspace,
        progress: Progress,
        version: Version,
        training: TrainingConfig | None,
        way: Way,
        folds: int,
        seed: int,
    ) -> None:
        if training is None:
            raise TrainingError(
                "nothing says which model is to judge the labels",
                where=version.ref,
                remedy="Name the recipe's file, with `training: {checkpoint: ...}` in it",
            )
        self.workspace, self.progress = workspace, progress
        self.version, self.training = version, training
        self.rows = Rows(version)
        self.task = self.rows.task
        self.folds, self.seed = folds, seed
        self.way = way if way != "auto" else self._usual_way()
        if self.way == "embeddings" and not self.task.answers_are_classes:
            raise TrainingError(
                "a linear head on embeddings finds classes only",
                where=self.task.config.kind,
                remedy="Leave `--way` out, or say `--way training`",
            )
        fields = training.model_dump(mode="json", by_alias=True)
        made_of = [*wiring.data_of(version), self.way, fields, folds, seed, version.duplicates, __version__]
        self.folder = workspace.runs / version.name / f"suspects-{digest_of(made_of)[:12]}"

    def _usual_way(self) -> Literal["embeddings", "training"]:
        learned = isinstance(self.training.checkpoint, str)
        return "embeddings" if learned and self.task.answers_are_classes else "training"

    def go(self) -> Suspects:
        """The outcome, as it is kept or found now."""
        from goldloop.quality.page import suspects_page

        path = self.folder / RESULT
        if path.exists():
            self.progress.say(f"suspects: found before, in {self.folder}")
            kept = Suspects.of_facts(json.loads(path.read_text(encoding="utf-8")))
            return replace(kept, page=str(self.folder / PAGE))
        wiring.require(self.workspace, self.version)
        self._check()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.progress.say(f"suspects: {self.version.ref}, judged by {self.described}, {self.count} folds")
        ranked = self._by_embeddings() if self.way == "embeddings" else self._by_training()
        near, same = self.rows.near_duplicates(self.workspace.cache)
        conflicts = find_conflicts(self.task, self.rows.targets, near, same)
        ranked = with_conflicts(self.task, ranked, conflicts)
        found = self._result(ranked)
        page = suspects_page(found, self.task, self.rows.content)
        durable.replace(self.folder / PAGE, page.encode())
        durable.replace(path, (json.dumps(found.facts(), ensure_ascii=False) + "\n").encode())
        for left in self.folder.glob("fold-*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        return found

    def _check(self) -> None:
        if len(self.rows.items) < 2 * FEWEST or self.count < FEWEST:
            raise VersionError(
                "there are too few items to judge any by the others",
                where=self.version.ref,
                found=f"{len(self.rows.items)} items in {len(set(self.rows.groups))} groups",
                expected="items of two groups at least",
                remedy="Label more items, and commit",
            )

    @property
    def described(self) -> str:
        """Who judges, in a few words."""
        checkpoint = self.training.checkpoint
        name = checkpoint if isinstance(checkpoint, str) else str(checkpoint.from_config["model_type"])
        name = Path(name).name if Path(name).is_absolute() else name
        if self.way == "embeddings":
            return f"a linear head on the frozen embeddings of {name}"
        return f"{name}, trained for each fold as the recipe says"

    @property
    def count(self) -> int:
        """How many folds there are."""
        return min(self.folds, len(set(self.rows.groups)))

    @cached_property
    def fold(self) -> list[int]:
        """Of each row."""
        first = [min(self.task.classes_in(item.target), default="") for item in self.rows.items]
        return folds_of(self.rows.groups, first, self.folds, self.seed)

    def _by_embeddings(self) -> list[Suspect]:
        import numpy

        from goldloop.quality.embeddings import embed
        from goldloop.quality.linear_head import out_of_fold

        points = embed(
            self.task,
            str(self.training.checkpoint),
            self.training.model_settings(),
            self.rows.keys,
            self.rows.read,
            self.workspace.cache,
            self.progress,
        )
        sets = any(isinstance(item.target, list) for item in self.rows.items)
        names = self.task.classes
        labels = numpy.array(
            [[int(name in item.target) for name in names] for item in self.rows.items]
            if sets
            else [names.index(item.target) for item in self.rows.items]
        )
        with self.progress.track("folds", self.count) as advance:
            shares = out_of_fold(points, labels, len(names), self.fold, advance)
        if sets:
            return by_probabilities(self.task, self.rows.items, shares)
        return by_probability(self.task, self.rows.items, shares)

    def _by_training(self) -> list[Suspect]:
        said: dict[str, Verdict] = {}
        for number in range(self.count):
            path = self.folder / f"fold-{number}.json"
            if not path.exists():
                verdicts = self._judged(number)
                text = json.dumps({key: asdict(verdict) for key, verdict in verdicts.items()})
                durable.replace(path, text.encode())
                shutil.rmtree(self.folder / f"fold-{number}", ignore_errors=True)
            kept = json.loads(path.read_text(encoding="utf-8"))
            said |= {key: Verdict(**fields) for key, fields in kept.items()}
        return rank(self.task, self.rows.items, [said[item.key] for item in self.rows.items])

    def _judged(self, number: int) -> dict[str, Verdict]:
        """Train on all folds but one; what the model says of that one."""
        from goldloop.inference import Predictor
        from goldloop.quality.judging import judge
        from goldloop.training.run import train

        others = [place for place, fold in enumerate(self.fold) if fold != number]
        held = [place for place, fold in enumerate(self.fold) if fold == number]
        self.progress.say(f"suspects: fold {number + 1} of {self.count}: learns from {len(others)} items")
        shown = wiring.steps_shown(self.progress, lambda event: None, f"fold {number + 1}")
        # There is nothing to choose by: the last weights judge.
        config = self.training.model_copy(update={"early_stopping": None})
        with shown as heard:
            run = train(
                self.task,
                config,
                {"train": self.rows.data.select(others)},
                self.folder / f"fold-{number}",
                self.workspace.cache,
                {"version": self.version.ref, "fold": number},
                heard,
                self.progress,
            )
        predictor = Predictor.load(run.model)
        verdicts: list[Verdict] = []
        with self.progress.track("judge", len(held)) as advance:
            for start in range(0, len(held), _CHUNK):
                verdicts += judge(predictor, self.rows.read(held[start : start + _CHUNK]), advance)
        return {self.rows.items[place].key: verdict for place, verdict in zip(held, verdicts, strict=True)}

    def _result(self, ranked: Sequence[Suspect]) -> Suspects:
        score = self.task.score([each.suggested for each in ranked], [each.given for each in ranked])
        return Suspects(
            version=self.version.ref,
            way=self.way,
            model=self.described,
            folds=self.count,
            metric=self.task.metric,
            value=float(score[self.task.metric]),
            task=self.version.task,
            items=tuple(ranked),
            page=str(self.folder / PAGE),
        )
