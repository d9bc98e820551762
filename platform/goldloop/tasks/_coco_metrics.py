"""COCO's average precision, by pycocotools' own evaluation, an image at a time.

`COCOeval` matches the objects of each image on their own and sums up afterwards. So an image's matches are
found once, as a tally, and summed up for each of many resamples.

Lin et al., Microsoft COCO: Common Objects in Context, 2014.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

Overlaps = Callable[[Sequence[Any], Sequence[Any]], "NDArray[numpy.float64]"]
Tally = list[Any]
"""What COCOeval found of one image, by class id; None for a class that is neither there nor predicted."""

_MOST = 100
_EVERY_AREA = [0.0, 1e10]


def tally(
    predicted: Sequence[Mapping[str, Any]],
    expected: Sequence[Mapping[str, Any]],
    classes: Sequence[str],
    overlaps: Overlaps,
) -> Tally:
    """Match the objects of one image.

    Args:
        predicted: objects with a `label` and, in [0, 1], a `score`; without one they are sure.
        expected: objects with a `label`.
        classes: names in id order.
        overlaps: how far each of N objects is each of M others, `(N, M)` in [0, 1].
    """
    evaluation = _evaluation(1, len(classes))
    for identity, name in enumerate(classes):
        found = [_entry(entry, number) for number, entry in enumerate(predicted) if entry["label"] == name]
        true = [_entry(entry, number) for number, entry in enumerate(expected) if entry["label"] == name]
        found.sort(key=lambda entry: -entry["score"])
        evaluation._dts[0, identity] = found
        evaluation._gts[0, identity] = true
        table = overlaps([entry["object"] for entry in found], [entry["object"] for entry in true])
        evaluation.ious[0, identity] = table if found and true else []
    area = evaluation.params.areaRng[0]
    return [evaluation.evaluateImg(0, identity, area, _MOST) for identity in range(len(classes))]


def summarize(tallies: Sequence[Tally]) -> dict[str, float]:
    """Average precision and recall over images, averaged over the classes that are there, in [0, 1].

    Returns:
        `map` over overlaps of 0.5 to 0.95, `map_50`, `map_75`, and `mar_100`, the recall with up to 100
        objects an image. All are 1 where nothing is there and nothing was predicted.
    """
    names = ("map", "map_50", "map_75", "mar_100")
    classes = len(tallies[0])
    evaluation = _evaluation(len(tallies), classes)
    evaluation.evalImgs = [each[identity] for identity in range(classes) for each in tallies]
    evaluation._paramsEval = evaluation.params
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.accumulate()
    precision, recall = evaluation.eval["precision"][..., 0, 0], evaluation.eval["recall"][..., 0, 0]
    known = precision[0, 0] > -1
    if not known.any():
        predicted = any(entry is not None for entry in evaluation.evalImgs)
        return dict.fromkeys(names, 0.0 if predicted else 1.0)
    figures = (precision[:, :, known], precision[0, :, known], precision[5, :, known], recall[:, known])
    return {name: float(figure.mean()) for name, figure in zip(names, figures, strict=True)}


def _entry(entry: Mapping[str, Any], number: int) -> dict[str, Any]:
    return {
        "id": number + 1,
        "score": entry.get("score", 1.0),
        "area": 1.0,
        "iscrowd": 0,
        "ignore": 0,
        "object": entry,
    }


def _evaluation(images: int, classes: int) -> Any:
    """An empty COCOeval over objects of every size."""
    from pycocotools.cocoeval import COCOeval

    evaluation: Any = COCOeval(iouType="bbox")
    evaluation.params.imgIds = list(range(images))
    evaluation.params.catIds = list(range(classes))
    evaluation.params.areaRng = [_EVERY_AREA]
    evaluation.params.areaRngLbl = ["all"]
    evaluation.params.maxDets = [_MOST]
    evaluation.ious = {}
    return evaluation
