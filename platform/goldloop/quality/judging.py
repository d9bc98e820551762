"""What a trained model says of items that it has not learned from, and of their labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from goldloop.inference import Predictor
from goldloop.quality.suspects import Verdict
from goldloop.tasks.base import PlaceAnswers

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BATCH = 32
_WORDS = 40


def judge(
    predictor: Predictor,
    rows: Sequence[Mapping[str, Any]],
    advance: Callable[[int], None] = lambda done: None,
) -> list[Verdict]:
    """The model's answer to each labelled row, and where the task is about places, how good its label is.

    Args:
        predictor: the model.
        rows: each with `key`, its content and the target's columns.
        advance: told how many more are done.
    """
    verdicts = []
    for start in range(0, len(rows), _BATCH):
        verdicts += _batch(predictor, rows[start : start + _BATCH])
        advance(min(_BATCH, len(rows) - start))
    return verdicts


def _batch(predictor: Predictor, rows: Sequence[Mapping[str, Any]]) -> list[Verdict]:
    import torch

    task, model = predictor.task, predictor.model
    prepared = task.prepare(model, rows)
    with torch.inference_mode():
        ready = task.normalize(task.batch(prepared, model).to(predictor.device), model)
        predictions = task.predict(model, task.outputs(model, ready))
        places = task.place_answers(model, ready)
    if places is None:
        return [Verdict(prediction.target, scores=prediction.scores) for prediction in predictions]
    return [
        Verdict(prediction.target, *quality_of(answers))
        for prediction, answers in zip(predictions, places, strict=True)
    ]


def quality_of(answers: PlaceAnswers) -> tuple[float, str]:
    """How good a label is whose places a model has judged, in [0, 1], and what is most doubtful about it.

    By cleanlab: of tokens the least probable given one (Wang and Mueller 2022), of pixels a soft minimum of
    all (Lad and Mueller 2023).
    """
    import numpy

    given, shares = answers.given, numpy.asarray(answers.probabilities, dtype=float)
    told = given >= 0
    if not told.any():
        return 1.0, "the label says nothing"
    if answers.shape is None:
        from cleanlab.token_classification.rank import get_label_quality_scores

        quality = float(get_label_quality_scores([given[told].tolist()], [shares[told]])[0][0])
        return quality, _worst_word(answers, shares)
    return _quality_of_pixels(answers, answers.shape, shares, told), _largest_area(answers, shares, told)


def _quality_of_pixels(
    answers: PlaceAnswers, shape: tuple[int, int], shares: NDArray[Any], told: NDArray[Any]
) -> float:
    import numpy
    from cleanlab.segmentation.rank import get_label_quality_scores

    # Where the label says nothing there is nothing to doubt.
    sure = numpy.where(told[:, None], shares, numpy.eye(shares.shape[1])[0])
    ids = numpy.where(told, answers.given, 0)
    rows, columns = shape
    layers = sure.T.reshape(1, -1, rows, columns)
    scores, _ = get_label_quality_scores(ids.reshape(1, rows, columns), layers, n_jobs=1, verbose=False)
    return float(scores[0])


def _worst_word(answers: PlaceAnswers, shares: NDArray[Any]) -> str:
    import numpy

    own = shares[numpy.arange(len(shares)), answers.given]
    place = int(own.argmin())
    best = int(shares[place].argmax())
    if best == answers.given[place]:
        return "the model says the same"
    word = answers.words[place][:_WORDS] if answers.words else ""
    return (
        f"{word!r} is labelled {answers.names[answers.given[place]]!r}, of which the model gives "
        f"{own[place]:.0%}; {answers.names[best]!r} gets {shares[place, best]:.0%}"
    )


def _largest_area(answers: PlaceAnswers, shares: NDArray[Any], told: NDArray[Any]) -> str:
    import numpy

    best = shares.argmax(1)
    differ = told & (best != answers.given)
    if not differ.any():
        return "the model says the same"
    pairs = answers.given[differ] * len(answers.names) + best[differ]
    values, counts = numpy.unique(pairs, return_counts=True)
    one, other = divmod(int(values[counts.argmax()]), len(answers.names))
    share = counts.max() / told.sum()
    return (
        f"{share:.1%} of it is labelled {answers.names[one]!r} where the model sees {answers.names[other]!r}"
    )
