"""Answering on an address until told to stop."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import uvicorn

from goldloop.errors import ServingError


def listen(app: Any, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; requests under way are finished first.

    Args:
        app: an ASGI application.
        host: the address to listen on.
        port: 0 takes a free one.
        ready: called with the URL once requests are accepted.

    Raises:
        ServingError: the port is taken, or the address is not this machine's.
    """
    try:
        listener = socket.create_server((host, port))
    except OSError as error:
        raise ServingError(
            "cannot listen there",
            where=f"{host}:{port}",
            found=error.strerror,
            remedy="Choose another port with --port, or 0 for a free one",
        ) from error
    with listener:
        ready(f"http://{host}:{listener.getsockname()[1]}")
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=30)
        uvicorn.Server(config).run(sockets=[listener])
