"""Checkpoints: all that a run needs to go on as if it had never been stopped.

<folder>/
  step-00000120/   the last one
    weights.safetensors      the network
    optimizer.safetensors    moments and counters, by parameter name
    random-0.safetensors     the state of every random generator, of each process
    state.json               where the run stands
  best-00000080/   the weights that scored best so far; `state.json` says which are meant
    weights.safetensors

Each folder is written aside, flushed to the disk and renamed: a kill at any moment leaves the one before it
whole. There is no pickle in them: tensors are safetensors, the rest is JSON.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from goldloop.durable import flush
from goldloop.errors import TrainingError
from goldloop.training.engine import Engine
from goldloop.training.record import check_identity

_SEPARATOR = "\n"


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
    """

    identity: str
    done: int = 0
    seconds: float = 0.0
    logged: int = 0
    best_step: int | None = None
    best: dict[str, float] = field(default_factory=dict)
    reference: float | None = None
    waited: int = 0


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
        self._rank = engine.accelerator.process_index

    def save(self, standing: Standing) -> None:
        """Write a checkpoint; those that it makes superfluous are removed after it is whole."""
        engine = self.engine
        weights, moments = self._weights(), _optimizer_state(engine)
        tensors, numbers = _random_state(engine)
        state = {
            "standing": asdict(standing),
            "random": numbers,
            "scaler": None if engine.accelerator.scaler is None else engine.accelerator.scaler.state_dict(),
        }

        def write(aside: Path) -> None:
            save_file(tensors, aside / f"random-{self._rank}.safetensors")
            if self._main:
                save_file(weights, aside / "weights.safetensors")
                save_file(moments, aside / "optimizer.safetensors")
                (aside / "state.json").write_text(json.dumps(state), encoding="utf-8")

        self._write(f"step-{standing.done:08d}", write)
        self._keep({f"step-{standing.done:08d}", _best_name(standing.best_step)})

    def save_best(self, step: int) -> None:
        """Keep the present weights as the best; the former best stay until the next `save`."""
        weights = self._weights()

        def write(aside: Path) -> None:
            if self._main:
                save_file(weights, aside / "weights.safetensors")

        self._write(_best_name(step), write)

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
            self.engine.done = standing.done
            return standing
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise TrainingError(
                "the run's checkpoint cannot be read",
                where=folders[-1],
                found=f"{type(error).__name__}: {error}",
                remedy="Remove the folder to start the run again",
            ) from error

    def best_weights(self, standing: Standing) -> dict[str, torch.Tensor]:
        """The weights that scored best; the present ones where none was scored."""
        if standing.best_step is None:
            return self._weights()
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
        _set_weights(engine, load_file(folder / "weights.safetensors"))
        _set_optimizer_state(engine, load_file(folder / "optimizer.safetensors"))
        if engine.accelerator.scaler is not None and state["scaler"] is not None:
            engine.accelerator.scaler.load_state_dict(state["scaler"])
        own = folder / f"random-{self._rank}.safetensors"
        if own.exists():
            _set_random_state(engine, load_file(own), state["random"])

    def _weights(self) -> dict[str, torch.Tensor]:
        from torch.distributed.checkpoint.state_dict import get_model_state_dict

        state: dict[str, Any] = get_model_state_dict(self.engine.network, options=_whole_on_host())
        # Copied, as safetensors refuses tensors that share memory (tied weights).
        return {name: tensor.detach().clone().contiguous() for name, tensor in state.items()}

    def _write(self, name: str, write: Callable[[Path], None]) -> None:
        accelerator = self.engine.accelerator
        aside = self.folder / f".{name}"
        try:
            if self._main:
                shutil.rmtree(aside, ignore_errors=True)
                aside.mkdir(parents=True)
            accelerator.wait_for_everyone()
            write(aside)
            accelerator.wait_for_everyone()
            if self._main:
                for path in [*aside.iterdir(), aside]:
                    flush(path)
                shutil.rmtree(self.folder / name, ignore_errors=True)
                aside.replace(self.folder / name)
                flush(self.folder)
            accelerator.wait_for_everyone()
        except OSError as error:
            raise TrainingError(
                "a checkpoint cannot be written",
                where=self.folder / name,
                found=error.strerror,
                remedy="Make room on the disk and run again: it goes on from the checkpoint before",
            ) from error
        finally:
            if self._main:
                shutil.rmtree(aside, ignore_errors=True)

    def _keep(self, names: set[str]) -> None:
        if self._main and self.folder.exists():
            for path in self.folder.iterdir():
                if path.name not in names:
                    shutil.rmtree(path, ignore_errors=True)


def _best_name(step: int | None) -> str:
    return "" if step is None else f"best-{step:08d}"


def _whole_on_host() -> Any:
    """Not in shards, and in the main process's memory alone, however the network is spread."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions

    return StateDictOptions(full_state_dict=True, cpu_offload=True)


def _set_weights(engine: Engine, weights: Mapping[str, torch.Tensor]) -> None:
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

    set_model_state_dict(engine.network, dict(weights), options=StateDictOptions(full_state_dict=True))


def _optimizer_state(engine: Engine) -> dict[str, torch.Tensor]:
    from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict

    optimizer = engine.optimizer.optimizer
    state: Any = get_optimizer_state_dict(engine.network, optimizer, options=_whole_on_host())
    return {
        f"{parameter}{_SEPARATOR}{name}": value.clone().contiguous()
        for parameter, values in state.get("state", {}).items()
        for name, value in values.items()
    }


def _set_optimizer_state(engine: Engine, moments: Mapping[str, torch.Tensor]) -> None:
    """Moments and counters only: everything else of the optimizer comes from the configuration."""
    from torch.distributed.checkpoint.state_dict import (
        StateDictOptions,
        get_optimizer_state_dict,
        set_optimizer_state_dict,
    )

    optimizer = engine.optimizer.optimizer
    state: Any = get_optimizer_state_dict(engine.network, optimizer)
    state["state"] = {}
    for key, value in moments.items():
        parameter, name = key.split(_SEPARATOR)
        state["state"].setdefault(parameter, {})[name] = value
    options = StateDictOptions(full_state_dict=True, strict=False)
    set_optimizer_state_dict(engine.network, optimizer, state, options=options)


def _random_state(engine: Engine) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The state of every generator that training may draw from: tensors, and plain numbers."""
    kind, words, *rest = numpy.random.get_state()
    tensors = {
        "torch": torch.get_rng_state(),
        "augmentation": engine.generator.get_state().cpu().clone(),
        "numpy": torch.from_numpy(numpy.asarray(words).astype(numpy.int64)),
    }
    if engine.accelerator.device.type == "cuda":
        tensors["cuda"] = torch.cuda.get_rng_state(engine.accelerator.device)
    return tensors, {"python": random.getstate(), "numpy": [kind, *rest]}


def _set_random_state(
    engine: Engine, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, Any]
) -> None:
    version, words, gauss = numbers["python"]
    random.setstate((version, tuple(words), gauss))
    kind, *rest = numbers["numpy"]
    numpy.random.set_state((kind, tensors["numpy"].numpy().astype(numpy.uint32), *rest))
    torch.set_rng_state(tensors["torch"])
    engine.generator.set_state(tensors["augmentation"])
    if "cuda" in tensors and engine.accelerator.device.type == "cuda":
        torch.cuda.set_rng_state(tensors["cuda"], engine.accelerator.device)
