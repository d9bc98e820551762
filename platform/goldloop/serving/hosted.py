"""The models that a server answers with: which one stands behind each name now, and how it changes.

A request keeps the model that it began with. When the champion changes, the new model is loaded and warmed
up beside the old one, and only then new requests go to it; the old one goes when its last request has been
answered. So no request fails, none waits for a load, and no answer is of two models.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from goldloop.errors import GoldloopError
from goldloop.inference import Predictor
from goldloop.records import Prediction
from goldloop.serving.batching import Lane, Result, Row
from goldloop.serving.config import ServingConfig
from goldloop.serving.metrics import Metrics
from goldloop.serving.refusals import Refused

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """A model that is to answer under a name.

    Attributes:
        name: the recipe's.
        ref: `NAME/NUMBER`.
        load: the model on a device, and the recipe's `serving:`.
    """

    name: str
    ref: str
    load: Callable[[str], tuple[Predictor, ServingConfig]]


Candidates = Callable[[], Sequence[Candidate]]
"""Asks which models are to answer now, one for each name."""


class Served:
    """One model that answers, on its lane."""

    def __init__(self, name: str, ref: str, predictor: Predictor, config: ServingConfig, lane: Lane) -> None:
        self.name = name
        self.ref = ref
        self.predictor = predictor
        self.config = config
        self._lane = lane

    def prepare(self, contents: Sequence[bytes | str]) -> list[Row | GoldloopError]:
        """Each content as the network's input, or why it cannot be."""
        return self.predictor.prepare_each(contents)

    def answer(self, rows: Sequence[Row]) -> list[Prediction[Any]]:
        """A prediction for each prepared row, in order."""
        return self.predictor.answer_prepared(rows)

    async def ask(self, contents: Sequence[bytes | str]) -> list[Result]:
        """An answer for each image or text, in order, or why there is none.

        Raises:
            Refused: too much waits already.
        """
        if self.predictor.task.modality == "text":
            texts = [content if isinstance(content, str) else content.decode() for content in contents]
            return await self._lane.ask(self, texts)
        return await self._lane.ask(self, await asyncio.to_thread(self.prepare, contents))


class Models:
    """All models of a server, each on a device of its own choice.

    Args:
        candidates: asks which models are to answer.
        metrics: what is counted.
        device: where all compute; by default each on the GPU with most free memory, else on the CPU.
        threads: CPU threads of a network; by default as many as this process may use cores.
    """

    def __init__(
        self,
        candidates: Candidates,
        metrics: Metrics,
        *,
        device: str | None = None,
        threads: int | None = None,
    ) -> None:
        self._candidates = candidates
        self._metrics = metrics
        self._device = device
        self._threads = threads or usable_cores()
        self._lanes: dict[str, Lane] = {}
        self._served: Mapping[str, Served] = {}
        self._changing = threading.Lock()

    @property
    def served(self) -> Mapping[str, Served]:
        """Name -> the model that answers now."""
        return self._served

    def find(self, name: str | None) -> Served:
        """The model of a name, or the only one.

        Raises:
            Refused: there is none, or several to choose from.
        """
        served = self._served
        known = ", ".join(f"/models/{each}/predict" for each in served)
        if name is None and len(served) == 1:
            return next(iter(served.values()))
        if name is None:
            raise Refused(
                "several models answer here", status=404, expected=known, remedy="Name one in the path"
            )
        if name not in served:
            raise Refused("no such model answers here", status=404, found=name, expected=known or None)
        return served[name]

    def refresh(self) -> list[str]:
        """Load what is new and let it answer; returns the references of the models that came.

        A model that cannot be loaded leaves the one before where it is.

        Raises:
            GoldloopError: nothing answers yet, and the first cannot be loaded or found.
        """
        with self._changing:
            before, after, came = self._served, {}, []
            for candidate in self._candidates():
                known = before.get(candidate.name)
                if known is not None and known.ref == candidate.ref:
                    after[candidate.name] = known
                    continue
                try:
                    after[candidate.name] = self._load(candidate)
                    came.append(candidate.ref)
                    self._metrics.swaps.labels(candidate.name, "done").inc()
                except GoldloopError:
                    self._metrics.swaps.labels(candidate.name, "failed").inc()
                    if known is None:
                        raise
                    _LOG.exception("%s cannot be loaded; %s goes on", candidate.ref, known.ref)
                    after[candidate.name] = known
            self._served = after
            self._show(before, after)
            return came

    def close(self) -> None:
        """End the lanes."""
        for lane in self._lanes.values():
            lane.close()

    def _load(self, candidate: Candidate) -> Served:
        device = self._device or emptiest_device()
        predictor, config = candidate.load(device)
        served = Served(candidate.name, candidate.ref, predictor, config, self._lane(device))
        predictor.task.pack(predictor.model)
        _warm_up(served)
        return served

    def _lane(self, device: str) -> Lane:
        if device not in self._lanes:
            # OpenMP keeps the number of threads for each thread that asks for work.
            self._lanes[device] = Lane(self._metrics, lambda: torch.set_num_threads(self._threads))
        return self._lanes[device]

    def _show(self, before: Mapping[str, Served], after: Mapping[str, Served]) -> None:
        for served in before.values():
            if after.get(served.name) is not served:
                self._metrics.serves.remove(served.name, served.ref)
        for served in after.values():
            self._metrics.serves.labels(served.name, served.ref).set(1)


def usable_cores() -> int:
    """How many cores this process may use: by its affinity, and by what a container grants."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:  # noqa: PTH123
            quota, period = file.read().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))


def emptiest_device() -> str:
    """The GPU with most free memory, else the CPU."""
    if not torch.cuda.is_available():
        return "cpu"
    free = [torch.cuda.mem_get_info(number)[0] for number in range(torch.cuda.device_count())]
    return f"cuda:{free.index(max(free))}"


def _warm_up(served: Served) -> None:
    """One pass with an example of the task's own: what is made on first use is made before it counts."""
    task = served.predictor.task
    contents = [
        content
        for example in task.examples()[:2]
        if (content := example.content if task.modality == "image" else example.item.text) is not None
    ]
    served.predictor.predict_each(contents)
