"""What semantic segmentation is scored by: pixels counted by their true and their predicted class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from goldloop.tasks._class_maps import VOID
from goldloop.tasks._precision_recall import precision_recall

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    from goldloop.tasks._class_maps import ClassMap

    Counts = NDArray[numpy.int64]


def pixel_confusion(predicted: ClassMap, expected: ClassMap, classes: int) -> Counts:
    """Pixels that are expected to be of a class, int64 `(C, C + 1)`: rows expected, columns predicted.

    The last column is what is predicted to be void.
    """
    import numpy

    known = expected != VOID
    answers = numpy.minimum(predicted[known], classes).astype(numpy.int64)
    pairs = expected[known] * numpy.int64(classes + 1) + answers
    return numpy.bincount(pairs, minlength=classes * (classes + 1)).reshape(classes, classes + 1)


def overall_figures(confusion: Counts) -> dict[str, float]:
    """`miou` of the classes that appear, `pixel_accuracy`, and `mean_accuracy`, the mean recall; in [0, 1].

    Where nothing is expected, nothing can be wrong and all are 1.

    Args:
        confusion: a sum of `pixel_confusion`.
    """
    hit, expected, predicted = _sides(confusion)
    union = expected + predicted - hit
    if not expected.sum():
        return {"miou": 1.0, "pixel_accuracy": 1.0, "mean_accuracy": 1.0}
    return {
        "miou": float((hit[union > 0] / union[union > 0]).mean()),
        "pixel_accuracy": float(hit.sum() / expected.sum()),
        "mean_accuracy": float((hit[expected > 0] / expected[expected > 0]).mean()),
    }


def figures_by_class(confusion: Counts, classes: Sequence[str]) -> dict[str, dict[str, float]]:
    """Of each class `precision`, `recall`, `f1` and `iou` in [0, 1], and `support`, its true pixels."""
    hits, expected, predicted = (side.tolist() for side in _sides(confusion))
    return {
        label: {
            **precision_recall(hit, answered, true),
            "iou": hit / max(true + answered - hit, 1),
        }
        for label, hit, true, answered in zip(classes, hits, expected, predicted, strict=True)
    }


def _sides(confusion: Counts) -> tuple[Counts, Counts, Counts]:
    """Per class, int64 `(C,)`: pixels that were hit, expected and predicted."""
    classes = len(confusion)
    return confusion[:, :classes].diagonal(), confusion.sum(1), confusion[:, :classes].sum(0)
