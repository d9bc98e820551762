"""`goldloop estimate`: what a training run will need, measured over a few steps of it on this machine.

A copy of the run is trained on a sample of the data in a temporary folder, by the very code that trains;
what it took is carried over to the whole. Nothing of it is kept.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop import wiring
from goldloop.errors import TrainingError, VersionError
from goldloop.progress import Progress, Silent
from goldloop.recipe import Recipe
from goldloop.tasks import tasks
from goldloop.tasks.base import Task
from goldloop.workspace import Workspace

if TYPE_CHECKING:
    import datasets

    from goldloop.dataset.version import Version
    from goldloop.training.config import TrainingConfig
    from goldloop.training.rehearsal import Rehearsal

_ASSUMED_ITEMS = 1000
_EASY, _HARD = 0.7, 1.5
"""How far what was measured a few times only (start, preparation, evaluation) may be from what it will be."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that one process holds at its peak: on a GPU those of the GPU, else resident ones.

    Attributes:
        weights, gradients, optimizer: of the network; the optimizer's as its checkpoint has them.
        activations: what else the steps and evaluations took, as measured.
        base: Python and its libraries before there was a network; 0 on a GPU.
        peak: all of it.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    base: int
    peak: int


@dataclass(frozen=True, slots=True)
class Duration:
    """Seconds of a run.

    Attributes:
        start: until the first step, libraries and the model loaded, without preparation.
        preparation: of the data, the first time that they are trained on at this size.
        steps: all of them.
        evaluation: on the validation split, and saving, each time that it is scored.
        end: writing the model.
        total: of all these.
        low, high: the range in which the total lies, from the spread of the measured steps.
        earliest: the total if early stopping ends the run as soon as it may; None without it.
        on_devices: lower bound for the total where steps and evaluation are shared out ideally.
    """

    start: float
    preparation: float
    steps: float
    evaluation: float
    end: float
    total: float
    low: float
    high: float
    earliest: float | None
    on_devices: float


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes: `cache` of prepared data (shared by runs), `checkpoints` at most at a time, and the `model`."""

    cache: int
    checkpoints: int
    model: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run will need.

    Attributes:
        name: the recipe's.
        data: what was measured on: `NAME@DIGEST`, or `made-up content`.
        items: split -> how many it trains and is scored on.
        device: what computes.
        devices: for how many of it `Duration.on_devices` is.
        parameters, trained: of the network, and those of them that learn.
        step: seconds per step, on average over those measured.
        step_low, step_high: in quick and in slow moments of the machine.
        steps: in all epochs.
        evaluations: how often it is scored.
        memory, duration, disk: see there.
        cost: of `duration.total` on one device; None without a price.
        cost_on_devices: of `duration.on_devices` on all of them.
        notes: what the figures rest on.
        seconds: what the estimate itself took.
    """

    name: str
    data: str
    items: Mapping[str, int]
    device: str
    devices: int
    parameters: int
    trained: int
    step: float
    step_low: float
    step_high: float
    steps: int
    evaluations: int
    memory: Memory
    duration: Duration
    disk: Disk
    cost: float | None
    cost_on_devices: float | None
    notes: tuple[str, ...]
    seconds: float

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def estimate(
    recipe: Recipe,
    workspace: Workspace | None = None,
    progress: Progress | None = None,
    *,
    on: Version | str | None = None,
    devices: int = 1,
    price_per_hour: float | None = None,
    seconds: float = 12.0,
) -> Estimate:
    """Memory, time, disk and cost of `goldloop train` with a recipe, on this machine.

    Where there is no version yet, content is made up and the number of items is what the catalog knows, or
    1,000.

    Args:
        recipe: what would be trained.
        workspace: where.
        progress: where to tell how far it is.
        on: the version; by default the latest.
        devices: how many like this one, for a lower bound.
        price_per_hour: of one device, in any currency.
        seconds: how long to measure steps, ten at least.

    Raises:
        TrainingError: no `training:`, or a run that cannot be trained.
        ModelError: the checkpoint does not fit.
    """
    from goldloop.training.rehearsal import BATCHES, rehearse

    started = time.perf_counter()
    workspace, progress = workspace or Workspace.open(), progress or Silent()
    config = recipe.training
    if config is None:
        raise TrainingError(
            "the recipe says nothing about training",
            where=recipe.name,
            remedy="Add `training: {checkpoint: ...}` to it",
        )
    notes: list[str] = []
    wanted = {"train": BATCHES * config.batch_size, "validation": 2 * config.batch_size}
    try:
        version = wiring.version_of(workspace, recipe.name, on)
    except VersionError:
        if on is not None:
            raise
        data, task = "made-up content", tasks.create(recipe.task)
        items = _expected(recipe, workspace, notes)
        splits = _made_up(task, {name: min(count, items[name]) for name, count in wanted.items()})
    else:
        data, task = version.ref, tasks.create(version.task)
        items = {name: version.counts.get(name, 0) for name in wanted}
        splits = {name: version.sample(name, count) for name, count in wanted.items()}
    progress.say(f"estimate: a few steps on {data}; nothing of them is kept")
    _as_a_run_loads()
    loading = time.perf_counter() - started
    with tempfile.TemporaryDirectory(prefix="goldloop-estimate-") as folder:
        seen = rehearse(task, config, splits, Path(folder), seconds)
    seen = replace(seen, start=loading + seen.start)
    if not items["validation"]:
        notes.append("the validation split is empty: nothing is scored, and nothing stops the run early")
    if config.freeze is not None and config.freeze.thaw_every is not None:
        notes.append("layers that thaw later will take more memory and time than was seen")
    return _carried_over(recipe.name, config, data, items, seen, devices, price_per_hour, notes, started)


