"""Label Studio's ML backend protocol, spoken by the prediction server itself.

Give Label Studio the address `http://HOST:PORT/label-studio/NAME` (Settings, Model), or that of the server
alone where one model answers.

GET  health      POST setup      GET versions
POST predict     tasks -> `result`, `score` and `model_version` of each, whether an editor asks about one
                 (`is_interactive`) or a batch is retrieved; a task that cannot be read has no prediction
POST webhook     written down as durable work and answered at once; what it says is not believed: it is a
                 hint to look, and looking finds what is true
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response

from goldloop.errors import GoldloopError, ServingError
from goldloop.formats.label_studio import renamed
from goldloop.records import Prediction
from goldloop.serving.contents import json_of
from goldloop.serving.hosted import Models, Served
from goldloop.serving.label_studio_media import Asked, TaskReader, controls_in, fields_of
from goldloop.serving.metrics import Metrics
from goldloop.serving.refusals import Refused

_LOG = logging.getLogger(__name__)
_TRAINING = "START_TRAINING"
_ANSWERS = "ANNOTATION"
_MOST_READERS = 8

Hint = Callable[[str, str], None]
"""Write down work (`collect`, `run`, `pull`) for the recipe of a name; returns once it cannot be lost."""


class Backend:
    """What the protocol does.

    Args:
        reader: reads what tasks are about.
        hint: takes work down; None where no work is done here.
        metrics: what is counted.
    """

    def __init__(self, reader: TaskReader, hint: Hint | None, metrics: Metrics) -> None:
        self._reader = reader
        self._hint = hint
        self._metrics = metrics

    async def predict(self, request: Request, served: Served) -> Response:
        """An answer for each of a request's tasks."""
        body = await json_of(request)
        asked = body.get("tasks") if isinstance(body, Mapping) else None
        if not isinstance(asked, list) or not all(isinstance(each, Mapping) for each in asked):
            raise ServingError("a list of tasks is missing", where="tasks", expected="[{id, data}]")
        if len(asked) > served.config.max_request_items:
            raise Refused(
                "too many tasks in one request",
                status=413,
                found=len(asked),
                expected=f"at most {served.config.max_request_items}",
            )
        label_config = body.get("label_config") or None
        context = (
            (body.get("params") or {}).get("context") if isinstance(body.get("params"), Mapping) else None
        )
        results = await self.answers(served, asked, label_config, interactive=context is not None)
        return Response(json.dumps(results), media_type="application/json")

    async def answers(
        self,
        served: Served,
        asked: Sequence[Mapping[str, Any]],
        label_config: str | None,
        *,
        interactive: bool = False,
    ) -> dict[str, Any]:
        """`results`, one for each task; and `errors`, for whoever reads them."""
        task = served.predictor.task
        fields = fields_of(task, label_config)
        controls = controls_in(label_config) if label_config else {}
        readers = asyncio.Semaphore(_MOST_READERS)

        async def read(each: Mapping[str, Any]) -> Asked | GoldloopError:
            async with readers:
                try:
                    if task.modality == "text":
                        return self._reader.read(task, fields, each)
                    return await asyncio.to_thread(self._reader.read, task, fields, each)
                except GoldloopError as error:
                    return error

        found = await asyncio.gather(*map(read, asked))
        readable = [each for each in found if isinstance(each, Asked)]
        given = iter(await served.ask([each.content for each in readable]))
        results: list[Any] = []
        errors = []
        for each, one in zip(asked, found, strict=True):
            result = next(given) if isinstance(one, Asked) else one
            told = _told(served, one, result, controls)
            self._metrics.items.labels(served.name, "answered" if isinstance(told, dict) else "refused").inc()
            if isinstance(told, GoldloopError):
                _LOG.warning("task %s has no prediction: %s", each.get("id"), told)
                errors.append({"task": each.get("id"), "error": str(told)})
                # An empty list is no prediction; an editor that waits needs one without regions.
                empty = {"result": [], "score": 0.0, "model_version": served.ref}
                results.append(empty if interactive else [])
            else:
                results.append(told)
        return {"results": results, "model_version": served.ref, **({"errors": errors} if errors else {})}

    async def webhook(self, request: Request, served: Served) -> dict[str, Any]:
        """Take down what a webhook hints at."""
        body = await json_of(request)
        action = str(body.get("action") or "") if isinstance(body, Mapping) else ""
        known = action == _TRAINING or action.startswith(_ANSWERS)
        self._metrics.hints.labels(served.name, action if known else "other").inc()
        if self._hint is None or not known:
            return {"status": "nothing to do", "action": action}
        if action == _TRAINING and request.state.caller is None and request.state.guarded:
            # Label Studio sends a backend's password with this, and with nothing else.
            raise Refused("training is started with a key only", status=401)
        kind = "run" if action == _TRAINING else "collect"
        await asyncio.to_thread(self._hint, kind, served.name)
        return {"status": "queued", "job": f"{kind}-{served.name}"}


def add_backend(app: FastAPI, models: Models, metrics: Metrics, backend: Backend) -> None:
    """Add the protocol's paths, for each model by its name and for the only one at the root."""
    named = APIRouter(prefix="/label-studio/{name}", tags=["Label Studio"])

    @named.get("/health")
    async def health(name: str) -> dict[str, str]:
        """Whether the model answers."""
        return {"status": "UP", "model_class": models.find(name).ref}

    @named.post("/predict")
    async def predict(request: Request, name: str) -> Response:
        """Predictions for tasks."""
        return await backend.predict(request, models.find(name))

    async def setup(name: str | None = None) -> dict[str, str]:
        """Which model answers."""
        return {"model_version": models.find(name).ref}

    async def versions(name: str | None = None) -> dict[str, list[str]]:
        """The version that answers; others are the registry's to serve."""
        return {"versions": [models.find(name).ref]}

    async def webhook(request: Request, name: str | None = None) -> dict[str, Any]:
        """A hint that people have answered, or that training is wanted."""
        return await backend.webhook(request, models.find(name))

    named.post("/setup")(setup)
    named.get("/versions")(versions)
    named.post("/webhook", status_code=201)(webhook)
    app.include_router(named)
    app.post("/setup", tags=["Label Studio"])(setup)
    app.get("/versions", tags=["Label Studio"])(versions)
    app.post("/webhook", status_code=201, tags=["Label Studio"])(webhook)


async def is_label_studio(request: Request) -> bool:
    """Whether a request to `/predict` is in Label Studio's form."""
    if not request.headers.get("content-type", "").startswith("application/json"):
        return False
    if b'"tasks"' not in await request.body():
        return False
    body = await json_of(request)
    return isinstance(body, Mapping) and "tasks" in body


def _told(
    served: Served,
    asked: Asked | GoldloopError,
    result: Prediction[Any] | GoldloopError,
    controls: Mapping[str, tuple[str, str]],
) -> dict[str, Any] | GoldloopError:
    if isinstance(asked, GoldloopError):
        return asked
    if isinstance(result, GoldloopError):
        return result
    task = served.predictor.task
    try:
        regions = task.encode(task.present(result.target), asked.item)
    except GoldloopError as error:
        return error
    return {
        "result": [renamed(region, controls) for region in regions],
        "score": result.confidence,
        "model_version": served.ref,
    }
