"""HTTP to Label Studio that survives a restart of the server without ever sending a write twice.

What may be sent again after a fault: GET, HEAD and PATCH (all of goldloop's set whole values), and what is
marked as `REPEATABLE`, after a dropped connection, 429 or a fault of the server; anything at all when no
connection came about, as nothing was sent. A time-out is not tried again: the server is slow, and asking more
makes it slower.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx

CONNECT_SECONDS = 5.0
_REPEATABLE = frozenset({"GET", "HEAD", "PATCH"})
_PASSING = frozenset({429, 500, 502, 503, 504})
REPEATABLE = "goldloop.repeatable"
"""The extension of a request that changes nothing when it is sent twice."""
_LONGEST_PAUSE = 8.0


class RetryingTransport(httpx.BaseTransport):
    """Another transport, tried again where that is safe.

    Args:
        inner: what sends.
        attempts: how often a request is sent at most; pauses double from 0.5 s.
        pause: how to wait some seconds.
    """

    def __init__(
        self, inner: httpx.BaseTransport, attempts: int = 5, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self.inner = inner
        self.attempts = attempts
        self.pause = pause

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, again if need be."""
        timeout = request.extensions.get("timeout", {})
        request.extensions["timeout"] = {**timeout, "connect": CONNECT_SECONDS}
        repeatable = request.method in _REPEATABLE or bool(request.extensions.get(REPEATABLE))
        for attempt in range(1, self.attempts + 1):
            last = attempt == self.attempts
            try:
                response = self.inner.handle_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if last:
                    raise
            except (httpx.ReadError, httpx.RemoteProtocolError, httpx.WriteError):
                if last or not repeatable:
                    raise
            else:
                if last or not repeatable or response.status_code not in _PASSING:
                    return response
                response.close()
            self.pause(min(0.5 * 2 ** (attempt - 1), _LONGEST_PAUSE))
        raise AssertionError("the last attempt returns or raises")

    def close(self) -> None:
        """Close what sends."""
        self.inner.close()


def is_loopback(url: str) -> bool:
    """Whether an address can only be this machine's."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def open_client(
    url: str, seconds: float, transport: httpx.BaseTransport | None = None, attempts: int = 5
) -> httpx.Client:
    """An HTTP client for a Label Studio.

    `Connection: close`, as its development server leaves kept-alive requests waiting for a delayed
    acknowledgement (measured: 5 instead of 9 annotations a second), and no server is slower for it.

    Args:
        url: the server's address.
        seconds: how long to wait for an answer.
        transport: what sends; by default the network.
        attempts: see `RetryingTransport`.
    """
    inner = transport or httpx.HTTPTransport(trust_env=not is_loopback(url))
    return httpx.Client(
        transport=RetryingTransport(inner, attempts),
        timeout=seconds,
        headers={"Connection": "close"},
        follow_redirects=False,
        trust_env=not is_loopback(url),
    )
