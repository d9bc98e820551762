"""Checkpoints: all that a run needs to go on as if it had never been stopped, written while it goes on.

<folder>/
  step-00000120/   the last one
    weights.safetensors      the network
    average.safetensors      of the weights over the steps, if there is one
    optimizer.safetensors    moments and counters, by parameter name
    random-0.safetensors     the state of every random generator, of each process
    state.json               where the run stands
  best-00000080/   the weights that scored best so far; `state.json` says which are meant
    weights.safetensors

A step stands still only while its state is copied (`snapshot.py`); a thread of the main process writes it.
Each folder is written aside, flushed to the disk and renamed: a kill at any moment leaves the one before it
whole. There is no pickle in them: tensors are safetensors, the rest is JSON.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from goldloop.durable import flush
from goldloop.errors import TrainingError
from goldloop.training.background import Background
from goldloop.training.engine import Engine
from goldloop.training.record import check_identity
from goldloop.training.snapshot import (
    RandomState,
    Snapshot,
    set_average,
    set_moments,
    set_random_state,
    set_weights,
    take_snapshot,
    weights_on_host,
)


@dataclass(slots=True)
class Standing:
    """Where a run stands beside its tensors.

    Attributes:
        identity: digest of what the run was started with.
        done: steps done.
        seconds: spent so far, over all sessions.
        logged: bytes of the metrics file that belong to these steps.
        best_step: the step with the best weights; None before the first evaluation.
        best: the figures of those weights.
        reference: the value that the next must exceed to count as a rise; None before the first.
        waited: evaluations since the last rise.
        temperature: of the best weights, see `temperature_of`; None where there is none.
    """

    identity: str
    done: int = 0
    seconds: float = 0.0
    logged: int = 0
    best_step: int | None = None
    best: dict[str, float] = field(default_factory=dict)
    reference: float | None = None
    waited: int = 0
    temperature: float | None = None


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: theirs alone.
        engine: what is saved and restored.
    """

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.folder = folder
        self.engine = engine
        self._main = engine.accelerator.is_main_process
        self._writer = Background("checkpoint")

    def save(self, standing: Standing, lines: Path) -> None:
        """Begin to write a checkpoint, once the one before is written; every process must call it.

        The present weights are kept as the best too where `standing` says that they are. What the checkpoint
        makes superfluous is removed after it is whole.

        Args:
            standing: where the run stands.
            lines: the metrics file, which is on the disk before the checkpoint is.

        Raises:
            TrainingError: the one before could not be written.
        """
        # First, so that there are never two copies of a run in memory.
        self._writer.wait()
        snapshot = take_snapshot(self.engine)
        if self._main:
            self._writer.start(partial(self._write, snapshot, asdict(standing), lines))

    def check(self) -> None:
        """Between two steps: has the last checkpoint failed? Waits for nothing.

        Raises:
            TrainingError: it could not be written.
        """
        self._writer.check()

    def settle(self) -> None:
        """Wait until every checkpoint is written; every process must call it.

        Raises:
            TrainingError: the last one could not be written.
        """
        self._writer.wait()
        self.engine.accelerator.wait_for_everyone()

    def close(self) -> None:
        """Wait for what is being written, and write no more."""
        self._writer.close()

    def restore(self, identity: str) -> Standing:
        """Put the engine where the last checkpoint left it; at the start where there is none.

        Args:
            identity: digest of what the run is started with.

        Raises:
            TrainingError: the checkpoint cannot be read, or is another run's.
        """
        folders = sorted(self.folder.glob("step-*"))
        if not folders:
            return Standing(identity)
        try:
            state = json.loads((folders[-1] / "state.json").read_text(encoding="utf-8"))
            standing = Standing(**state["standing"])
            check_identity(standing.identity, identity, folders[-1])
            self._restore(folders[-1], state)
            return standing
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise TrainingError(
                "the run's checkpoint cannot be read",
                where=folders[-1],
                found=f"{type(error).__name__}: {error}",
                remedy="Remove the folder to start the run again",
            ) from error

    def best_weights(self, standing: Standing) -> dict[str, torch.Tensor]:
        """The weights that scored best; where none was scored the present ones, or their average."""
        if standing.best_step is None:
            return weights_on_host(self.engine)
        file = self.folder / _best_name(standing.best_step) / "weights.safetensors"
        try:
            return load_file(file)
        except (OSError, SafetensorError) as error:
            raise TrainingError("the best weights cannot be read", where=file, found=str(error)) from error

    def remove(self) -> None:
        """Remove them all: the run is finished."""
        self._keep(set())

    def _restore(self, folder: Path, state: Mapping[str, Any]) -> None:
        engine = self.engine
        engine.resume(state["position"])
        if engine.average is not None:
            set_average(engine, load_file(folder / "average.safetensors"))
        set_weights(engine, load_file(folder / "weights.safetensors"))
        set_moments(engine, {**load_file(folder / "optimizer.safetensors"), **state["moments"]})
        if engine.accelerator.scaler is not None and state["scaler"] is not None:
            engine.accelerator.scaler.load_state_dict(state["scaler"])
        rank, numbers = engine.accelerator.process_index, state["random"]
        if rank < len(numbers):
            tensors = load_file(folder / f"random-{rank}.safetensors")
            set_random_state(engine, RandomState(tensors, numbers[rank]))

    def _write(self, snapshot: Snapshot, standing: Mapping[str, Any], lines: Path) -> None:
        """In the writer's thread."""
        snapshot.arrived()
        last, best = f"step-{standing['done']:08d}", _best_name(standing["best_step"])
        if standing["best_step"] == standing["done"]:
            kept = snapshot.weights if snapshot.average is None else snapshot.average
            self._place(best, partial(_write_weights, kept))
        self._place(last, partial(_write_state, snapshot, standing), after=lines)
        self._keep({last, best})

    def _place(self, name: str, write: Callable[[Path], None], after: Path | None = None) -> None:
        """Have a folder written aside, flushed and renamed."""
        aside = self.folder / f".{name}"
        try:
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
            write(aside)
            for path in [*([] if after is None else [after]), *aside.iterdir(), aside]:
                flush(path)
            shutil.rmtree(self.folder / name, ignore_errors=True)
            aside.replace(self.folder / name)
            flush(self.folder)
        except (OSError, SafetensorError) as error:
            raise TrainingError(
                "a checkpoint cannot be written",
                where=self.folder / name,
                found=getattr(error, "strerror", None) or error,
                remedy="Make room on the disk and run again: it goes on from the checkpoint before",
            ) from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _keep(self, names: set[str]) -> None:
        if self._main and self.folder.exists():
            for path in self.folder.iterdir():
                if path.name not in names:
                    shutil.rmtree(path, ignore_errors=True)


def _write_weights(weights: dict[str, torch.Tensor], folder: Path) -> None:
    save_file(weights, folder / "weights.safetensors")


def _write_state(snapshot: Snapshot, standing: Mapping[str, Any], folder: Path) -> None:
    _write_weights(snapshot.weights, folder)
    if snapshot.average is not None:
        save_file(snapshot.average, folder / "average.safetensors")
    save_file(snapshot.moments, folder / "optimizer.safetensors")
    for rank, state in enumerate(snapshot.random):
        save_file(state.tensors, folder / f"random-{rank}.safetensors")
    numbers = [state.numbers for state in snapshot.random]
    content = {
        "standing": standing,
        "position": snapshot.position,
        "moments": snapshot.numbers,
        "random": numbers,
        "scaler": snapshot.scaler,
    }
    (folder / "state.json").write_text(json.dumps(content), encoding="utf-8")


def _best_name(step: int | None) -> str:
    return "" if step is None else f"best-{step:08d}"
