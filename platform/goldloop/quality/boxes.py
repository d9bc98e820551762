"""ObjectLab's scores of labels that are boxes (Tkachenko, Thyagarajan and Mueller 2023), by cleanlab."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from goldloop.tasks.base import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

_KINDS = {
    "overlooked": "the model sees a thing here that has no label",
    "badloc": "a label is not where the model sees the thing",
    "swap": "a label has another class than the model sees",
}


def qualities(task: Task[Any], given: Sequence[Any], predicted: Sequence[Any]) -> list[tuple[float, str]]:
    """Of each item the quality of its boxes in [0, 1], and what is most doubtful about them.

    Args:
        task: tells the boxes of an answer.
        given: labels.
        predicted: the model's answers, with scores.
    """
    import numpy
    from cleanlab.object_detection import rank

    labels = [_label(task, target) for target in given]
    answers = [_prediction(task, target) for target in predicted]
    if not _comparable(labels, answers):
        return [(1.0, "there is nothing to compare")] * len(given)
    common: dict[str, Any] = {"labels": labels, "predictions": answers}
    # Things may lie on one another, as outlines and poses do: that alone is no fault.
    apart = {"overlapping_label_check": False}
    whole = rank.get_label_quality_scores(labels, answers, verbose=False, **apart)
    parts = {
        "overlooked": rank.compute_overlooked_box_scores(**common),
        "badloc": rank.compute_badloc_box_scores(**common),
        "swap": rank.compute_swap_box_scores(**common, **apart),
    }
    found = []
    for place, quality in enumerate(numpy.nan_to_num(whole, nan=1.0).tolist()):
        least = {
            kind: float(numpy.nanmin(scores[place]))
            for kind, scores in parts.items()
            if len(scores[place]) and not numpy.isnan(scores[place]).all()
        }
        worst = min(least, key=lambda kind: least[kind]) if least else None
        told = f"{_KINDS[worst]} (score {least[worst]:.2f})" if worst else "nothing stands out"
        found.append((quality, f"{told}; labelled {task.describe(given[place])}"))
    return found


def flags(task: Task[Any], given: Sequence[Any], predicted: Sequence[Any]) -> list[bool]:
    """Of each item whether its boxes are probably wrong; as `qualities` takes them."""
    from cleanlab.object_detection.filter import find_label_issues

    labels = [_label(task, target) for target in given]
    answers = [_prediction(task, target) for target in predicted]
    if not _comparable(labels, answers):
        return [False] * len(given)
    return list(map(bool, find_label_issues(labels, answers, overlapping_label_check=False)))


def _comparable(labels: Sequence[dict[str, Any]], answers: Sequence[NDArray[Any]]) -> bool:
    """Whether there is any box on both sides: cleanlab cannot do without."""
    drawn = any(len(label["bboxes"]) for label in labels)
    return drawn and any(len(part) for answer in answers for part in answer)


def _label(task: Task[Any], target: Any) -> dict[str, Any]:
    import numpy

    boxes = task.boxes_of(target) or []
    places = [list(place) for _, place, _ in boxes]
    return {
        "bboxes": numpy.array(places, dtype=numpy.float64).reshape(-1, 4),
        "labels": numpy.array([task.classes.index(name) for name, _, _ in boxes], dtype=numpy.int64),
    }


def _prediction(task: Task[Any], target: Any) -> NDArray[Any]:
    """Per class its boxes and their scores `(n, 5)`."""
    import numpy

    by_class: list[list[list[float]]] = [[] for _ in task.classes]
    for name, place, score in task.boxes_of(target) or []:
        by_class[task.classes.index(name)].append([*place, score])
    answer = numpy.empty(len(by_class), dtype=object)
    for number, rows in enumerate(by_class):
        answer[number] = numpy.array(rows, dtype=numpy.float64).reshape(-1, 5)
    return answer
