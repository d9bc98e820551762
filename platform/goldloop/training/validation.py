"""Scoring a model on a split while it is trained, by the path that answers in production."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from goldloop.inference import answer
from goldloop.records import Prediction
from goldloop.tasks.base import Batch, Task
from goldloop.training.data import PreparedSplit, target_columns
from goldloop.training.engine import Engine
from goldloop.training.prefetch import gather_threads, prefetched
from goldloop.training.temperature import temperature_of

if TYPE_CHECKING:
    import datasets


class Validation:
    """One split to score on.

    Args:
        task: what is scored.
        data: the split, prepared.
        expected: its true targets, in the same order.
    """

    def __init__(self, task: Task[Any], data: PreparedSplit, expected: Sequence[Any]) -> None:
        self.task = task
        self.data = data
        self.expected = expected
        self.temperature: float | None = None
        """Of the weights that were scored last; None where answers have no probability of each class."""

    def score(self, engine: Engine) -> dict[str, float]:
        """Every figure of the task's `score`; the items are shared out between the processes."""
        accelerator = engine.accelerator
        self.data.pinned = accelerator.device.type == "cuda"
        network = accelerator.unwrap_model(engine.network)
        network.eval()
        model = replace(engine.model, network=network, packed_shape=None)
        size = max(engine.config.batch_size // (engine.accumulation * accelerator.num_processes), 1)
        batches = self.data.in_order(size)
        # Processes that share a network must all ask it equally often; a second answer replaces the first.
        batches += batches[:1] * (-len(batches) % accelerator.num_processes)
        batches = batches[accelerator.process_index :: accelerator.num_processes]
        answers: list[tuple[int, Prediction[Any]]] = []
        gathered = prefetched(self._gathers(batches), gather_threads(self.task.modality))
        with engine.compilation.suspended():
            for positions, batch in zip(batches, gathered, strict=True):
                predictions = answer(self.task, model, batch, accelerator.device)
                answers += zip(positions, predictions, strict=True)
        if accelerator.num_processes > 1:
            from accelerate.utils import gather_object

            answers = gather_object(answers)
        found = dict(answers)
        predictions = [found[place] for place in range(len(self.expected))]
        self.temperature = self._temperature(predictions)
        return self.task.score([prediction.target for prediction in predictions], self.expected)

    def _temperature(self, predictions: Sequence[Prediction[Any]]) -> float | None:
        one_class = self.task.answers_are_classes and all(isinstance(each, str) for each in self.expected)
        if not one_class or not all(prediction.scores for prediction in predictions):
            return None
        return temperature_of([prediction.scores for prediction in predictions], self.expected)

    def _gathers(self, batches: Sequence[list[int]]) -> Iterator[Callable[[], Batch]]:
        for positions in batches:
            yield partial(self.data.batch, positions)


def targets_of(task: Task[Any], rows: datasets.Dataset) -> list[Any]:
    """The targets of a split, in order."""
    chosen = rows.select_columns(["key", *target_columns(task)])
    return [task.from_row(row) for row in chosen]


def unseen_classes(task: Task[Any], targets: Sequence[Any]) -> list[str]:
    """Classes that none of these targets has; empty for a task type whose answers have no classes."""
    seen = {name for target in targets for name in task.classes_in(target)}
    return [name for name in task.classes if name not in seen]
