"""The label budget held against what came: its interval at some labels, and what the next ones gained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy
from cases import Case

from goldloop.learning_curve.forecast import FEWEST_SIZES, forecast
from goldloop.learning_curve.judging import Judge
from goldloop.quality.linear_head import fitted
from goldloop.tasks import tasks

DRAWS, SIZES, SMALLEST = 5, 7, 16


def backtests(
    case: Case,
    order: Sequence[str],
    labels: Mapping[str, str],
    at: Sequence[int],
    more: Sequence[int],
    seed: int,
) -> list[dict[str, Any]]:
    """As many lines as there are numbers of labels to stand at, times numbers of labels more.

    Args:
        case: the data.
        order: keys in the order in which they were labelled, by lot.
        labels: key -> class name.
        at: numbers of labels, from which on is told what more would gain.
        more: numbers of labels more.
        seed: of the draws.
    """
    found = []
    for whole in at:
        asked = [extra for extra in more if whole + extra <= len(order)]
        if not asked:
            continue
        curve = _curve(case, order[:whole], labels, seed)
        for extra, told in zip(asked, forecast(curve, [whole + extra for extra in asked]), strict=True):
            came = _accuracy(case, order[: whole + extra], labels) - curve.means[-1]
            found.append(
                {
                    "case": case.name,
                    "seed": seed,
                    "at": whole,
                    "more": extra,
                    "low": told.gain.low,
                    "value": told.gain.value,
                    "high": told.gain.high,
                    "came": came,
                    "held": told.gain.low <= came <= told.gain.high,
                }
            )
    return found


def _curve(case: Case, keys: Sequence[str], labels: Mapping[str, str], seed: int) -> Any:
    """As `goldloop budget` measures it, on nested draws from these labels alone."""
    chance = numpy.random.default_rng(seed)
    steps = numpy.geomspace(len(keys) / SMALLEST, len(keys), max(SIZES, FEWEST_SIZES))
    sizes = sorted({round(float(step)) for step in steps})
    orders = [chance.permutation(numpy.array(keys)).tolist() for _ in range(DRAWS)]
    judge = Judge(tasks.create(dict(case.task)), [case.labels[key] for key in case.judges])
    for size in sizes:
        for order in orders if size < len(keys) else orders[:1]:
            judge.take(size, _answers(case, order[:size], labels))
    return judge.curve()


def _answers(case: Case, keys: Sequence[str], labels: Mapping[str, str]) -> list[str]:
    learned = fitted(case.placed(keys), case.ids([labels[key] for key in keys]), len(case.classes))
    return [case.classes[best] for best in learned(case.placed(case.judges)).argmax(1)]


def _accuracy(case: Case, keys: Sequence[str], labels: Mapping[str, str]) -> float:
    answers = _answers(case, keys, labels)
    return float(
        numpy.mean([answer == case.labels[key] for answer, key in zip(answers, case.judges, strict=True)])
    )
