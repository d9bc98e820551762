"""The prediction server: the champion behind FastAPI.

POST /predict   one or many images or texts -> a prediction for each, in order
GET /health     the process lives             GET /ready   the model answers
GET /model      which model this is           GET /metrics for Prometheus      GET /docs OpenAPI
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from pydantic import BaseModel

from goldloop import __version__
from goldloop.errors import GoldloopError, ServingError
from goldloop.inference import Predictor
from goldloop.records import content_key
from goldloop.serving.config import ServingConfig
from goldloop.serving.contents import contents_of


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


class _Metrics:
    """What Prometheus reads; a registry of its own, so that two servers in one process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.items = Counter(
            "goldloop_items", "Images or texts answered.", ["outcome"], registry=self.registry
        )
        self.seconds = Histogram("goldloop_request_seconds", "Time of a request.", registry=self.registry)


def create_app(predictor: Predictor, model: str, config: ServingConfig) -> FastAPI:
    """The server of one model.

    Args:
        predictor: the model.
        model: its reference, `NAME/NUMBER`; every answer carries it.
        config: the recipe's `serving:`.
    """
    metrics = _Metrics()
    busy = threading.Lock()

    app = FastAPI(title=f"goldloop {model}", version=__version__)

    @app.exception_handler(ServingError)
    async def refuse(_request: Request, error: ServingError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status_code=422)

    @app.get("/health")
    async def health() -> dict[str, str]:
        """The process lives."""
        return {"status": "ok"}

    @app.get("/ready")
    async def ready() -> dict[str, str]:
        """The model answers."""
        return {"status": "ready", "model": model}

    @app.get("/model")
    async def facts() -> dict[str, Any]:
        """Which model this is, and what it was made from."""
        kept = {name: predictor.facts.get(name) for name in ("name", "run", "version")}
        return {"model": model, **kept, "task": predictor.task.config.kind, "classes": predictor.task.classes}

    @app.get("/metrics")
    async def prometheus() -> Response:
        """Figures for Prometheus."""
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @app.post("/predict", response_model=Answers, openapi_extra=_request_body(predictor.task.modality))
    async def predict(request: Request) -> Answers:
        """Answer for one or many images or texts."""
        start = time.perf_counter()
        limit = config.max_request_megabytes * 1_000_000
        contents = await contents_of(request, predictor.task.modality, limit)
        answers = await asyncio.to_thread(_answer, predictor, contents, config.max_batch, busy)
        for answer in answers:
            metrics.items.labels("refused" if answer.error else "answered").inc()
        metrics.seconds.observe(time.perf_counter() - start)
        run, version = (predictor.facts.get(name) for name in ("run", "version"))
        return Answers(model=model, run=run, version=version, predictions=answers)

    return app


def _answer(
    predictor: Predictor, contents: Sequence[bytes | str], batch: int, busy: threading.Lock
) -> list[Answer]:
    """An answer for each, one request at a time; content that cannot be read fails alone."""
    with busy:
        results = predictor.predict_each(contents, batch)
    keys = [content_key(content.encode() if isinstance(content, str) else content) for content in contents]
    return [
        Answer(key=key, error=str(result))
        if isinstance(result, GoldloopError)
        else Answer(
            key=key, prediction=result.target, confidence=result.confidence, scores=dict(result.scores)
        )
        for key, result in zip(keys, results, strict=True)
    ]


def _request_body(modality: str) -> dict[str, Any]:
    """The OpenAPI description of what `/predict` takes, which FastAPI cannot read off a raw request."""
    if modality == "image":
        files = {"type": "array", "items": {"type": "string", "format": "binary"}}
        content = {"multipart/form-data": {"schema": {"type": "object", "properties": {"image": files}}}}
    else:
        texts = {"type": "array", "items": {"type": "string"}}
        properties = {"text": {"type": "string"}, "texts": texts}
        content = {"application/json": {"schema": {"type": "object", "properties": properties}}}
    return {"requestBody": {"required": True, "content": content}}
