"""Does compiling pay? `compile: auto`, decided by the time that steps take and by how many are left.

Some steps are done as they are; their time, times the steps left, times what compiling gains, is held
against what it costs. Cost and gain are those measured by an earlier run of the same network on this device;
for a first one they are a guess. Then the compiled steps are timed too: where they are no faster, the run
goes back.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from goldloop import durable
from goldloop.errors import TrainingError
from goldloop.training.compiling import Scope, lay_out_alike, repeated_layers

if TYPE_CHECKING:
    from goldloop.training.engine import Engine

Advice = Literal["whole", "regional", "stop", "stay"]
"""Compile so, go back, or leave all as it is."""

_GAIN = 0.2
_FIRST_SECONDS, _SECONDS_A_WEIGHT = 15.0, 0.4
_AMPLE = 4.0
_LEAST_GAIN = 0.02
_SETTLING = 2


@dataclass(frozen=True, slots=True)
class Experience:
    """What compiling a network was once seen to cost and to gain.

    Attributes:
        seconds: for which the run stood still.
        eager, compiled: seconds of a step.
    """

    seconds: float
    eager: float
    compiled: float

    @property
    def gain(self) -> float:
        """Share of a step's time that is saved; below 0 where it takes longer."""
        return 1 - self.compiled / self.eager


class BreakEven:
    """Advises one run, reading of the clock by reading.

    Args:
        known: what was seen of the network before, by scope.
        guess: seconds that each scope may take, where it was not.
    """

    def __init__(self, known: dict[Scope, Experience], guess: dict[Scope, float]) -> None:
        self._known = known
        self._guess = guess
        self._readings = 0
        self._eager = 0.0
        self._trying: tuple[Scope, float] | None = None
        self._decided = False
        self.learned: tuple[Scope, Experience] | None = None

    def advice(self, step_seconds: float, left: int) -> Advice:
        """What to do now.

        Args:
            step_seconds: of a step since the last reading.
            left: steps of the run.
        """
        self._readings += 1
        if self._decided or self._readings < _SETTLING:
            return "stay"
        if self._trying is not None:
            return self._judge(*self._trying, step_seconds)
        self._eager = step_seconds
        scope = self._best(step_seconds, left)
        self._decided = scope is None
        return scope or "stay"

    def compiled(self, scope: Scope, seconds: float) -> None:
        """The advice was followed, and took so long."""
        self._trying = scope, seconds
        self._readings = 0

    def _best(self, step_seconds: float, left: int) -> Scope | None:
        """The whole network where the run is long enough by far, else its layers where it is long enough."""
        choices: tuple[tuple[Scope, float], ...] = (("whole", _AMPLE), ("regional", 1.0), ("whole", 1.0))
        for scope, margin in choices:
            seen = self._known.get(scope)
            gain = _GAIN if seen is None else seen.gain
            cost = self._guess.get(scope) if seen is None else seen.seconds
            if cost is not None and step_seconds * left * gain > margin * cost:
                return scope
        return None

    def _judge(self, scope: Scope, seconds: float, step_seconds: float) -> Advice:
        seen = Experience(seconds, self._eager, step_seconds)
        self.learned, self._decided = (scope, seen), True
        return "stay" if seen.gain >= _LEAST_GAIN else "stop"


class Experiences:
    """What compiling was seen to cost and to gain, kept between runs.

    Args:
        folder: theirs alone.
        engine: whose network it is; another network, batch, device or PyTorch is another experience.
    """

    def __init__(self, folder: Path, engine: Engine) -> None:
        self._file = folder / f"{_digest(engine)}.json"

    def read(self) -> dict[Scope, Experience]:
        """By scope; empty where nothing was seen yet, or what was written cannot be read."""
        try:
            found: dict[Scope, Any] = json.loads(self._file.read_text(encoding="utf-8"))
            return {scope: Experience(**fields) for scope, fields in found.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def add(self, scope: Scope, seen: Experience) -> None:
        """Keep the last of each scope."""
        known = {**self.read(), scope: seen}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        durable.replace(self._file, json.dumps({one: asdict(of) for one, of in known.items()}).encode())


class CompilePlan:
    """When a run is compiled, and how.

    Args:
        engine: at rest.
        folder: for what is learned of compiling.
    """

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine = engine
        self._experiences = Experiences(folder, engine)
        chosen = engine.config.compile
        self._first: Scope | None = (
            "regional" if chosen == "regional" else "whole" if chosen is True else None
        )
        self._advisor: BreakEven | None = None
        if chosen == "auto" and _may_pay(engine):
            self._advisor = BreakEven(self._experiences.read(), guessed_seconds(engine.model.network))
        if self._first is not None or self._advisor is not None:
            lay_out_alike(engine)

    @property
    def advises(self) -> bool:
        """Whether the clock decides."""
        return self._advisor is not None

    def begin(self) -> None:
        """Before the first step: compile where the recipe says so.

        Raises:
            TrainingError: it cannot be done.
        """
        if self._first is not None:
            self._engine.compilation.begin(self._first)

    def advice(self, step_seconds: float, left: int) -> Advice:
        """What to do after some steps; for the main process to decide.

        Args:
            step_seconds: of each of them.
            left: steps of the run.
        """
        return "stay" if self._advisor is None else self._advisor.advice(step_seconds, left)

    def follow(self, advice: Advice) -> str | None:
        """Do so; every process must at the same step. Returns what there is to say of it."""
        compilation, advisor = self._engine.compilation, self._advisor
        if advice in ("whole", "regional"):
            try:
                compilation.begin(advice)
            except TrainingError as error:
                self._advisor = None
                return f"not compiled: {error.found}"
            if advisor is not None:
                advisor.compiled(advice, compilation.seconds or 0.0)
            return None
        if advisor is not None and advisor.learned is not None and self._engine.accelerator.is_main_process:
            self._experiences.add(*advisor.learned)
            advisor.learned = None
        if advice == "stop":
            compilation.stop()
            return "compiled steps were no faster: the run goes on without"
        return None


def _may_pay(engine: Engine) -> bool:
    """Whether compiling is to be thought of at all.

    On a CPU it seldom gains what it costs, and a run that decides by the clock would not give the same bits
    again. Where batches have many shapes, each is a wait.
    """
    in_shards = any(hasattr(parameter, "device_mesh") for parameter in engine.network.parameters())
    freeze = engine.config.freeze
    changes = in_shards or (freeze is not None and freeze.thaw_every is not None)
    return engine.accelerator.device.type == "cuda" and engine.compilation.static and not changes


def guessed_seconds(network: torch.nn.Module) -> dict[Scope, float]:
    """What compiling may take on a GPU, by how many weights there are to write kernels around."""
    layers = repeated_layers(network)
    found: dict[Scope, float] = {"whole": _FIRST_SECONDS + _SECONDS_A_WEIGHT * _weights(network)}
    if layers:
        found["regional"] = _FIRST_SECONDS + _SECONDS_A_WEIGHT * _weights(layers[0])
    return found


def _weights(network: torch.nn.Module) -> int:
    return sum(parameter.ndim >= 2 for parameter in network.parameters())


def _digest(engine: Engine) -> str:
    device = engine.accelerator.device
    shapes = [list(parameter.shape) for parameter in engine.model.network.parameters()]
    parts = [
        type(engine.model.network).__name__,
        shapes,
        engine.config.batch_size,
        engine.parts,
        engine.accelerator.mixed_precision,
        engine.model.packed_shape,
        torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        torch.__version__,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
