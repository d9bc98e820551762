"""Tasks and pre-annotations in the form in which Label Studio's imports want them."""

from __future__ import annotations

from typing import Any

from goldloop.labeling.values import PredictionData, TaskData


def task_request(task: TaskData, batch: str) -> dict[str, Any]:
    """A task as the import wants it. Imported annotations would be marked ground truth if not told."""
    return {
        "data": {**task.data, "key": task.key, "batch": batch},
        "annotations": [{"result": list(results), "ground_truth": False} for results in task.annotations],
        "predictions": [prediction_request(prediction) for prediction in task.predictions],
    }


def prediction_request(prediction: PredictionData) -> dict[str, Any]:
    """A pre-annotation as the import wants it."""
    request = {"result": list(prediction.results), "model_version": prediction.model_version}
    return request if prediction.score is None else {**request, "score": prediction.score}
