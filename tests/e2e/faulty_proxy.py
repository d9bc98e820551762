"""An HTTP proxy in front of a Label Studio that fails at chosen requests, as networks and servers do."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

FAULTS = (
    "drop before", "drop after", "truncate", "duplicate", "delay", "429", "500 before", "500 after",
    "502 after", "expire",
)  # fmt: skip
"""`before` and `after` the server has done what it was asked."""


class FaultyProxy(ThreadingHTTPServer):
    """Passes requests on; a share of them meets a fault.

    Args:
        upstream: the server's address.
        share: how many of all requests, in [0, 1].
        seed: which ones.
    """

    daemon_threads = True

    def __init__(self, upstream: str, share: float, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.share = share
        self.met: Counter[str] = Counter()
        self._chance = random.Random(seed)
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Its own address."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def fault(self) -> str | None:
        """What the next request meets."""
        with self._lock:
            if self._chance.random() >= self.share:
                return None
            fault = self._chance.choice(FAULTS)
            self.met[fault] += 1
            return fault


class _Handler(BaseHTTPRequestHandler):
    server: FaultyProxy
    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments: Any) -> None:
        """Nothing."""

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        fault = self.server.fault()
        self.close_connection = True
        if fault == "drop before":
            return
        if fault in ("429", "500 before", "expire"):
            self._send({"429": 429, "500 before": 500, "expire": 401}[fault], b'{"detail": "a fault"}')
            return
        if fault == "delay":
            time.sleep(1.0)
        answer = self._forward(body)
        if fault == "duplicate":
            answer = self._forward(body)
        if fault == "drop after":
            return
        if fault in ("500 after", "502 after"):
            self._send(int(fault[:3]), b'{"detail": "a fault"}')
        else:
            kind = answer.headers.get("Content-Type", "application/json")
            self._send(answer.status_code, answer.content, kind, cut=fault == "truncate")

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _answer  # noqa: N815 - as the library calls them

    def _forward(self, body: bytes) -> httpx.Response:
        left_out = ("host", "connection", "content-length", "accept-encoding")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in left_out}
        with httpx.Client(trust_env=False, timeout=300) as client:
            return client.request(
                self.command,
                self.server.upstream + self.path,
                content=body,
                headers={**headers, "Connection": "close"},
            )

    def _send(self, status: int, body: bytes, kind: str = "application/json", *, cut: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)


@contextmanager
def faulty(upstream: str, share: float, seed: int) -> Iterator[FaultyProxy]:
    """A proxy, running."""
    with FaultyProxy(upstream, share, seed) as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
