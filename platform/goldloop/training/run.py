"""One training run, from a dataset's splits to a model folder: start it again and it goes on where it was.

<folder>/
  checkpoints/    the last and the best, while the run goes on
  learning_rate.json   what `learning_rate: auto` found, if that is asked for
  metrics.jsonl   losses and evaluations, one line each, in the order of steps
  model/          the best weights on the validation split, as `Predictor.load` reads them
  profile.json    what a step waits for, with `trace.json.gz` beside it; of a profiled run only
  report.html     the run as a page
  run.json        configuration, versions, hardware, seed, commit, throughput, result; there when finished
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from goldloop.errors import TrainingError
from goldloop.inference import save_model
from goldloop.progress import Progress, Silent
from goldloop.tasks._logits import TEMPERATURE
from goldloop.tasks._losses import class_weights
from goldloop.tasks.base import Model, Task
from goldloop.training.break_even import CompilePlan
from goldloop.training.checkpoint import Checkpoints
from goldloop.training.config import TrainingConfig
from goldloop.training.data import PreparedSplit, rows_digest, undecoded
from goldloop.training.device import make_accelerator
from goldloop.training.engine import Engine, augmentation_options
from goldloop.training.events import Evaluated, Event, Note, StepLogged
from goldloop.training.profiler import Profiler
from goldloop.training.rate_finder import RangeTest, learning_rate
from goldloop.training.record import Run, commit, hardware, packages
from goldloop.training.run_report import write_report
from goldloop.training.session import Session
from goldloop.training.validation import Validation, targets_of, unseen_classes

if TYPE_CHECKING:
    import datasets

__all__ = ["Evaluated", "Event", "Note", "Run", "StepLogged", "train"]

_SILENT = Silent()


@contextmanager
def _own_threads() -> Iterator[None]:
    """Leave the process with as many threads to compute in as it had."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


@_own_threads()
def train(
    task: Task[Any],
    config: TrainingConfig,
    splits: Mapping[str, datasets.Dataset],
    folder: Path,
    cache: Path,
    facts: Mapping[str, Any],
    on_event: Callable[[Event], None] = lambda event: None,
    progress: Progress = _SILENT,
    *,
    checkpoint_seconds: float = 60.0,
    profile: bool = False,
) -> Run:
    """Train a model, or go on with a run that was stopped, or return one that is finished.

    A run that was stopped at any moment ends with the same weights as one that was not: on a CPU to the bit,
    for it goes on in as many threads as it began in.

    Args:
        task: with the classes of the dataset version.
        config: how.
        splits: `train`, and `validation` if there is one: rows with `key`, content and target columns.
        folder: of this run alone; the same arguments belong in the same folder.
        cache: for what can be made again.
        facts: what the model is made from; kept with it. JSON values.
        on_event: called as the run goes on, in the main process only.
        progress: told how far the preparation of data is, in the main process only.
        checkpoint_seconds: at most so long, and the steps to the next reading of the loss, between two
            checkpoints; there is one at each evaluation too.
        profile: look at some of the steps, and write down what they wait for; it changes no weight.

    Raises:
        TrainingError: nothing to train on, a loss that is no number, or a folder that cannot be used.
        ModelError: the checkpoint to start from does not fit.
    """
    started = time.perf_counter()
    rows, held_out = _checked(task, config, splits)
    identity = _identity(task, config, rows, held_out)
    finished = Run.read(folder, identity)
    if finished is not None:
        # It may have been killed between its record and its page.
        if not finished.report.exists():
            write_report(folder)
        return finished
    accelerator = make_accelerator(config)
    notes: list[str] = []

    def tell(event: Event) -> None:
        if isinstance(event, Note):
            notes.append(event.text)
        if accelerator.is_main_process:
            on_event(event)

    _make_folder(folder)
    model = _fresh_model(task, config, rows)
    packing = _packed(task, model, config)
    with accelerator.local_main_process_first():
        shown = progress if accelerator.is_main_process else _SILENT
        data = PreparedSplit.prepare(task, model, rows, cache, shown)
        validation = None
        if held_out is not None:
            # A model of its own, as what is trained on may come to be laid out to one shape.
            prepared = PreparedSplit.prepare(task, replace(model), held_out, cache, shown)
            validation = Validation(task, prepared, targets_of(task, held_out))
    for text in [*_notes(task, rows, data, model, validation), *packing]:
        tell(Note(text))
    _seed(config.seed, device_specific=True)
    engine = Engine(task, model, config, data, accelerator, _class_weights(task, config, rows))
    checkpoints = Checkpoints(folder / "checkpoints", engine)
    standing = checkpoints.restore(identity)
    if standing.done:
        tell(Note(f"goes on from step {standing.done} of {engine.total}"))
    found = None
    if config.learning_rate == "auto":
        found = learning_rate(engine, folder, identity, shown)
        tell(Note(found.note()))
    profiler = Profiler(folder, lambda text: tell(Note(text))) if profile else None
    metrics = folder / "metrics.jsonl"
    plan = CompilePlan(engine, cache / "compiled")
    session = Session(engine, checkpoints, standing, validation, metrics, tell, started, plan, profiler)
    session.go(checkpoint_seconds)
    return _finish(session, folder, identity, facts, notes, found)


