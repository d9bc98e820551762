"""The book of a search: which settings were tried and what came of them, kept by Optuna in one file.

Every trial is drawn by a sampler of its own seed, so a search that was killed goes on with the same trials
as one that was not.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop.errors import TrainingError
from goldloop.training.events import Evaluated, Event, StepLogged
from goldloop.training.search import Space, TuningConfig

if TYPE_CHECKING:
    import optuna

    from goldloop.training.run import Run

_BEFORE_LEARNING = 6
_BEFORE_PRUNING = 4
_FEWEST_FOR_IMPORTANCE = 4


class Book:
    """An Optuna study on disk, for one process at a time.

    Args:
        file: where it is kept; made on first use.
        config: how trials are drawn and pruned.
        space: what they are drawn from.
        seed: decides every draw.
        evaluations: how often a whole run is scored.

    Raises:
        TrainingError: the file cannot be read.
    """

    def __init__(self, file: Path, config: TuningConfig, space: Space, seed: int, evaluations: int) -> None:
        import optuna
        from optuna.storages.journal import JournalFileBackend, JournalStorage

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.config = config
        self.space = space
        self.seed = seed
        _mend(file)
        try:
            self.study = optuna.create_study(
                storage=JournalStorage(JournalFileBackend(str(file))),
                study_name=file.parent.name,
                direction="maximize",
                pruner=_pruner(config, evaluations),
                load_if_exists=True,
            )
        except (OSError, ValueError, KeyError) as error:
            raise TrainingError(
                "the search's book cannot be read",
                where=file,
                found=f"{type(error).__name__}: {error}",
                remedy="Remove its folder to search anew",
            ) from error

    @property
    def trials(self) -> list[optuna.trial.FrozenTrial]:
        """All that were begun, in order."""
        waiting = self._states().WAITING
        return [trial for trial in self.study.get_trials(deepcopy=False) if trial.state != waiting]

    @property
    def wanted(self) -> int:
        """How many trials there are to be: fewer than asked for where a grid has no more."""
        if self.config.sampler != "grid":
            return self.config.trials
        return min(self.config.trials, len(self.space.grid(self.seed)))

    def next(self) -> optuna.Trial | None:
        """The trial that a killed process left, else a new one; None when all are done."""
        import optuna

        states = self._states()
        known = self.study.get_trials(deepcopy=False)
        left = [trial for trial in known if trial.state == states.RUNNING]
        waits = [trial for trial in known if trial.state == states.WAITING]
        number = left[0].number if left else waits[0].number if waits else len(known)
        self.study.sampler = self._sampler(number)
        if left:
            return optuna.Trial(self.study, left[0]._trial_id)
        if number >= self.wanted:
            return None
        if not waits:
            self._enqueue(number)
        return self.study.ask()

    def importance(self) -> dict[str, float] | None:
        """Setting -> share of what made trials differ, adding up to 1; None where too few say."""
        import optuna

        finished = [trial for trial in self.trials if trial.state == self._states().COMPLETE]
        if len(finished) < _FEWEST_FOR_IMPORTANCE or len({trial.value for trial in finished}) < 2:
            return None
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self.seed)
        found = optuna.importance.get_param_importances(self.study, evaluator=evaluator)
        return {name: float(share) for name, share in found.items()}

    def _enqueue(self, number: int) -> None:
        """Settings that are not drawn: of a grid, and the recipe's own, which the others are held against."""
        chosen: Mapping[str, Any] | None = None
        if self.config.sampler == "grid":
            chosen = self.space.grid(self.seed)[number]
        elif number == 0:
            chosen = self.space.standing()
        if chosen is not None:
            self.study.enqueue_trial(self.space.as_parameters(chosen))

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        from optuna.samplers import RandomSampler, TPESampler

        seed = zlib.crc32(f"{self.seed}:{number}".encode())
        if self.config.sampler != "tpe":
            return RandomSampler(seed=seed)
        return TPESampler(
            n_startup_trials=_BEFORE_LEARNING,
            multivariate=True,
            # What a killed trial had drawn must not change what it draws when it goes on.
            constant_liar=False,
            seed=seed,
        )

    @staticmethod
    def _states() -> type[optuna.trial.TrialState]:
        from optuna.trial import TrialState

        return TrialState


class Hearing:
    """Hears a trial's run: reports what it scores, and ends it where it is pruned.

    Args:
        trial: Optuna's.
        metric: what is reported.
        prunes: whether the pruner is asked.

    Attributes:
        every: the run's `evaluate_every`.
        steps: how many it has done.
        value: the highest so far; None before the first evaluation.
    """

    def __init__(self, trial: optuna.Trial, metric: str, prunes: bool) -> None:
        self.trial = trial
        self.metric = metric
        self.prunes = prunes
        self.every: int | None = None
        self.steps = int(trial.user_attrs.get("steps", 0))
        self.value: float | None = None
        self._before = float(trial.user_attrs.get("seconds", 0.0))
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Spent on the trial, in sessions before too."""
        return self._before + time.perf_counter() - self._started

    def __call__(self, event: Event) -> None:
        """Hear an event of the run.

        Raises:
            optuna.TrialPruned: others did better at the same evaluation.
        """
        if isinstance(event, StepLogged | Evaluated):
            self.steps = event.step
        if isinstance(event, Evaluated):
            self._report(event)

    def settle(self, run: Run | None = None) -> None:
        """Write down what the trial cost."""
        if run is not None:
            self.steps, self.value = run.steps, run.value
        self.trial.set_user_attr("steps", self.steps)
        self.trial.set_user_attr("seconds", self.seconds)

    def summary(self) -> str:
        """What came of it."""
        reached = "" if self.value is None else f"{self.metric} {self.value:.4f} "
        return f"{reached}after {self.steps} steps, {self.seconds:.0f} s"

    def _report(self, event: Evaluated) -> None:
        import optuna

        value = event.metrics[self.metric]
        self.value = value if self.value is None else max(self.value, value)
        self.trial.set_user_attr("steps", event.step)
        self.trial.set_user_attr("seconds", self.seconds)
        known = self.trial.study.get_trials(deepcopy=False)[self.trial.number].intermediate_values
        number = self._number(event)
        if number not in known:
            self.trial.report(value, number)
        if self.prunes and self.trial.should_prune():
            raise optuna.TrialPruned

    def _number(self, event: Evaluated) -> int:
        """Which evaluation it is, in this session or one before: like is held against like."""
        return event.epoch if self.every is None else -(-event.step // self.every)


def _pruner(config: TuningConfig, evaluations: int) -> optuna.pruners.BasePruner:
    from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner

    if config.pruner == "hyperband":
        return HyperbandPruner(min_resource=1, max_resource=max(evaluations, 1), reduction_factor=3)
    if config.pruner == "median":
        # The first evaluation falls into the warm-up, or close behind it.
        return MedianPruner(n_startup_trials=_BEFORE_PRUNING, n_warmup_steps=min(2, evaluations))
    return NopPruner()


def _mend(file: Path) -> None:
    """Take away what a killed process left: its lock, and half a line at the end."""
    file.parent.mkdir(parents=True, exist_ok=True)
    for lock in file.parent.glob(f"{file.name}.lock*"):
        lock.unlink(missing_ok=True)
    if file.exists():
        content = file.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with file.open("r+b") as opened:
                opened.truncate(whole)
