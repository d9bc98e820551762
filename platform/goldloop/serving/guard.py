"""What every request passes before it is answered: its id, its key, its size, its time; and how it counts.

Plain ASGI, without a task of its own for each request: it costs some microseconds.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from goldloop.errors import GoldloopError
from goldloop.serving.keys import ApiKeys, key_in
from goldloop.serving.metrics import Metrics
from goldloop.serving.refusals import Refused, body_of, headers_of, status_of

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_LOG = logging.getLogger(__name__)
_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_OPEN = frozenset({"/health", "/ready"})
"""What probes ask, without a key."""


class Guard:
    """An ASGI application before another.

    Args:
        app: what answers.
        keys: who may ask; while there are none, everybody may.
        metrics: what is counted.
        max_bytes: of a request's body.
        seconds: that a request may take.
        open_paths: further ends of paths that need no key: what they do, they do for anybody.
    """

    def __init__(
        self,
        app: App,
        keys: ApiKeys,
        metrics: Metrics,
        *,
        max_bytes: int,
        seconds: float,
        open_paths: tuple[str, ...] = (),
    ) -> None:
        self._app = app
        self._keys = keys
        self._metrics = metrics
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or say why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = _headers(scope)
        asked = headers.get("x-request-id", "")
        request_id = asked if _ID.fullmatch(asked) else secrets.token_hex(16)
        scope.setdefault("state", {})["request_id"] = request_id
        began, status = time.perf_counter(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        self._metrics.under_way.inc()
        try:
            await self._admitted(scope, headers, receive, answer)
        except GoldloopError as error:
            await self._refuse(error, request_id, answer, status)
        except Exception as error:
            # Whatever it was, who asked gets an answer with the id to look for; the log has the rest.
            _LOG.exception("request %s failed", request_id)
            failed = Refused("the server failed", status=500, found=type(error).__name__)
            await self._refuse(failed, request_id, answer, status)
        finally:
            self._metrics.under_way.dec()
            path = _route_of(scope)
            self._metrics.requests.labels(path, status).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - began)

    async def _admitted(self, scope: Scope, headers: Mapping[str, str], receive: Receive, send: Send) -> None:
        scope["state"]["guarded"] = bool(self._keys.known())
        scope["state"]["caller"] = self._caller(scope, headers)
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._max_bytes:
            raise self._too_large(f"{length} bytes")
        body = 0

        async def limited() -> Message:
            nonlocal body
            message = await receive()
            body += len(message.get("body", b""))
            if body > self._max_bytes:
                raise self._too_large("more, in pieces")
            return message

        try:
            async with asyncio.timeout(self._seconds):
                await self._app(scope, limited, send)
        except TimeoutError as error:
            raise Refused(
                "the request took too long",
                status=503,
                retry_after=1,
                expected=f"at most {self._seconds:g} s",
                remedy="Send fewer at a time, or raise `serving: {timeout_seconds: ...}`",
            ) from error

    def _caller(self, scope: Scope, headers: Mapping[str, str]) -> str | None:
        """Who asks, by the key.

        Raises:
            Refused: no key, or a wrong one, where one is needed.
        """
        if not self._keys.known():
            return None
        key = key_in(headers.get("authorization"), headers.get("x-api-key"))
        holder = self._keys.holder(key) if key is not None else None
        if holder is None and scope["path"] not in _OPEN and not scope["path"].endswith(self._open_paths):
            raise Refused(
                "a key is needed" if key is None else "the key opens nothing here",
                status=401,
                expected="`Authorization: Bearer KEY`, `X-API-Key: KEY`, or the password of Basic",
                remedy="Ask whoever runs this server for one: `goldloop access --new NAME`",
            )
        return holder

    def _too_large(self, found: str) -> Refused:
        return Refused(
            "the request is too large",
            status=413,
            found=found,
            expected=f"at most {self._max_bytes} bytes",
            remedy="Send fewer at a time",
        )

    async def _refuse(self, error: GoldloopError, request_id: str, send: Send, begun: int) -> None:
        if begun:
            raise error
        body = body_of(error, request_id)
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            # The rest of a body that nobody read must not be taken for the next request.
            **({"connection": "close"} if status_of(error) == 413 else {}),
            **headers_of(error),
        }
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status_of(error), "headers": pairs})
        await send({"type": "http.response.body", "body": body})


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _route_of(scope: Scope) -> str:
    """The path as it was declared, so that names in it are one series; nothing of unknown paths is kept."""
    route = scope.get("route")
    return str(getattr(route, "path", "")) or "unknown"
