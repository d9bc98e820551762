"""`goldloop tune`: look for settings that train a better model, judged on the validation split alone.

Every trial is an ordinary run. It lies in `runs/NAME/tuning-<search>/<run>/`; of all but the best only
`run.json` and `metrics.jsonl` stay. The best one's folder is put beside the ordinary runs too, so that
`goldloop train` with its settings finds the run finished. `study.log` holds what was tried: a search that was
killed goes on with the trial that it was at, and one that is finished is read.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from goldloop import __version__, wiring
from goldloop.acts import recorded
from goldloop.errors import Diverged, OutOfMemory, TrainingError
from goldloop.progress import Progress, Silent
from goldloop.recipe import Recipe, digest_of, in_yaml
from goldloop.results import Outcome, Trial, Tuned
from goldloop.tasks import tasks
from goldloop.training.search import Space, TuningConfig, default_space, describe
from goldloop.workspace import Workspace

if TYPE_CHECKING:
    import optuna

    from goldloop.dataset.version import Version
    from goldloop.training.config import TrainingConfig
    from goldloop.training.events import Event
    from goldloop.training.run import Run
    from goldloop.training.study import Book, Hearing


@recorded
def tune(
    recipe: Recipe,
    workspace: Workspace | None = None,
    progress: Progress | None = None,
    *,
    on: Version | str | None = None,
) -> Tuned:
    """Try settings of `training:` on a dataset version and tell which were best on its validation split.

    The test split is not read. A search that was killed goes on where it was and ends with the same result;
    one that is finished is read; with more `trials` it goes on from what it knows.

    Args:
        recipe: its `tuning:` says what to try; without one the learning rate, weight decay and warm-up.
        workspace: where.
        progress: where to tell how far it is.
        on: the version; by default the latest.

    Raises:
        VersionError: there is none yet, or it does not prove what it claims.
        TrainingError: no `training:`, no validation split, or no trial that came to its end.
    """
    workspace, progress = workspace or Workspace.open(), progress or Silent()
    if recipe.training is None:
        raise TrainingError(
            "the recipe says nothing about training",
            where=recipe.name,
            remedy="Add `training: {checkpoint: ...}` to it",
        )
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise TrainingError(
            "a search runs in one process", where="WORLD_SIZE", remedy="Start it without `accelerate launch`"
        )
    version = wiring.version_of(workspace, recipe.name, on)
    if not version.counts.get("validation"):
        raise TrainingError(
            "there is nothing to judge settings by",
            where=version.ref,
            found="no items in the validation split",
            remedy="Give `validation` a share in `dataset.split`, or label more items, and commit again",
        )
    with workspace.lock(recipe.name):
        wiring.require(workspace, version)
        return _Search(recipe, recipe.training, workspace, version, progress).go()


class _Search:
    """One search, from where its book stands."""

    def __init__(
        self,
        recipe: Recipe,
        training: TrainingConfig,
        workspace: Workspace,
        version: Version,
        progress: Progress,
    ) -> None:
        from goldloop.training.study import Book

        self.recipe = recipe
        self.config = recipe.tuning or TuningConfig()
        self.workspace = workspace
        self.version = version
        self.progress = progress
        self.metric = tasks.create(version.task).metric
        fields = training.model_dump(mode="json", by_alias=True)
        self.space = Space(self.config.space or default_space(training), fields)
        drawn_by = self.config.model_dump(mode="json", exclude={"trials", "timeout", "space"})
        spaces = {name: str(values) for name, values in self.space.values.items()}
        made_of = [*wiring.data_of(version), fields, drawn_by, spaces, __version__]
        self.id = f"tuning-{digest_of(made_of)[:12]}"
        self.folder = workspace.runs / version.name / self.id
        self.book: Book = Book(
            self.folder / "study.log", self.config, self.space, training.seed, self._evaluations(training)
        )

    def go(self) -> Tuned:
        """Train all trials that are not done; the search is finished then, or out of time."""
        self._announce()
        wanted = self.book.wanted
        with self.progress.track("trials", wanted) as advance:
            advance(len(self._finished()))
            while not self._out_of_time() and (trial := self.book.next()) is not None:
                self._try(trial, wanted)
                self._keep_the_best()
                advance(1)
        return self._result()

    def _announce(self) -> None:
        items, done = self.version.counts["validation"], len(self._finished())
        self.progress.say(
            f"tune: {self.book.wanted} trials on {self.version.ref}, drawn by {self.config.sampler}, "
            f"pruned by {self.config.pruner}"
        )
        self.progress.say(
            f"tune: judged by {self.metric} on the {items} validation items; the test split is not touched"
        )
        if self.config.space is None:
            self.progress.say("tune: the recipe names no `tuning.space`, so a usual one is searched:")
        for name, values in self.space.values.items():
            self.progress.say(f"tune:   {name}: {describe(values)}")
        if done:
            self.progress.say(f"tune: {done} trials are done already")

    def _try(self, trial: optuna.Trial, wanted: int) -> None:
        import optuna
        from torch import OutOfMemoryError

        from goldloop.training.study import Hearing

        settings = self.space.draw(trial)
        shown = ", ".join(f"{_short(name)} {in_yaml(value)}" for name, value in settings.items())
        own = " (the recipe's own)" if settings == self.space.standing() else ""
        self.progress.say(f"tune: trial {trial.number + 1} of {wanted}: {shown}{own}")
        hearing = Hearing(trial, self.metric, self.config.pruner != "none")
        try:
            config = self.space.config(settings)
            hearing.every = config.evaluate_every
            run = self._train(config, trial, hearing)
        except optuna.TrialPruned:
            hearing.settle()
            self.book.study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            self.progress.say(f"tune: trial {trial.number + 1} pruned: {hearing.summary()}")
        except (Diverged, OutOfMemory, ValidationError, OutOfMemoryError) as error:
            reason = str(error).splitlines()[0]
            trial.set_user_attr("reason", reason)
            hearing.settle()
            self.book.study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            self.progress.say(f"tune: trial {trial.number + 1} failed: {reason}")
        else:
            hearing.settle(run)
            self.book.study.tell(trial, run.value)
            best = self.book.study.best_trial
            rank = "the best so far" if best.number == trial.number else f"the best has {best.value:.4f}"
            self.progress.say(f"tune: trial {trial.number + 1}: {hearing.summary()}, {rank}")

    def _train(self, config: TrainingConfig, trial: optuna.Trial, hearing: Hearing) -> Run:
        import optuna

        from goldloop.training.events import Note

        recipe = self.recipe.model_copy(update={"training": config})
        fields = wiring.fields(recipe)
        run_id = wiring.run_id(self.version, fields["training"])
        trial.set_user_attr("run", run_id)
        facts = {"name": recipe.name, "run": run_id, "version": self.version.ref, "recipe": fields}
        say = self.progress.say if trial.number == 0 else _unsaid
        experiment = wiring.tracking(self.workspace).run(f"{recipe.name}-tuning", run_id, facts)
        with experiment as record:
            track = record.listen(Silent())

            def heard(event: Event) -> None:
                if isinstance(event, Note):
                    say(f"tune: {event.text}")
                track(event)
                hearing(event)

            shown = wiring.steps_shown(self.progress, heard, f"trial {trial.number + 1}")
            try:
                with shown as told:
                    folder = f"{self.id}/{run_id}"
                    run = wiring.fit(config, self.workspace, self.version, folder, facts, told)
            except optuna.TrialPruned:
                record.end("KILLED")
                record.finished = True
                raise
            record.finish(run)
        return run

    def _evaluations(self, training: TrainingConfig) -> int:
        if training.evaluate_every is None:
            return training.epochs
        per_epoch = -(-self.version.counts["train"] // training.batch_size)
        return -(-per_epoch * training.epochs // training.evaluate_every)

    def _finished(self) -> list[Trial]:
        return [_trial(trial, self.space) for trial in self.book.trials if trial.state.is_finished()]

    def _out_of_time(self) -> bool:
        limit = self.config.timeout
        if limit is None or sum(trial.seconds for trial in self._finished()) < limit * 60:
            return False
        # A trial that was begun is brought to its end, in whatever session.
        return all(trial.state.is_finished() for trial in self.book.trials)

    def _best(self) -> Trial | None:
        complete = [trial for trial in self._finished() if trial.outcome == "finished"]
        return max(complete, key=lambda trial: (trial.value, -trial.number), default=None)

    def _keep_the_best(self) -> None:
        """Take away weights and checkpoints of all trials but the best."""
        best = self._best()
        for folder in self.folder.iterdir():
            if folder.is_dir() and (best is None or folder.name != best.run):
                for part in ("model", "checkpoints"):
                    shutil.rmtree(folder / part, ignore_errors=True)

    def _result(self) -> Tuned:
        trials, best = tuple(self._finished()), self._best()
        if best is None:
            reasons = [trial.reason for trial in trials if trial.reason]
            raise TrainingError(
                "no trial came to its end",
                where=self.folder,
                found=reasons[-1] if reasons else f"{len(trials)} trials",
                remedy="Search other ranges in `tuning.space`, lower learning rates first",
            )
        own = self.space.standing()
        return Tuned(
            name=self.recipe.name,
            version=self.version.ref,
            metric=self.metric,
            validation_items=self.version.counts["validation"],
            trials=trials,
            best=best,
            own=next((trial.value for trial in trials if trial.settings == own), None),
            importance=self.book.importance(),
            seconds=sum(trial.seconds for trial in trials),
            folder=self._put_beside_ordinary_runs(best.run),
        )

    def _put_beside_ordinary_runs(self, run: str) -> Path:
        """The best run's folder where `goldloop train` with its settings looks for it."""
        place = self.folder.parent / run
        if not (place / "run.json").exists():
            aside = place.with_name(f".{run}.{os.getpid()}")
            shutil.rmtree(aside, ignore_errors=True)
            shutil.copytree(self.folder / run, aside, copy_function=_linked)
            shutil.rmtree(place, ignore_errors=True)
            aside.replace(place)
        return place


def _trial(trial: optuna.trial.FrozenTrial, space: Space) -> Trial:
    from optuna.trial import TrialState

    reason = trial.user_attrs.get("reason")
    pruned: Outcome = "failed" if reason else "pruned"
    seen = trial.intermediate_values.values()
    complete = trial.state == TrialState.COMPLETE
    return Trial(
        number=trial.number,
        settings=space.settings(trial.params),
        outcome="finished" if complete else pruned,
        value=trial.value if complete else max(seen, default=None),
        steps=trial.user_attrs.get("steps", 0),
        seconds=trial.user_attrs.get("seconds", 0.0),
        run=trial.user_attrs.get("run", ""),
        reason=reason,
    )


def _short(name: str) -> str:
    return name.removeprefix("training.")


def _unsaid(text: str) -> None:
    """What the first trial has said already."""


def _linked(source: str, target: str) -> None:
    """A second name for a file that never changes, or a copy where the disk has no such names."""
    if Path(source).name == "metrics.jsonl":
        shutil.copy2(source, target)
        return
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
