"""Reports of models whose answers are made up: a real task, real figures, no network."""

from __future__ import annotations

from collections.abc import Callable

import numpy
import pytest

from goldloop.evaluation.report import Report, evaluate
from goldloop.records import Prediction, content_key
from goldloop.tasks import tasks
from goldloop.tasks.base import Task

MakeReport = Callable[..., Report]


def named(classes: int) -> Task:
    names = [f"class {number}" for number in range(classes)]
    return tasks.create({"kind": "text-classification", "classes": names})


def answered(expected, accuracy: float, seed: int, classes: int) -> list[int]:
    """Right with this probability, else one of the other classes."""
    generator = numpy.random.default_rng(seed)
    wrong = (expected + generator.integers(1, classes, size=len(expected))) % classes
    return numpy.where(generator.random(len(expected)) < accuracy, expected, wrong).tolist()


@pytest.fixture
def make_report() -> MakeReport:
    """A report of `items` texts; `labels` chooses the items, `seed` the answers."""

    def make(
        accuracy: float = 0.9,
        *,
        items: int = 200,
        classes: int = 4,
        seed: int = 0,
        labels: int = 0,
        model: str = "mail/2",
        shown: dict[int, list[str]] | None = None,
    ) -> Report:
        task = named(classes)
        expected = numpy.random.default_rng(1000 + labels).integers(classes, size=items)
        says = dict(enumerate(answered(expected, accuracy, seed, classes)))
        rows = [
            {
                "key": content_key(f"text {number}".encode()),
                "text": f"text {number}",
                "label": int(label),
                "shown_models": (shown or {}).get(number, []),
            }
            for number, label in enumerate(expected)
        ]

        def predict(contents):
            numbers = [int(content.split()[1]) for content in contents]
            return [
                Prediction(target=task.classes[says[number]], confidence=0.5 + number % 50 / 100)
                for number in numbers
            ]

        return evaluate(
            task,
            rows,
            predict,
            name="mail",
            model=model,
            version="mail@0123456789abcdef",
            split="test",
            own_models={model},
        )

    return make