def _finish(
    session: Session,
    folder: Path,
    identity: str,
    facts: Mapping[str, Any],
    notes: list[str],
    found: RangeTest | None,
) -> Run:
    engine, standing = session.engine, session.standing
    accelerator = engine.accelerator
    weights = session.checkpoints.best_weights(standing)
    if engine.vocabulary is not None:
        weights = engine.vocabulary.whole(weights)

    def totals(values: Any) -> Any:
        # In float32, the widest that every device has; counts stay exact to 16 million per process.
        return accelerator.reduce(torch.tensor(values, device=accelerator.device), "sum").tolist()

    throughput = session.throughput(totals)
    run = Run(
        id=folder.name,
        folder=folder,
        metric=engine.task.metric,
        value=standing.best.get(engine.task.metric),
        metrics=standing.best,
        chosen="last" if standing.best_step is None else "best",
        throughput=throughput,
        seconds=session.seconds,
        epochs=-(-standing.done // engine.steps_per_epoch),
        steps=standing.done,
        spent=session.spent(),
    )
    if accelerator.is_main_process:
        network = accelerator.unwrap_model(engine.network)
        settings = dict(engine.model.settings)
        if standing.temperature is not None:
            settings[TEMPERATURE] = standing.temperature
        model = Model(network, engine.model.processor, settings)
        save_model(run.model, engine.task, model, facts, weights)
        made_by = {
            "facts": dict(facts),
            "task": engine.task.config.model_dump(mode="json", by_alias=True),
            "training": engine.config.model_dump(mode="json", by_alias=True),
            "seed": engine.config.seed,
            "learning_rate": None if found is None else asdict(found),
            "layers": [asdict(layer) for layer in engine.how_layers_learn()],
            "accumulation": engine.accumulation,
            "precision": accelerator.mixed_precision,
            "packages": packages(),
            "hardware": hardware(accelerator.device, accelerator.num_processes),
            "commit": commit(),
            "notes": notes,
        }
        run.write(identity, made_by)
        write_report(folder)
        session.checkpoints.remove()
    accelerator.wait_for_everyone()
    return run


def _checked(
    task: Task[Any], config: TrainingConfig, splits: Mapping[str, datasets.Dataset]
) -> tuple[datasets.Dataset, datasets.Dataset | None]:
    """The training rows, and the validation rows if there are any."""
    for name in ("label_smoothing", "class_weights", "focal_gamma"):
        chosen = getattr(config, name)
        if chosen and name not in task.loss_options:
            raise TrainingError(
                f"the loss of {task.config.kind} does not take `{name}`",
                where=f"training.{name}",
                found=chosen,
                remedy="Leave it out",
            )
    options = augmentation_options(config)
    refused = () if options is None else options.beyond(task.augmentations)
    if refused:
        raise TrainingError(
            f"{task.config.kind} cannot be varied by {', '.join(refused)}",
            where="training.augment",
            found=", ".join(refused),
            expected=", ".join(sorted(task.augmentations)) or "no augmentation",
            remedy="Leave it out",
        )
    rows, held_out = splits.get("train"), splits.get("validation")
    if rows is None or not len(rows):
        raise TrainingError(
            "there is nothing to train on",
            where="the training split",
            found="no items",
            remedy="Label more items, or give `train` a larger share in `dataset.split`",
        )
    return rows, held_out if held_out is not None and len(held_out) else None


def _identity(
    task: Task[Any],
    config: TrainingConfig,
    rows: datasets.Dataset,
    held_out: datasets.Dataset | None,
) -> str:
    parts = [
        task.config.model_dump(mode="json", by_alias=True),
        config.model_dump(mode="json", by_alias=True),
        rows_digest(task, rows),
        None if held_out is None else rows_digest(task, held_out),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _class_weights(
    task: Task[Any], config: TrainingConfig, rows: datasets.Dataset
) -> tuple[float, ...] | None:
    if config.class_weights is None:
        return None
    return class_weights(task, targets_of(task, rows), config.class_weights)


def _packed(task: Task[Any], model: Model, config: TrainingConfig) -> list[str]:
    """Have texts packed where the recipe and the network let them be; says so, or why they are padded."""
    if config.packing is False or (config.packing == "auto" and task.modality != "text"):
        return []
    reason = task.pack(model)
    if reason is None:
        return ["texts are packed without padding; attention dropout is off"]
    if config.packing is True:
        raise TrainingError(
            "texts cannot be packed",
            where="training.packing",
            found=reason,
            remedy="Use `packing: auto`, which pads texts of like length together",
        )
    return [f"texts are padded: {reason}"]


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError("the run's folder cannot be made", where=folder, found=error.strerror) from error


def _fresh_model(task: Task[Any], config: TrainingConfig, rows: datasets.Dataset) -> Model:
    _seed(config.seed, device_specific=False)
    texts = task.training_texts(undecoded(task, rows))
    return task.model(config.checkpoint_argument(), texts=texts, settings=config.model_settings())


def _seed(seed: int, *, device_specific: bool) -> None:
    from accelerate.utils import set_seed

    set_seed(seed % 2**32, device_specific=device_specific)


def _notes(
    task: Task[Any],
    rows: datasets.Dataset,
    data: PreparedSplit,
    model: Model,
    validation: Validation | None,
) -> list[str]:
    notes = []
    missing = unseen_classes(task, targets_of(task, rows))
    if missing:
        notes.append("no training example of " + ", ".join(map(repr, missing)))
    if data.truncated:
        notes.append(f"{data.truncated} of {len(data)} {_too_long(model)} and were cut")
    if data.torn_spans:
        notes.append(
            f"{data.torn_spans} spans begin or end inside a token: this tokenizer cannot find them exactly"
        )
    if validation is None:
        notes.append(
            "the validation split is empty: the last weights are kept, and nothing stops the run early"
        )
    return notes


def _too_long(model: Model) -> str:
    """Which texts do not fit in the model: those that it reads, those that it writes, or either."""
    read, written = model.settings.get("max_length"), model.settings.get("max_new_tokens")
    if read is None:
        return f"answers are longer than {written} tokens"
    texts = f"texts are longer than {read} tokens"
    return texts if written is None else f"{texts}, or their answers than {written},"