def _as_a_run_loads() -> None:
    """Load what every run has in memory beside its network: it is tracked."""
    with suppress(ImportError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import_module("mlflow.tracking")


def _expected(recipe: Recipe, workspace: Workspace, notes: list[str]) -> dict[str, int]:
    """How many items each split will have, from what the catalog knows."""
    from goldloop.catalog.content import items_of

    with workspace.engine.connect() as connection:
        known = sum(1 for _ in items_of(connection, recipe.name))
    count = known or _ASSUMED_ITEMS
    notes.append(
        "there is no version yet: content is made up, and real content takes other times; "
        + (f"{known} items are known" if known else f"{count} items are assumed")
    )
    split = recipe.dataset.split
    return {"train": max(round(count * split.train), 1), "validation": round(count * split.validation)}


def _made_up(task: Task[Any], wanted: Mapping[str, int]) -> dict[str, datasets.Dataset]:
    """The task type's own examples, over and over."""
    import datasets

    features = datasets.Features({**task.features(), "key": datasets.Value("string")})
    examples = _examples(task)
    splits = {}
    for name, count in wanted.items():
        rows = [{**examples[place % len(examples)], "key": f"{name}-{place}"} for place in range(count)]
        splits[name] = datasets.Dataset.from_list(rows, features=features)
    return splits


def _examples(task: Task[Any]) -> list[dict[str, Any]]:
    """Rows of the task's examples that its own classes allow."""
    rows = []
    for example in task.examples():
        content: Any = example.item.text
        if example.content is not None:
            content = {"bytes": example.content, "path": None}
        rows.append({task.modality: content, **task.to_row(example.target)})
    return rows


def _carried_over(
    name: str,
    config: TrainingConfig,
    data: str,
    items: Mapping[str, int],
    seen: Rehearsal,
    devices: int,
    price_per_hour: float | None,
    notes: list[str],
    started: float,
) -> Estimate:
    """The whole run, from a few steps of it."""
    per_epoch = max(-(-items["train"] // config.batch_size), 1)
    steps = per_epoch * config.epochs
    every = config.evaluate_every or per_epoch
    evaluations = -(-steps // every)
    if config.learning_rate == "auto":
        from goldloop.training.rate_finder import steps_of

        seen = replace(seen, start=seen.start + steps_of(steps) * seen.step)
        notes.append(f"finding the learning rate is counted as {steps_of(steps)} steps before the first")
    duration = _duration(config, items, seen, steps, evaluations, every, devices)
    held = seen.base + seen.weights + seen.gradients + seen.optimizer
    # On a CPU some of it may lie in memory that was free within `base`.
    activations = max(seen.peak - held, 0)
    price = None if price_per_hour is None else price_per_hour / 3600
    return Estimate(
        name=name,
        data=data,
        items=dict(items),
        device=seen.device,
        devices=devices,
        parameters=seen.parameters,
        trained=seen.trained,
        step=seen.step,
        step_low=seen.step_low,
        step_high=seen.step_high,
        steps=steps,
        evaluations=evaluations,
        memory=Memory(
            seen.weights, seen.gradients, seen.optimizer, activations, seen.base, held + activations
        ),
        duration=duration,
        disk=Disk(
            cache=round(seen.cache * sum(items.values())),
            # While one is written, the one before it is there.
            checkpoints=2 * (seen.last + seen.best),
            model=seen.model,
        ),
        cost=None if price is None else duration.total * price,
        cost_on_devices=None if price is None else duration.on_devices * price * devices,
        notes=tuple(notes),
        seconds=time.perf_counter() - started,
    )


def _duration(
    config: TrainingConfig,
    items: Mapping[str, int],
    seen: Rehearsal,
    steps: int,
    evaluations: int,
    every: int,
    devices: int,
) -> Duration:
    preparation = seen.preparation * sum(items.values())
    scoring = seen.evaluation * items["validation"]

    def rest(steps: int, devices: int = 1) -> float:
        """What is not steps."""
        times = -(-steps // every)
        return seen.start + preparation + times * (scoring / devices + seen.saving) + seen.end

    total = rest(steps) + steps * seen.step
    stopping = config.early_stopping
    earliest = None
    if stopping is not None and items["validation"] and stopping.patience + 1 < evaluations:
        fewest = (stopping.patience + 1) * every
        earliest = rest(fewest) + fewest * seen.step
    return Duration(
        start=seen.start,
        preparation=preparation,
        steps=steps * seen.step,
        evaluation=evaluations * (scoring + seen.saving),
        end=seen.end,
        total=total,
        low=_EASY * rest(steps) + steps * min(seen.step_low, seen.step),
        high=_HARD * rest(steps) + steps * max(seen.step_high, seen.step),
        earliest=earliest,
        on_devices=rest(steps, devices) + steps * seen.step / devices,
    )
