"""The prediction server: champions behind FastAPI.

POST /predict                  one or many images or texts -> a prediction for each, in order
POST /models/NAME/predict      the same, where several models answer
GET /models                    which models answer           GET /model  the only one
GET /health                    the process lives             GET /ready  every model answers
GET /metrics                   for Prometheus                GET /docs   OpenAPI
/label-studio/NAME/...         Label Studio's ML backend protocol (`label_studio_backend`)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

from goldloop import __version__
from goldloop.errors import GoldloopError
from goldloop.process_memory import return_freed_memory
from goldloop.serving.answers import Answers, answers
from goldloop.serving.config import ServingConfig
from goldloop.serving.contents import contents_of
from goldloop.serving.guard import Guard
from goldloop.serving.hosted import Models, Served
from goldloop.serving.keys import ApiKeys
from goldloop.serving.label_studio_backend import Backend, add_backend, is_label_studio
from goldloop.serving.metrics import Metrics
from goldloop.serving.refusals import Refused, body_of, headers_of, status_of
from goldloop.serving.samples import AGREES, HEADER, Samples

_LOG = logging.getLogger(__name__)
_TIDY_SECONDS = 60.0
"""Between two times that freed memory is given back, which takes about 20 ms beside the answers."""


def create_app(
    models: Models,
    config: ServingConfig,
    keys: ApiKeys,
    metrics: Metrics,
    backend: Backend,
    samples: Samples | None = None,
) -> FastAPI:
    """The server of some models.

    Args:
        models: which answer; loaded already.
        config: limits of the server as a whole.
        keys: who may ask.
        metrics: what is counted.
        backend: how Label Studio's tasks are read, and what its webhooks lead to.
        samples: keeps requests that may be kept; None keeps none.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        works = (_follow(models, config.refresh_seconds), _tidy())
        going_on = [asyncio.create_task(work) for work in works]
        yield
        for each in going_on:
            each.cancel()
        for each in going_on:
            with suppress(asyncio.CancelledError):
                await each

    app = FastAPI(title="goldloop", version=__version__, lifespan=lifespan)
    app.state.draining = False
    app.add_middleware(
        Guard,
        keys=keys,
        metrics=metrics,
        max_bytes=config.max_request_megabytes * 1_000_000,
        seconds=config.timeout_seconds,
        open_paths=("/webhook",),
    )

    @app.exception_handler(GoldloopError)
    async def refuse(request: Request, error: GoldloopError) -> Response:
        body = body_of(error, request.state.request_id)
        return Response(body, status_of(error), headers_of(error), "application/json")

    @app.exception_handler(HTTPException)
    async def refuse_path(request: Request, error: HTTPException) -> Response:
        told = Refused(str(error.detail), status=error.status_code, where=request.url.path)
        return await refuse(request, told)

    _add_facts(app, models, metrics)
    _add_predictions(app, models, metrics, backend, samples)
    add_backend(app, models, metrics, backend)
    return app


def _add_facts(app: FastAPI, models: Models, metrics: Metrics) -> None:
    @app.get("/health")
    async def health() -> dict[str, str]:
        """The process lives."""
        return {"status": "UP"}

    @app.get("/ready")
    async def ready() -> dict[str, Any]:
        """Every model answers, and the server is not about to stop."""
        if app.state.draining:
            raise Refused("the server is stopping", status=503, retry_after=5)
        return {"status": "ready", "models": [served.ref for served in models.served.values()]}

    @app.get("/models")
    async def all_facts() -> list[dict[str, Any]]:
        """Which models answer, and what each was made from."""
        return [_facts(served) for served in models.served.values()]

    @app.get("/model")
    async def facts() -> dict[str, Any]:
        """Which model this is, and what it was made from."""
        return _facts(models.find(None))

    @app.get("/metrics")
    async def prometheus() -> Response:
        """Figures for Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _add_predictions(
    app: FastAPI, models: Models, metrics: Metrics, backend: Backend, samples: Samples | None
) -> None:
    async def answered(request: Request, name: str | None) -> Response:
        served = models.find(name)
        contents = await contents_of(request, served.predictor.task.modality, served.config.max_request_items)
        results = await served.ask(contents)
        for result in results:
            outcome = "refused" if isinstance(result, GoldloopError) else "answered"
            metrics.items.labels(served.name, outcome).inc()
        if samples is not None:
            samples.offer(request.headers, served, contents, results)
        text = answers(served, contents, results).model_dump_json()
        return Response(text, media_type="application/json")

    described: dict[str, Any] = {"response_model": Answers, "openapi_extra": _request_body(models)}

    @app.post("/predict", **described)
    async def predict(request: Request) -> Response:
        """Answer for one or many images or texts; Label Studio's own requests are answered in its form."""
        if await is_label_studio(request):
            return await backend.predict(request, models.find(None))
        return await answered(request, None)

    @app.post("/models/{name}/predict", **described)
    async def predict_by_name(request: Request, name: str) -> Response:
        """The same by a model that is named."""
        return await answered(request, name)


async def _follow(models: Models, seconds: float) -> None:
    """Bring what answers up to date now and then; what fails is tried again the next time."""
    while True:
        await asyncio.sleep(seconds)
        try:
            for came in await asyncio.to_thread(models.refresh):
                _LOG.warning("%s answers now", came)
        except GoldloopError:
            _LOG.exception("which models are champions cannot be told; those that answer go on")


async def _tidy() -> None:
    """Keep a server that runs for months from holding ever more memory."""
    while True:
        await asyncio.sleep(_TIDY_SECONDS)
        await asyncio.to_thread(return_freed_memory)


def _facts(served: Served) -> dict[str, Any]:
    predictor = served.predictor
    kept = {name: predictor.facts.get(name) for name in ("name", "run", "version")}
    kind = predictor.task.config.kind
    return {"model": served.ref, **kept, "task": kind, "classes": predictor.task.classes}


def _request_body(models: Models) -> dict[str, Any]:
    """The OpenAPI description of what `/predict` takes, which FastAPI cannot read off a raw request."""
    modalities = {served.predictor.task.modality for served in models.served.values()}
    content: dict[str, Any] = {}
    if "image" in modalities:
        files = {"type": "array", "items": {"type": "string", "format": "binary"}}
        content["multipart/form-data"] = {"schema": {"type": "object", "properties": {"image": files}}}
    if "text" in modalities:
        texts = {"type": "array", "items": {"type": "string"}}
        properties = {"text": {"type": "string"}, "texts": texts}
        content["application/json"] = {"schema": {"type": "object", "properties": properties}}
    keep = {
        "name": HEADER,
        "in": "header",
        "required": False,
        "schema": {"type": "string"},
        "description": f"`{AGREES}`: what is asked about may be kept, to be labelled and learned from.",
    }
    return {"requestBody": {"required": True, "content": content}, "parameters": [keep]}
