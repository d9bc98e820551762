"""A linear classifier on points that stay as they are: what each fold's items are, learned from the others.

N = items, D = width of a point, C = classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STRENGTH = 1.0
_ROUNDS = 300
_SCALE = 8.0


def scaled(points: NDArray[Any]) -> NDArray[Any]:
    """Points on one sphere, each as far from the origin as suits the classifier's regularisation."""
    import numpy

    lengths = numpy.linalg.norm(points, axis=1, keepdims=True)
    on_sphere: NDArray[Any] = points / numpy.maximum(lengths, 1e-12) * _SCALE
    return on_sphere


def fitted(
    points: NDArray[Any], labels: NDArray[Any], classes: int
) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """A classifier that has learned from labelled points: it gives probabilities `(n, C)`.

    Args:
        points: scaled `(N, D)`.
        labels: class ids `(N,)`, or for answers that are sets of classes 0 and 1 `(N, C)`.
        classes: C; of a class that no label has, the probability is 0.
    """
    if labels.ndim == 1:
        return _one_class(points, labels, classes)
    columns = [_one_class(points, labels[:, place], 2) for place in range(classes)]

    def each(asked: NDArray[Any]) -> NDArray[Any]:
        import numpy

        return numpy.stack([column(asked)[:, 1] for column in columns], axis=1)

    return each


def _one_class(
    points: NDArray[Any], labels: NDArray[Any], classes: int
) -> Callable[[NDArray[Any]], NDArray[Any]]:
    import numpy
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    present = numpy.unique(labels)
    model: Any = None
    if len(present) > 1:
        model = LogisticRegression(C=_STRENGTH, max_iter=_ROUNDS)
        with warnings.catch_warnings():
            # Nearly there is good enough to tell who stands out.
            warnings.simplefilter("ignore", ConvergenceWarning)
            # Of many classes and few items, most are of another class each.
            warnings.filterwarnings("ignore", message="The number of unique classes", category=UserWarning)
            model.fit(points, labels)

    def probabilities(asked: NDArray[Any]) -> NDArray[Any]:
        found = numpy.zeros((len(asked), classes))
        found[:, present] = 1.0 if model is None else model.predict_proba(asked)
        return found

    return probabilities


def out_of_fold(
    points: NDArray[Any],
    labels: NDArray[Any],
    classes: int,
    folds: Sequence[int],
    advance: Callable[[int], None] = lambda done: None,
) -> NDArray[Any]:
    """Probabilities `(N, C)`, each by a classifier that has not seen the item nor any of its group."""
    import numpy

    where = numpy.asarray(folds)
    ready = scaled(points)
    found = numpy.zeros((len(points), classes))
    for fold in range(int(where.max()) + 1):
        held = where == fold
        found[held] = fitted(ready[~held], labels[~held], classes)(ready[held])
        advance(1)
    return found
