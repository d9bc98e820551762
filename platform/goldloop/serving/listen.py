"""Answering on an address until told to stop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn

from goldloop.errors import ServingError

_KEEP_ALIVE = 65
"""Longer than balancers keep an idle connection, so that they, who know, are the ones to close it."""


def listen(
    app: Any,
    host: str,
    port: int,
    ready: Callable[[str], None],
    *,
    draining: Callable[[], None] = lambda: None,
    drain_seconds: float = 0.0,
    patience: float = 30.0,
) -> None:
    """Serve until SIGINT or SIGTERM; requests under way are finished first.

    Args:
        app: an ASGI application.
        host: the address to listen on.
        port: 0 takes a free one.
        ready: called with the URL once requests are accepted.
        draining: called as soon as the server is told to stop.
        drain_seconds: for so long requests are still taken then; a second signal ends that.
        patience: seconds that a request under way may still take.

    Raises:
        ServingError: the port is taken, or the address is not this machine's.
    """
    try:
        listener = socket.create_server((host, port), backlog=2048)
    except OSError as error:
        raise ServingError(
            "cannot listen there",
            where=f"{host}:{port}",
            found=error.strerror,
            remedy="Choose another port with --port, or 0 for a free one",
        ) from error
    with listener:
        ready(f"http://{host}:{listener.getsockname()[1]}")
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=max(int(patience), 1),
        )
        _Server(config, draining, drain_seconds).run(sockets=[listener])


class _Server(uvicorn.Server):
    """One that goes on for a while after it has been told to stop, so that a balancer can look elsewhere."""

    def __init__(self, config: uvicorn.Config, draining: Callable[[], None], seconds: float) -> None:
        super().__init__(config)
        self._draining = draining
        self._seconds = seconds
        self._told = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop, at once or after a while; a third signal does not wait for requests under way."""
        first, self._told = not self._told, True
        if first:
            self._draining()
        if first and self._seconds:
            loop = asyncio.get_running_loop()
            loop.call_soon_threadsafe(loop.call_later, self._seconds, self._stop)
        else:
            self._stop()

    def _stop(self) -> None:
        # uvicorn would also raise the signal once more at the end, so that nothing after it were done.
        self.force_exit = self.should_exit
        self.should_exit = True
