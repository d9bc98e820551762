"""`goldloop budget`: what more labels would be worth, by trainings on some of those that there are.

The training split's labels are put in several orders of chance; of each, the first sixteenth, then more up
to all, train a model, and all are judged by the same items. `embeddings`: a linear head on the frozen
embeddings of the recipe's own checkpoint, seconds each. `training`: the recipe's own model, trained by
goldloop's own engine: as long as some three trainings on all labels. The curve through these figures is then
continued.

<workspace>/runs/NAME/budget-<id>/
  budget.json        the curve; there when finished
  budget.html        the same as a page
  answers-*.json     what each training answered, so that a search that was killed goes on
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from goldloop import __version__, durable, wiring
from goldloop.errors import TrainingError, VersionError
from goldloop.learning_curve.budget import Budget
from goldloop.learning_curve.forecast import FEWEST_SIZES, Measured
from goldloop.learning_curve.judging import Judge
from goldloop.learning_curve.page import budget_page
from goldloop.progress import Progress, Silent
from goldloop.recipe import Recipe, digest_of
from goldloop.tasks import tasks
from goldloop.workspace import Workspace

if TYPE_CHECKING:
    import datasets
    from numpy.typing import NDArray

    from goldloop.dataset.version import Version
    from goldloop.training.config import TrainingConfig

Way = Literal["auto", "embeddings", "training"]

RESULT = "budget.json"
PAGE = "budget.html"
_SMALLEST = 16
"""The fewest labels that a model is trained on are all of them divided by this."""
_FEWEST_LABELS = 48
_FEWEST_JUDGES = 20


@dataclass(frozen=True, slots=True)
class _Effort:
    """How many sizes, and how many orders of the labels."""

    sizes: int
    draws: int


_EFFORT = {"embeddings": _Effort(7, 5), "training": _Effort(5, 2)}


def budget(
    recipe: Recipe,
    workspace: Workspace | None = None,
    progress: Progress | None = None,
    *,
    way: Way = "auto",
    split: Literal["test", "validation"] = "test",
) -> Budget:
    """Measure the learning curve of a recipe's latest version; `worth` then says what more labels would give.

    The same version and settings are found at once; a search that was killed goes on.

    Args:
        recipe: whose version, and whose model.
        workspace: where.
        progress: where to tell how far it is.
        way: what is trained; `auto`: a head on embeddings where answers are classes and the checkpoint is one
            that has learned something, else the recipe's own model.
        split: which split judges.

    Raises:
        VersionError: there is no version, it does not prove what it claims, or it has too few labels.
        TrainingError: the recipe does not say what to train.
    """
    workspace, progress = workspace or Workspace.open(), progress or Silent()
    with workspace.lock(recipe.name):
        return _Search(recipe, workspace, progress, way, split).go()


def known(recipe: Recipe, workspace: Workspace) -> Budget | None:
    """What is known already of the latest version, without a training; None where nothing is."""
    try:
        return _Search(recipe, workspace, Silent(), "auto", "test").kept()
    except (TrainingError, VersionError):
        return None


class _Search:
    """The trainings that one curve takes."""

    def __init__(
        self, recipe: Recipe, workspace: Workspace, progress: Progress, way: Way, split: str
    ) -> None:
        if recipe.training is None:
            raise TrainingError(
                "nothing says which model is to learn from the labels",
                where=recipe.name,
                remedy="Add `training: {checkpoint: ...}` to the recipe",
            )
        self.workspace, self.progress, self.split = workspace, progress, split
        self.version: Version = wiring.version_of(workspace, recipe.name, None)
        self.training: TrainingConfig = recipe.training
        self.task = tasks.create(self.version.task)
        learned = isinstance(self.training.checkpoint, str) and self.task.answers_are_classes
        self.way = way if way != "auto" else "embeddings" if learned else "training"
        if self.way == "embeddings" and not self.task.answers_are_classes:
            raise TrainingError(
                "a linear head on embeddings finds classes only",
                where=self.task.config.kind,
                remedy="Leave `--way` out, or say `--way training`",
            )
        fields = self.training.model_dump(mode="json", by_alias=True)
        made_of = [*wiring.data_of(self.version), self.way, split, fields, __version__]
        self.folder = workspace.runs / recipe.name / f"budget-{digest_of(made_of)[:12]}"

    def kept(self) -> Budget | None:
        """What an earlier search has found."""
        path = self.folder / RESULT
        return Budget.of_facts(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None

    def go(self) -> Budget:
        """The curve, as it is kept or measured now."""
        kept = self.kept()
        if kept is not None:
            self.progress.say(f"budget: measured before, in {self.folder}")
            return kept
        wiring.require(self.workspace, self.version)
        sizes = self._sizes()
        self.folder.mkdir(parents=True, exist_ok=True)
        draws = _EFFORT[self.way].draws
        self.progress.say(
            f"budget: {self.version.ref}, {self._described}, on {sizes[0]:,} to {sizes[-1]:,} labels"
        )
        # All labels in another order are the same labels.
        plan = [(size, draw) for size in sizes for draw in range(draws if size < sizes[-1] else 1)]
        judge = Judge(self.task, self._targets(self._judging))
        with self.progress.track("train", len(plan)) as advance:
            for size, draw in plan:
                judge.take(size, self._answers(size, draw))
                advance(1)
        found = self._result(judge.curve())
        durable.replace(self.folder / PAGE, budget_page(found).encode())
        durable.replace(self.folder / RESULT, (json.dumps(found.facts()) + "\n").encode())
        for left in [*self.folder.glob("answers-*"), *self.folder.glob("train-*")]:
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        return found

    def _result(self, curve: Measured) -> Budget:
        return Budget(
            version=self.version.ref,
            way=self.way,
            model=self._described,
            metric=self.task.metric,
            split=self.split,
            judges=len(self._judging),
            labels=sum(self.version.counts.values()),
            curve=curve,
            page=str(self.folder / PAGE),
        )

    @property
    def _described(self) -> str:
        checkpoint = self.training.checkpoint
        name = checkpoint if isinstance(checkpoint, str) else str(checkpoint.from_config["model_type"])
        name = Path(name).name if Path(name).is_absolute() else name
        if self.way == "embeddings":
            return f"a linear head on the frozen embeddings of {name}"
        return f"{name}, trained as the recipe says"

    def _sizes(self) -> list[int]:
        import numpy

        whole, judges = len(self._rows), len(self._judging)
        if whole < _FEWEST_LABELS or judges < _FEWEST_JUDGES:
            raise VersionError(
                "there are too few labels to tell what more of them would be worth",
                where=self.version.ref,
                found=f"{whole} that train and {judges} that judge",
                expected=f"{_FEWEST_LABELS} and {_FEWEST_JUDGES} at least",
                remedy="Label more items, and commit",
            )
        steps = numpy.geomspace(whole / _SMALLEST, whole, max(_EFFORT[self.way].sizes, FEWEST_SIZES))
        return sorted({round(float(size)) for size in steps})

    @cached_property
    def _rows(self) -> datasets.Dataset:
        return self.version.dataset("train")

    @cached_property
    def _judging(self) -> datasets.Dataset:
        return self.version.dataset(self.split)

    def _chosen(self, size: int, draw: int) -> list[int]:
        """Places of the labels to learn from: the first so many in an order of chance."""
        keys: Sequence[str] = self._rows["key"][:]
        order = sorted(range(len(keys)), key=lambda place: _drawn(draw, keys[place]))
        return sorted(order[:size])

    def _answers(self, size: int, draw: int) -> list[Any]:
        """What a model that learned from some of the labels says of the items that judge."""
        path = self.folder / f"answers-{size}-{draw}.json"
        if path.exists():
            kept: list[Any] = json.loads(path.read_text(encoding="utf-8"))
            return kept
        ask = self._by_embeddings if self.way == "embeddings" else self._by_training
        answers = ask(size, draw)
        durable.replace(path, json.dumps(answers).encode())
        return answers

    @cached_property
    def _points(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Of the training split and of what judges, scaled."""
        from goldloop.quality.embeddings import embed
        from goldloop.quality.linear_head import scaled

        def placed(rows: datasets.Dataset) -> NDArray[Any]:
            checkpoint, settings = str(self.training.checkpoint), self.training.model_settings()
            read, cache = (lambda places: list(rows.select(places))), self.workspace.cache
            return scaled(embed(self.task, checkpoint, settings, rows["key"][:], read, cache, self.progress))

        return placed(self._rows), placed(self._judging)

    @cached_property
    def _labels(self) -> NDArray[Any]:
        """Class ids `(N,)`, or of answers that are sets of classes 0 and 1 `(N, C)`."""
        import numpy

        targets = self._targets(self._rows)
        names = self.task.classes
        if any(isinstance(target, list) for target in targets):
            return numpy.array([[int(name in target) for name in names] for target in targets])
        return numpy.array([names.index(target) for target in targets])

    def _targets(self, rows: datasets.Dataset) -> list[Any]:
        columns = [name for name in rows.column_names if name != self.task.modality]
        return [self.task.from_row(row) for row in rows.select_columns(columns)]

    def _by_embeddings(self, size: int, draw: int) -> list[Any]:
        from goldloop.quality.linear_head import fitted

        points, asked = self._points
        chosen, names = self._chosen(size, draw), self.task.classes
        shares = fitted(points[chosen], self._labels[chosen], len(names))(asked)
        if self._labels.ndim == 1:
            return [names[best] for best in shares.argmax(1)]
        return [[name for name, share in zip(names, row, strict=True) if share >= 0.5] for row in shares]

    def _by_training(self, size: int, draw: int) -> list[Any]:
        from goldloop.evaluation.rows import chunks, fair
        from goldloop.inference import Predictor
        from goldloop.training.run import train

        splits = {
            "train": self._rows.select(self._chosen(size, draw)),
            "validation": self.version.dataset("validation"),
        }
        config = self.training.model_copy(update={"seed": (self.training.seed + draw) % 2**31})
        folder = self.folder / f"train-{size}-{draw}"
        what = f"{size:,} labels, order {draw + 1}"
        with wiring.steps_shown(self.progress, lambda _event: None, what) as heard:
            run = train(self.task, config, splits, folder, self.workspace.cache, {}, heard, self.progress)
        predictor = Predictor.load(run.model)
        answers: list[Any] = []
        for chunk in chunks(self.task, fair(self._judging, frozenset(), {})):
            said = predictor.predict([asked.content for asked in chunk])
            answers += [prediction.target for prediction in said]
        shutil.rmtree(folder)
        return answers


def _drawn(draw: int, key: str) -> bytes:
    return hashlib.sha256(f"budget:{draw}:{key}".encode()).digest()
