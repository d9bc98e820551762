"""torch.compile of a run's network, for the shapes of its batches and no other, before the step that uses it.

A run knows its batches beforehand. Packed texts are laid out to one shape; images come in batches of two
sizes at most, since batches of an epoch differ by one; every shape is compiled at once, so that nothing is
compiled later. A network that computes its loss by itself, as detectors do, is compiled up to where answers
are matched with objects. What is evaluated is not compiled: its batches have other shapes.

Random numbers, weights and running means are after compiling what they were before.
"""

from __future__ import annotations

import time
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy
import torch

from goldloop.errors import TrainingError
from goldloop.training.sampling import packed_shape
from goldloop.training.snapshot import undisturbed

if TYPE_CHECKING:
    from goldloop.training.engine import Engine

Scope = Literal["whole", "regional"]
"""The network as a whole, or its repeated layers: the latter compile once for all and gain nearly as much."""


class Compilation:
    """What is compiled of one run.

    Args:
        engine: whose network it is; `forward` of it is set.

    Attributes:
        scope: what is compiled now; None: nothing.
        seconds: for which the run stood still; None before anything was compiled.
    """

    def __init__(self, engine: Engine) -> None:
        # The engine has this in turn: in a circle, what it holds of prepared data would stay held after it.
        self._engine: Engine = weakref.proxy(engine)
        self._graphs = 0
        self.scope: Scope | None = None
        self.seconds: float | None = None

    @property
    def recompiles(self) -> int | None:
        """Graphs that were compiled since; None where nothing is compiled."""
        return None if self.scope is None else compiled_graphs() - self._graphs

    @property
    def static(self) -> bool:
        """Whether the run's batches are of a few shapes that are known before."""
        return self._engine.data.tokens is None or self._engine.model.packed

    def begin(self, scope: Scope) -> None:
        """Compile, and run each shape through; every process must do so at the same step.

        Raises:
            TrainingError: the compiler refuses the network, or there is none for its kernels.
        """
        engine, began = self._engine, time.perf_counter()
        # Networks of earlier runs in this process count towards how often one may be compiled anew.
        torch._dynamo.reset()
        self.stop()
        dynamic = False if self.static else None
        parts = _parts(engine.network, scope, own_loss=_computes_loss(engine))
        if parts == [engine.network]:
            engine.forward = torch.compile(engine.network, dynamic=dynamic)
        for part in parts if engine.forward is engine.network else ():
            part.compile(dynamic=dynamic)
        self.scope = scope
        try:
            self._run_through()
        except torch._dynamo.exc.TorchDynamoException as error:
            self.stop()
            raise TrainingError(
                "the network cannot be compiled",
                where="training.compile",
                found=f"{type(error).__name__}: {str(error).strip().splitlines()[0]}",
                remedy="Use `compile: false`; on a CPU a C++ compiler must be installed",
            ) from error
        self.seconds = (self.seconds or 0.0) + time.perf_counter() - began
        self._graphs = compiled_graphs()

    def stop(self) -> None:
        """From here on the network is as it was."""
        self._engine.forward = self._engine.network
        for module in self._engine.network.modules():
            if getattr(module, "_compiled_call_impl", None) is not None:
                module._compiled_call_impl = None
        self.scope = None

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Nothing compiled is used within."""
        if self.scope is None:
            yield
            return
        with torch.compiler.set_stance("force_eager"):
            yield

    def _run_through(self) -> None:
        """One pass of each shape, whose gradients are dropped."""
        engine = self._engine
        shapes = _shapes(engine) if self.static else []
        # Layers of one class share what is compiled, but a packed network's last one may have a hook within.
        hooks_count = torch._dynamo.config.patch(skip_nnmodule_hook_guards=False)
        with undisturbed(engine), hooks_count, warnings.catch_warnings():
            # The tracer looks at the gradient of whatever a compiled layer is given.
            warnings.filterwarnings("ignore", "The .grad attribute of a Tensor")
            for positions in shapes:
                engine.rehearse(positions)
        engine.optimizer.zero_grad(set_to_none=True)


def lay_out_alike(engine: Engine) -> None:
    """Have all packed batches of a run laid out to one shape, so that a compiled network sees no other."""
    model, data = engine.model, engine.data
    if not model.packed:
        return
    config = engine.config
    tokens, segments = engine.task.packed_lengths(model, data.lengths)
    epochs = (data.epoch(config.batch_size, config.seed, epoch) for epoch in range(config.epochs))
    model.packed_shape = packed_shape(epochs, tokens, engine.parts, segments)


def _shapes(engine: Engine) -> list[list[int]]:
    """Positions of a part of a batch for each size that parts have; of packed texts one part is enough."""
    found: dict[int, list[int]] = {}
    for positions in engine.data.epoch(engine.config.batch_size, engine.config.seed, 0):
        for part in numpy.array_split(numpy.asarray(positions), engine.parts):
            own = part.tolist() or positions[:1]
            found.setdefault(1 if engine.model.packed else len(own), own)
    return list(found.values())


def _computes_loss(engine: Engine) -> bool:
    """Whether the network is given targets."""
    positions = engine.data.epoch(engine.config.batch_size, engine.config.seed, 0)[0][:1]
    batch = engine.task.normalize(engine.data.batch(positions), engine.model)
    return "labels" in engine.task.training_inputs(batch)


def _parts(network: torch.nn.Module, scope: Scope, *, own_loss: bool) -> list[torch.nn.Module]:
    """What is compiled: the whole, or modules of it."""
    inner: Any = getattr(network, "module", network)
    if own_loss:
        base = getattr(inner, "base_model", inner)
        # torchvision's detectors: what comes before objects are proposed.
        whole = getattr(getattr(inner, "detector", None), "backbone", None) if base is inner else base
        if whole is None:
            raise TrainingError(
                "the network cannot be compiled",
                where="training.compile",
                found=f"{type(inner).__name__} computes its loss by itself, and has no part that does not",
                remedy="Use `compile: false`",
            )
        inner = network = whole
    return repeated_layers(inner) or [network] if scope == "regional" else [network]


def repeated_layers(network: torch.nn.Module) -> list[torch.nn.Module]:
    """Layers that stand one behind the other and are of one class, those within others left out."""
    if isinstance(network, torch.nn.ModuleList) and len(network) > 1:
        layers = list(network)
        if len({type(layer) for layer in layers}) == 1:
            return layers
    return [layer for child in network.children() for layer in repeated_layers(child)]


def compiled_graphs() -> int:
    """Graphs that torch.compile has made in this process since it was last reset."""
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])
