"""Fifty challengers that are the champion by another seed: the gate refuses no more than it states."""

from __future__ import annotations

import hashlib
import warnings
from itertools import pairwise

import numpy
import pytest

from goldloop.evaluation.gates import gates
from goldloop.evaluation.gates.no_worse_than_champion import FALSE_ALARMS
from goldloop.evaluation.report import Report, evaluate
from goldloop.records import Prediction
from goldloop.tasks import tasks

CHALLENGERS = 50
TRAINED, JUDGES = 300, 600


def _digits():
    """Real handwritten digits: points, classes, and which judge."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = numpy.random.default_rng(0).permutation(len(data.target))[: TRAINED + JUDGES]
    return data.data[order] / 16, data.target[order]


def _report(seed: int, flipped: int = 0) -> Report:
    """How a small network does that learned from the same items by this seed, some with wrong labels."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    points, truth = _digits()
    labels = truth[:TRAINED].copy()
    labels[:flipped] = (labels[:flipped] + 1) % 10
    with warnings.catch_warnings():
        # As far as it came in so many rounds it is a model like any other.
        warnings.simplefilter("ignore", ConvergenceWarning)
        network = MLPClassifier((64,), max_iter=80, learning_rate_init=0.005, random_state=seed)
        network.fit(points[:TRAINED], labels)
    task = tasks.create({"kind": "text-classification", "classes": [str(digit) for digit in range(10)]})
    said = network.predict(points[TRAINED:])
    rows = [
        {
            "key": hashlib.sha256(str(number).encode()).hexdigest(),
            "text": str(number),
            "label": int(truth[TRAINED + number]),
            "shown_models": [],
        }
        for number in range(JUDGES)
    ]
    return evaluate(
        task,
        rows,
        lambda asked: [Prediction(target=str(said[int(text)]), confidence=0.5) for text in asked],
        name="digits",
        model=f"digits/{seed}",
        version="digits@1",
        split="test",
    )


@pytest.fixture(scope="module")
def reports() -> list[Report]:
    return [_report(seed) for seed in range(CHALLENGERS + 1)]


@pytest.mark.parametrize("margin", [0.0, 0.01])
def test_another_seed_is_refused_no_more_often_than_stated(reports: list[Report], margin: float):
    gate = gates.create({"kind": "no-worse-than-champion", "metric": "accuracy", "margin": margin})
    pairs = list(pairwise(reports))
    assert len(pairs) == CHALLENGERS
    # They are no copies of each other; and seeds matter little, as a worse model is no false alarm.
    assert sum(a.metrics["accuracy"].value != b.metrics["accuracy"].value for a, b in pairs) > CHALLENGERS / 2
    alarms = sum(not gate.judge(challenger, champion).passed for challenger, champion in pairs)
    # Of fifty at 5% each, more than six happen once in a hundred times.
    assert alarms <= 6
    assert FALSE_ALARMS == 0.05


def test_five_percent_of_wrong_labels_are_an_alarm(reports: list[Report]):
    gate = gates.create({"kind": "no-worse-than-champion", "metric": "accuracy"})
    worse = _report(0, flipped=TRAINED // 20)
    assert not gate.judge(worse, reports[0]).passed
