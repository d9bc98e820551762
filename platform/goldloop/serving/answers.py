"""What the server says of an image or a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from goldloop.errors import GoldloopError
from goldloop.records import content_key
from goldloop.serving.batching import Result
from goldloop.serving.hosted import Served


class Answer(BaseModel):
    """What the model says of one image or text, or why it can say nothing.

    `confidence` and `scores` are probabilities in [0, 1]; `key` is the SHA-256 of what was asked about.
    """

    key: str
    prediction: Any = None
    confidence: float | None = None
    scores: dict[str, float] = {}
    error: str | None = None


class Answers(BaseModel):
    """One answer for each image or text of the request, in order, and what gave them.

    `goldloop lineage MODEL` leads from `model` to its run, its dataset version and who labelled that.
    """

    model: str
    run: str | None
    version: str | None
    predictions: list[Answer]


def answers(served: Served, contents: Sequence[bytes | str], results: Sequence[Result]) -> Answers:
    """A model's results as a response."""
    facts = served.predictor.facts
    # Made of values that are of these types already.
    return Answers.model_construct(
        model=served.ref,
        run=facts.get("run"),
        version=facts.get("version"),
        predictions=[_answer(*pair) for pair in zip(contents, results, strict=True)],
    )


def _answer(content: bytes | str, result: Result) -> Answer:
    key = content_key(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
    if isinstance(result, GoldloopError):
        return Answer(key=key, error=str(result))
    return Answer.model_construct(
        key=key,
        prediction=result.target,
        confidence=result.confidence,
        scores=dict(result.scores),
        error=None,
    )
