"""`goldloop blame`: why a model is worse, or better, than another, found by training again.

Two models differ in what they were trained on and how. Of each such difference alone, the newer model is
trained again with the older one's part in its place, and judged by the same items: what that gives back is
what the difference cost. A training with nothing changed but the seed says how much is chance.

    labels      items of both versions, with the labels of the older one
    data        the items of the older version, with the labels of the newer one where it has them
    schema      the classes of the older version; items of other classes are left out
    settings    the older model's `training:`
    seed        another seed: what chance alone does

Versions of goldloop itself cannot be exchanged: where they differ, that is told.

<workspace>/runs/NAME/blame-<id>/
  labels/ ...    a run each; one that is finished is not trained again
  blame.json     the outcome
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from goldloop import durable, wiring
from goldloop.dataset.mixed import Mixed, Splits
from goldloop.errors import ModelError
from goldloop.loop import evaluate
from goldloop.progress import Progress, Silent
from goldloop.recipe import digest_of
from goldloop.tasks import tasks
from goldloop.workspace import Workspace

if TYPE_CHECKING:
    from goldloop.dataset.version import Version
    from goldloop.evaluation.report import Report
    from goldloop.registry.models import ModelVersion
    from goldloop.training.config import TrainingConfig

Factor = Literal["labels", "data", "schema", "settings", "seed"]
RESULT = "blame.json"
_OTHER_SEED = 1_000_003


@dataclass(frozen=True, slots=True)
class Cause:
    """One difference between two models, and what it does.

    Attributes:
        factor: which.
        differs: what the difference is, in words.
        figure: the metric of the newer model with the older one's part in this place.
        gain: that minus the newer model's own figure, with the 95% interval over resampled items.
        low, high: of that interval.
        chance: how often models that are equally good differ so far, in (0, 1].
    """

    factor: Factor
    differs: str
    figure: float
    gain: float
    low: float
    high: float
    chance: float


@dataclass(frozen=True, slots=True)
class Blame:
    """Why one model differs from another.

    Attributes:
        model, against: which.
        version, split: what judged both.
        metric: the figure.
        value, rival: of the two.
        causes: the differences, that which gives back most first; the seed is the last.
        untried: differences that no training can take back, in words.
    """

    model: str
    against: str
    version: str
    split: str
    metric: str
    value: float
    rival: float
    causes: tuple[Cause, ...]
    untried: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    def headline(self) -> str:
        """One sentence: the difference, and what gives back most of it."""
        start = (
            f"{self.model} has {self.metric} {self.value:.3f}, {self.against} {self.rival:.3f} "
            f"on {self.version} {self.split}"
        )
        real = [cause for cause in self.causes if cause.factor != "seed"]
        if not real:
            return f"{start}; they were trained alike"
        worse = self.value < self.rival
        first = real[0]
        does = "gives back" if worse else "changes"
        return f"{start}; taking back the {first.factor} {does} {first.gain:+.3f} ({first.differs})"


def blame(
    model: str,
    against: str | None = None,
    *,
    on: str | None = None,
    workspace: Workspace | None = None,
    progress: Progress | None = None,
) -> Blame:
    """Find out which difference between two models makes one worse than the other.

    A search that was killed goes on; a finished one is read.

    Args:
        model: as `evaluate` takes it.
        against: the older model; by default the champion, or of the champion the one before it.
        on: the version whose test split judges; by default the latest.
        workspace: where.
        progress: where to tell how far it is.

    Raises:
        ModelError: there is no other model, or nothing to judge them by.
        VersionError: a version that one of them was trained on is gone.
        TrainingError: a run cannot go on.
    """
    workspace, progress = workspace or Workspace.open(), progress or Silent()
    registry = wiring.registry(workspace)
    entry = registry.find(model)
    rival = registry.find(against) if against is not None else _default_rival(registry, entry)
    with workspace.lock(entry.name):
        report = evaluate(entry.ref, on=on, workspace=workspace, progress=progress)
        before = evaluate(rival.ref, on=report.version, workspace=workspace, progress=progress)
        return _Search(workspace, progress, (entry, report), (rival, before)).go()


def _default_rival(registry: Any, entry: ModelVersion) -> ModelVersion:
    champion = registry.champion(entry.name)
    if champion is not None and champion.number != entry.number:
        found: ModelVersion = champion
        return found
    earlier = [model for model in registry.models(entry.name) if model.number < entry.number]
    if not earlier:
        raise ModelError(
            "there is no other model to hold it against",
            where=entry.ref,
            remedy="Name one: `goldloop blame MODEL --against OTHER`",
        )
    before: ModelVersion = earlier[-1]
    return before


@dataclass(frozen=True, slots=True)
class _Side:
    """A model, and what it was made of."""

    entry: ModelVersion
    report: Report
    version: Version
    training: TrainingConfig
    goldloop: str

    @property
    def classes(self) -> tuple[str, ...]:
        return tasks.create(self.version.task).classes


class _Search:
    """The trainings that one question takes."""

    def __init__(
        self,
        workspace: Workspace,
        progress: Progress,
        new: tuple[ModelVersion, Report],
        old: tuple[ModelVersion, Report],
    ) -> None:
        self.workspace = workspace
        self.progress = progress
        self.new, self.old = self._side(*new), self._side(*old)
        identity = [self.new.entry.ref, self.old.entry.ref, self.new.report.version, self.new.report.split]
        folder = f"blame-{digest_of(identity)[:12]}"
        self.folder = workspace.runs / self.new.entry.name / folder

    def go(self) -> Blame:
        """Train what is missing, and tell."""
        tried = self._differences()
        causes = [self._cause(factor, differs, tried[factor][1]) for factor, (differs, _) in tried.items()]
        worse = self.new.report.metrics[self._metric].value < self.old.report.metrics[self._metric].value
        causes.sort(key=lambda cause: (cause.factor == "seed", -cause.gain if worse else cause.gain))
        untried = []
        if self.new.goldloop != self.old.goldloop:
            untried.append(f"goldloop {self.old.goldloop} and {self.new.goldloop}")
        found = Blame(
            model=self.new.entry.ref,
            against=self.old.entry.ref,
            version=self.new.report.version,
            split=self.new.report.split,
            metric=self._metric,
            value=self.new.report.metrics[self._metric].value,
            rival=self.old.report.metrics[self._metric].value,
            causes=tuple(causes),
            untried=tuple(untried),
        )
        durable.replace(self.folder / RESULT, json.dumps(found.facts(), indent=1).encode())
        self.progress.say(f"blame: {found.headline()}")
        return found

    @property
    def _metric(self) -> str:
        return self.new.report.metric

    def _side(self, entry: ModelVersion, report: Report) -> _Side:
        from goldloop.training.config import TrainingConfig

        predictor = wiring.predictor(self.workspace, entry)
        training = TrainingConfig.model_validate(predictor.facts["recipe"]["training"])
        version = wiring.version_of(self.workspace, entry.name, entry.version)
        record = json.loads((self.workspace.runs / entry.name / entry.run / "run.json").read_text("utf-8"))
        made_by = str(record.get("packages", {}).get("goldloop", "unknown"))
        return _Side(entry, report, version, training, made_by)

    def _differences(self) -> dict[Factor, tuple[str, Callable[[], tuple[Splits, TrainingConfig]]]]:
        """What differs, in words, and what to train on instead, and how."""
        found: dict[Factor, tuple[str, Callable[[], tuple[Splits, TrainingConfig]]]] = {}
        config = self.new.training
        mixed = Mixed(self.new.version, self.old.version)
        if mixed.relabelled:
            found["labels"] = (
                _counted(len(mixed.relabelled), "label", "changed"),
                lambda: (mixed.old_labels(), config),
            )
        if mixed.added or mixed.dropped:
            differs = f"{len(mixed.added):,} items more, {len(mixed.dropped):,} fewer"
            found["data"] = (differs, lambda: (mixed.old_items(), config))
        gone = [name for name in self.new.classes if name not in self.old.classes]
        if gone:
            found["schema"] = (
                "new classes: " + ", ".join(map(repr, gone)),
                lambda: (mixed.without_classes(gone), config),
            )
        changes = _changed(self.old.training, self.new.training)
        if changes:
            found["settings"] = (", ".join(changes), lambda: (mixed.as_it_is(), self.old.training))
        other = config.model_copy(update={"seed": (config.seed + _OTHER_SEED) % 2**31})
        found["seed"] = ("another seed, nothing else", lambda: (mixed.as_it_is(), other))
        return found

    def _cause(
        self, factor: Factor, differs: str, ingredients: Callable[[], tuple[Splits, TrainingConfig]]
    ) -> Cause:
        from goldloop.evaluation.significance import compare

        report = self._trained(factor, differs, ingredients)
        task = tasks.create(self.new.report.task)
        found = compare(task, report, self.new.report, self._metric)
        back = compare(task, self.new.report, report, self._metric)
        # Either of the two may be the better one: both directions are asked.
        chance = min(1.0, 2 * min(found.chance, back.chance))
        gain = found.difference
        return Cause(factor, differs, found.challenger, gain.value, gain.low, gain.high, chance)

    def _trained(
        self, factor: Factor, differs: str, ingredients: Callable[[], tuple[Splits, TrainingConfig]]
    ) -> Report:
        """The report of a model with one difference taken back."""
        from goldloop.evaluation import report as reports
        from goldloop.inference import Predictor
        from goldloop.training.run import train

        splits, config = ingredients()
        self.progress.say(f"blame: training again without the difference in {factor}: {differs}")
        task = tasks.create(self.new.version.task)
        with wiring.steps_shown(self.progress, lambda _event: None, f"train ({factor})") as heard:
            run = train(
                task, config, splits, self.folder / factor, self.workspace.cache, {}, heard, self.progress
            )
        judging = wiring.version_of(self.workspace, self.new.entry.name, self.new.report.version)
        return reports.evaluate(
            tasks.create(judging.task),
            judging.dataset(self.new.report.split),
            Predictor.load(run.model).predict,
            name=self.new.entry.name,
            model=f"{self.new.entry.ref} without its {factor}",
            version=judging.ref,
            split=self.new.report.split,
            own_models={self.new.entry.ref, self.old.entry.ref},
        )


def _changed(old: TrainingConfig, new: TrainingConfig) -> list[str]:
    """Settings that differ, as `name: old, now new`."""
    before, after = old.model_dump(mode="json", by_alias=True), new.model_dump(mode="json", by_alias=True)
    return [
        f"{name}: {before.get(name)}, now {after.get(name)}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


def _counted(count: int, noun: str, verb: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)} {verb}"
